import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseLeastLoaded } from './least-loaded.ts';

test('nobody is chosen among none', () => {
  expect(chooseLeastLoaded([], () => 0)).toBeUndefined();
});

test('the chosen one is always among the least loaded, and each of them can be', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 8 }), (loads) => {
      const candidates = loads.map((live, index) => ({ live, index }));
      const least = candidates.filter(({ live }) => live === Math.min(...loads));
      const chosen = least.map((_, tie) => chooseLeastLoaded(candidates, () => (tie + 0.5) / least.length));
      expect(chosen).toEqual(least);
    }),
  );
});

test('a random number just below 1 stays within the candidates', () => {
  const candidates = [{ live: 0 }, { live: 0 }, { live: 0 }];
  expect(chooseLeastLoaded(candidates, () => 1 - Number.EPSILON / 2)).toBe(candidates[2]);
});
