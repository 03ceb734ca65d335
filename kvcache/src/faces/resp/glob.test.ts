import { expect, test } from 'vitest';
import { globOf } from './glob.ts';

test.each([
  ['*', '', true],
  ['*', 'anything', true],
  ['a*', 'abc', true],
  ['a*', 'bc', false],
  ['*c', 'abc', true],
  ['a*b*c', 'a1b2b3c', true],
  ['a*b*c', 'a1c2b', false],
  ['h?llo', 'hello', true],
  ['h?llo', 'hllo', false],
  ['h[ae]llo', 'hallo', true],
  ['h[^e]llo', 'hello', false],
  ['h[a-c]llo', 'hbllo', true],
  ['h[a-c]llo', 'hdllo', false],
  ['h\\*llo', 'h*llo', true],
  ['h\\*llo', 'hello', false],
  ['model@*@1', 'model@0@ff@1', true],
  ['[', '[', true],
  ['', '', true],
  ['', 'a', false],
  ['a**', 'ab', true],
  ['[b-d]*', 'ca', true],
  ['[d-b]', 'c', false],
])('%j of %j is %j', (pattern, key, isIt) => {
  expect(globOf(pattern).isOf(key)).toBe(isIt);
});

test('a pattern of many runs costs no more than pattern times key', () => {
  let looks = 0;
  const counted = new Proxy(
    {},
    {
      get: (_, name) => {
        if (name === 'length') return 20_000;
        looks += 1;
        return 'a';
      },
    },
  ) as unknown as string;
  const glob = globOf(`${'*a'.repeat(50)}*b`);
  expect(glob.isOf(counted)).toBe(false);
  expect(glob.looks).toBeGreaterThan(20_000);
  expect(looks).toBeLessThan(20_000 * 102);
});
