import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

test('who waits as told never takes more than the burst beyond the rate', () => {
  const takes = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 1_000 }), restMs: fc.nat(50) }), {
    minLength: 1,
  });
  fc.assert(
    fc.property(takes, fc.integer({ min: 1_000, max: 1_000_000 }), (all, bytesPerSecond) => {
      const bucket = new TokenBucket(bytesPerSecond, 1_000, 0);
      let [ms, taken] = [0, 0];
      for (const { bytes, restMs } of all) {
        ms += restMs;
        ms += bucket.take(bytes, ms);
        taken += bytes;
        const burst = Math.max(1_000, bytesPerSecond / 10);
        expect(taken).toBeLessThanOrEqual((ms * bytesPerSecond) / 1_000 + burst + 1e-6);
      }
    }),
  );
});

test('what is within the rate does not wait', () => {
  const bucket = new TokenBucket(10_000, 1_000, 0);
  expect(Array.from({ length: 20 }, (_, index) => bucket.take(100, index * 10))).toEqual(Array(20).fill(0));
  expect(bucket.take(2_000, 200)).toBe(100);
});
