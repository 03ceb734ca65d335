import { expect, test } from 'vitest';
import { LateSweeps } from './late-sweeps.ts';

const everyMs = 1_000;
const judged = (...afterMs: readonly number[]): boolean[] => {
  const sweeps = new LateSweeps(everyMs, 50_000);
  let nowMs = 50_000;
  return afterMs.map((ms) => {
    nowMs += ms;
    return !sweeps.isLate(nowMs);
  });
};

test('a sweep after a pause of its own judges nobody, the next one does', () => {
  expect(judged(1_000, 2_000, 5_000, 1_000)).toEqual([true, true, false, true]);
});

test('the first sweep is late too where it was held up since the start', () => {
  expect(judged(2_001, 1_000)).toEqual([false, true]);
});

test('one that is always late judges all the same, and is spared anew behind a sweep in time', () => {
  const late = 3_000;
  expect(judged(late, late, late, late, late, late)).toEqual([false, false, false, false, true, true]);
  expect(judged(late, late, late, late, late, 1_000, late)).toEqual([
    ...[false, false, false, false, true],
    ...[true, false],
  ]);
});

test('a clock that was set back makes no sweep late', () => {
  expect(judged(-60_000, 1_000)).toEqual([true, true]);
});
