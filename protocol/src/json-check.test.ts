import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cuts, pieces, singleBytes } from '../testing/bytes-in-pieces.ts';
import { choices, jsonValue, type Member, trickyString, writeObject } from '../testing/json-text.ts';
import { fromUtf8, utf8 } from './bytes.ts';
import { JsonCheck } from './json-check.ts';
import { jsonDepthMax } from './limits.ts';

const isJson = (parts: readonly Uint8Array[]): boolean => {
  const check = new JsonCheck();
  for (const part of parts) if (!check.push(part)) return false;
  return check.end();
};

/** What it stands in for. */
const parses = (bytes: Uint8Array): boolean => {
  try {
    JSON.parse(fromUtf8(bytes));
    return true;
  } catch {
    return false;
  }
};

const members: fc.Arbitrary<Member[]> = fc.array(fc.tuple(trickyString, jsonValue), { maxLength: 4 });

/** Bytes that make a difference somewhere in JSON or in UTF-8. */
const tellingByte = fc.oneof(
  fc.constantFrom(...utf8('{}[]",:\\/u0159aefnrtl.+-E \n\t')),
  fc.constantFrom(0x00, 0x1f, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xe1, 0xed, 0xef),
  fc.constantFrom(0xf0, 0xf1, 0xf4, 0xf5, 0xff),
);

test('what a writer of JSON writes is JSON, however it is cut', () => {
  fc.assert(
    fc.property(members, choices, cuts, (written, choose, at) => {
      const bytes = utf8(writeObject(written, choose));
      expect(isJson(pieces(bytes, at))).toBe(true);
      expect(isJson(singleBytes(bytes))).toBe(true);
      for (let end = 0; end < bytes.length; end += 7) expect(isJson([bytes.subarray(0, end)])).toBe(false);
    }),
  );
});

test('with a byte changed, added or lost it says what JSON.parse says', () => {
  const change = fc.tuple(
    fc.constantFrom('replace', 'insert', 'remove'),
    fc.double({ min: 0, max: 1 }),
    tellingByte,
  );
  fc.assert(
    fc.property(
      members,
      choices,
      fc.array(change, { minLength: 1, maxLength: 2 }),
      cuts,
      (written, choose, changes, at) => {
        const bytes = [...utf8(writeObject(written, choose))];
        for (const [how, where, byte] of changes) {
          const index = Math.floor((Number.isNaN(where) ? 0 : where) * bytes.length);
          bytes.splice(index, how === 'insert' ? 0 : 1, ...(how === 'remove' ? [] : [byte]));
        }
        const whole = Uint8Array.from(bytes);
        expect(isJson(pieces(whole, at))).toBe(parses(whole));
        expect(isJson(singleBytes(whole))).toBe(parses(whole));
      },
    ),
    { numRuns: 2_000 },
  );
});

test('of any few bytes it says what JSON.parse says', () => {
  fc.assert(
    fc.property(fc.array(tellingByte, { maxLength: 8 }), cuts, (few, at) => {
      const bytes = Uint8Array.from(few);
      expect(isJson(pieces(bytes, at))).toBe(parses(bytes));
      const inString = Uint8Array.from([0x22, ...few, 0x22]);
      expect(isJson(pieces(inString, at))).toBe(parses(inString));
    }),
    { numRuns: 5_000 },
  );
});

test.each([
  ['0', true],
  ['-0', true],
  ['00', false],
  ['-', false],
  ['1.', false],
  ['.1', false],
  ['1.0e', false],
  ['1E+', false],
  ['1.5e-10', true],
  ['0x1', false],
  ['1 ', true],
  ['1 2', false],
  ['nul', false],
  ['nullx', false],
  ['tru e', false],
  ['[1,]', false],
  ['{"a":1,}', false],
  ['{,}', false],
  ['[}', false],
  ['"\\u12g4"', false],
  ['"\\x"', false],
  ['"\t"', false],
  ['\ufeff{}', true],
  ['\ufeff\ufeff{}', false],
  ['', false],
  [' ', false],
])('%j is JSON: %s', (source, expected) => {
  expect(isJson([utf8(source)])).toBe(expected);
  expect(isJson(singleBytes(utf8(source)))).toBe(expected);
  expect(parses(utf8(source))).toBe(expected);
});

test.each([
  ['overlong in two', [0xc0, 0x80]],
  ['overlong in three', [0xe0, 0x80, 0x80]],
  ['a surrogate', [0xed, 0xa0, 0x80]],
  ['beyond the last character', [0xf4, 0x90, 0x80, 0x80]],
  ['a tail without a head', [0x80]],
  ['a head without its tail', [0xe4, 0xb8]],
])('UTF-8 that is %s is refused', (_, bytes) => {
  const string = Uint8Array.from([0x22, ...bytes, 0x22]);
  expect(parses(string)).toBe(false);
  expect(isJson([string])).toBe(false);
  expect(isJson(singleBytes(string))).toBe(false);
});

test('depth has a bound', () => {
  const nested = (depth: number): Uint8Array => utf8('['.repeat(depth) + ']'.repeat(depth));
  expect(isJson([nested(jsonDepthMax)])).toBe(true);
  expect(isJson([nested(jsonDepthMax + 1)])).toBe(false);
});
