/**
 * JSON objects as people and programs write them: random values, white space between all tokens, escapes in names and
 * strings, duplicate names. This is an own writer, since JSON.stringify writes each value in one way only.
 */
import fc from 'fast-check';

/** What the writer asks when there is a choice; the numbers come from fast-check, so that failures shrink. */
export type Choose = (ways: number) => number;

const spaces = ['', '', '', ' ', '\n', '\t', '\r\n', '  '];

const space = (choose: Choose): string => spaces[choose(spaces.length)] ?? '';

/** One of the ways to write each character of a string; every `oneIn`th as an escape. */
export const writeString = (value: string, choose: Choose, oneIn: number): string => {
  let out = '"';
  for (let at = 0; at < value.length; at += 1) {
    const plain = JSON.stringify(value.charAt(at)).slice(1, -1);
    const escaped = `\\u${value.charCodeAt(at).toString(16).padStart(4, '0')}`;
    out += choose(oneIn) === 1 ? escaped : plain;
  }
  return `${out}"`;
};

export type Member = readonly [name: string, value: unknown];

/** An object from its members in order, duplicates included; of names one character in `escapeOneIn` is escaped. */
export const writeObject = (members: readonly Member[], choose: Choose, escapeOneIn = 8): string => {
  const written = members.map(
    ([name, value]) =>
      `${space(choose)}${writeString(name, choose, escapeOneIn)}${space(choose)}:` +
      `${space(choose)}${write(value, choose, escapeOneIn)}${space(choose)}`,
  );
  return `{${written.length === 0 ? space(choose) : written.join(',')}}`;
};

const write = (value: unknown, choose: Choose, escapeOneIn: number): string => {
  if (typeof value === 'string') return writeString(value, choose, 8);
  if (Array.isArray(value)) {
    const items = value.map((item) => space(choose) + write(item, choose, escapeOneIn) + space(choose));
    return `[${items.join(',')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    return writeObject(Object.entries(value), choose, escapeOneIn);
  }
  return JSON.stringify(value);
};

/** A source of choices; equal seeds choose alike. */
export const chooser = (seed: number): Choose => {
  let state = seed | 1;
  return (ways) => {
    state = Math.imul(state, 48_271) ^ (state >>> 15);
    return (state >>> 8) % ways;
  };
};

export const choices: fc.Arbitrary<Choose> = fc.integer({ min: 0, max: 2 ** 30 }).map(chooser);

/** Strings with what trips readers: quotes, backslashes, braces, commas, surrogate pairs, what edits look for. */
export const trickyString = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '\n', 'é', '😀', 'a'),
    maxLength: 12,
  }),
  fc.constantFrom('usage', '"usage":', 'model', '"model":"x"', 'stream_options', '}', '\\"', 'include_usage'),
);

/**
 * A backslash is no key: after an object with such a key the JSON reader of Node 24.21 takes an escaped comma for it.
 */
const keyString = trickyString.map((key) => key.replaceAll('\\', '/'));

/** Any JSON value, three levels deep. */
export const jsonValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false, 0, -1.5e-7, 12_345_678_901),
    trickyString,
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .array(fc.tuple(keyString, tie('value')), { maxLength: 3 })
      .map((entries) => Object.fromEntries(entries)),
  ),
})).value;
