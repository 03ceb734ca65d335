import { expect, test } from 'vitest';
import { tokensOfPieces } from './pieces.ts';

const pieces = (...texts: (string | number[])[]) =>
  texts.map((text, id) => ({
    id,
    bytes: typeof text === 'string' ? Buffer.from(text) : Uint8Array.from(text),
  }));
const ends = (text: string, ...texts: (string | number[])[]) => [
  ...(tokensOfPieces(text, pieces(...texts))?.ends ?? ['unknown']),
];

test('tokens end where their pieces do', () => {
  expect(ends('<s>one two', '<s>', 'one', ' two')).toEqual([3, 6, 10]);
});

test('a character that a token cuts is not counted', () => {
  const [first = 0, second = 0, ...rest] = Buffer.from('é🦙');
  expect(ends('aé🦙b', 'a', [first], [second, ...rest.slice(0, 2)], rest.slice(2), 'b')).toEqual([
    1, 1, 2, 4, 5,
  ]);
});

test('a first token that the text does not show ends at its beginning', () => {
  expect(ends('one two', '<s>', 'one', ' two')).toEqual([0, 3, 7]);
});

test('pieces that do not make the text tell nothing', () => {
  expect(ends('one two', 'one', 'two')).toEqual(['unknown']);
  expect(ends('one', '<s>', 'two')).toEqual(['unknown']);
  expect(ends('one', 'a', 'b', 'one')).toEqual(['unknown']);
});
