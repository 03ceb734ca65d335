import { expect, test } from 'vitest';
import { tokensOfStrings } from './token-strings.ts';

const endsOf = (text: string, strings: readonly string[]): readonly number[] | undefined => {
  const tokens = tokensOfStrings(
    text,
    strings.map((_, at) => at),
    strings,
  );
  return tokens && [...tokens.ends];
};

test('each byte as a character: spaces, lines, and characters cut by tokens', () => {
  expect(endsOf('a b\nc', ['a', 'Ġb', 'Ċ', 'c'])).toEqual([1, 3, 4, 5]);
  expect(endsOf('Grüße', ['Gr', 'Ã¼', 'Ã', 'Ł', 'e'])).toEqual([2, 3, 3, 4, 5]);
});

test('spaces and single bytes by names of their own', () => {
  expect(endsOf(' a b\n', ['▁a', '▁b', '<0x0A>'])).toEqual([2, 4, 5]);
  expect(endsOf('é', ['<0xC3>', '<0xA9>'])).toEqual([0, 1]);
});

test('added tokens stand as they are, whatever is in them', () => {
  expect(endsOf('<|im_start|>user', ['<|im_start|>', 'user'])).toEqual([12, 16]);
  expect(endsOf('<｜begin▁of▁sentence｜>x y', ['<｜begin▁of▁sentence｜>', 'x', 'Ġy'])).toEqual([21, 22, 24]);
});

test('a space that the text does not show counts for nothing', () => {
  expect(endsOf('<s>a b', ['<s>', '▁a', '▁b'])).toEqual([3, 4, 6]);
  expect(endsOf('a. b', ['a', 'Ġ.', 'Ġb'])).toEqual([1, 2, 4]);
});

test('strings that do not make the text are believed in nothing', () => {
  expect(endsOf('abc', ['a', 'x'])).toBeUndefined();
  expect(endsOf('abc', ['a', 'b'])).toBeUndefined();
  expect(endsOf('a', ['<unk>'])).toBeUndefined();
});
