import { expect, test } from 'vitest';
import { Silence } from './silence.ts';

test('silence lasts from the sweep after the last sign of life, and one sign ends it', () => {
  const silence = new Silence();
  expect([0, 1_000, 2_000, 3_000].map((nowMs) => silence.sweep(nowMs))).toEqual([0, 1_000, 2_000, 3_000]);
  silence.broken();
  expect(silence.lastedMs).toBe(3_000);
  expect([4_000, 5_000].map((nowMs) => silence.sweep(nowMs))).toEqual([0, 1_000]);
});

test('time in which nobody looked is nobody’s silence', () => {
  const silence = new Silence();
  silence.sweep(0);
  silence.sweep(1_000);
  // The agent itself was stopped for an hour.
  expect(silence.sweep(3_600_000)).toBe(3_000);
  expect(silence.sweep(3_601_000)).toBe(4_000);
});
