import { expect, test } from 'vitest';
import { type AddedToken, type Encoder, UnitTokens } from './unit-tokens.ts';

/** Characters are tokens, and so is a mark. One that looks back gives another number to what follows a second mark. */
const encoder = (looksBack = false) => {
  const encoded: string[] = [];
  const numberOf = (token: string, at: number, all: readonly string[]): number => {
    const marks = all.slice(0, at).filter((one) => one === '<m>').length;
    return (token.codePointAt(0) ?? 0) + (looksBack && marks > 1 ? 1_000 : 0);
  };
  const made: Encoder = {
    encode: (text) => {
      encoded.push(text);
      const tokens = text.match(/<m>|./gsu) ?? [];
      return { tokens, ids: tokens.map(numberOf) };
    },
    decode: (ids) => ids.map((id) => String.fromCodePoint(id)).join(''),
  };
  return { made, encoded };
};
const mark: AddedToken = { content: '<m>', special: true };
const turns = (...texts: string[]): string => texts.map((text) => `<m>${text}`).join('');

const trials = 4;
const tried = (units: UnitTokens): void => {
  for (let at = 0; at < trials; at += 1) units.tokenise(turns('try', String(at)));
};

test('once it was tried, what was seen before is not encoded again', () => {
  const { made, encoded } = encoder();
  const units = new UnitTokens(made, [mark]);
  tried(units);
  units.tokenise(`before${turns('one', 'two')}`);
  encoded.length = 0;
  const shown = units.tokenise(`before${turns('one', 'two', 'é🙂')}`);
  expect(encoded).toEqual(['<m>é🙂']);
  expect(shown?.text).toBe('before<m>one<m>two<m>é🙂');
  const [last = 0, before = 0] = [...(shown?.tokens.ends ?? [])].reverse();
  expect([before, last]).toEqual([22, 24]);
  expect(shown?.tokens.ids.length).toBe(6 + 4 + 4 + 3);
});

test('a tokenizer whose units are not the whole is asked for the whole each time', () => {
  const { made, encoded } = encoder(true);
  const units = new UnitTokens(made, [mark]);
  const text = turns('one', 'two', 'three');
  const whole = made.encode(text).ids;
  for (let at = 0; at < trials + 2; at += 1) expect(units.tokenise(text)?.tokens.ids).toEqual(whole);
  encoded.length = 0;
  units.tokenise(text);
  expect(encoded).toEqual([text]);
});

test.each<[what: string, token: AddedToken]>([
  ['takes the space before it', { ...mark, lstrip: true }],
  ['minds the word around it', { ...mark, single_word: true }],
  ['is found in another form of the text', { ...mark, normalized: true }],
  ['is no special one', { content: '<m>' }],
])('a token that %s begins no unit', (_, token) => {
  const { made, encoded } = encoder();
  const units = new UnitTokens(made, [token]);
  units.tokenise(turns('one', 'two'));
  expect(encoded).toEqual([turns('one', 'two')]);
});

test('a text that its tokens do not make is shown as they make it, or not at all', () => {
  const { made } = encoder();
  const lossy = { ...made, encode: () => ({ ids: [97, 98], tokens: ['a', 'b'] }) };
  expect(new UnitTokens(lossy, []).tokenise('a  b')?.text).toBe('ab');
  const broken = { ...lossy, decode: () => 'something else' };
  expect(new UnitTokens(broken, []).tokenise('a  b')).toBeUndefined();
});

test('what is kept has a bound: what was not used for longest goes', () => {
  const { made, encoded } = encoder();
  const units = new UnitTokens(made, [mark], 400);
  tried(units);
  const long = (letter: string): string => `<m>${letter.repeat(100)}`;
  units.tokenise('<m>kept');
  for (const letter of 'abcd') units.tokenise(`<m>kept${long(letter)}`);
  encoded.length = 0;
  units.tokenise(`<m>kept${long('d')}${long('a')}`);
  expect(encoded.map((text) => text.slice(0, 5))).toEqual(['<m>aa']);
});
