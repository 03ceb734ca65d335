import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Histogram } from './histogram.ts';

test('a time counts in the least bucket that is not below it, and in all above', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), (ms) => {
      const histogram = new Histogram();
      histogram.observe(ms);
      const { buckets, count, sumSeconds } = histogram.figures;
      const microseconds = Math.ceil(ms * 1_000);
      for (const [le, here] of buckets) expect(here).toBe(microseconds <= Math.round(le * 1e6) ? 1 : 0);
      expect(count).toBe(1);
      expect(sumSeconds).toBeCloseTo(ms / 1_000);
    }),
  );
});

test('buckets are powers of two from a microsecond on, and each has those below it', () => {
  const histogram = new Histogram();
  for (const ms of [0, 0.001, 0.0011, 3, 20_000]) histogram.observe(ms);
  const { buckets, count } = histogram.figures;
  expect(buckets[0]).toEqual([1e-6, 2]);
  expect(buckets[1]).toEqual([2e-6, 3]);
  expect(buckets.at(-1)).toEqual([2 ** 24 / 1e6, 4]);
  expect(count).toBe(5);
});
