import { expect, test } from 'vitest';
import { RoundTrip } from './round-trip.ts';

const measured = (samplesMs: readonly number[]): (number | undefined)[] => {
  const trip = new RoundTrip();
  let nowMs = 0;
  return samplesMs.map((sampleMs) => {
    trip.pinged(nowMs);
    nowMs += sampleMs;
    return trip.ponged(nowMs);
  });
};

test('the first pong is told, and the next ones only when they differ enough', () => {
  expect(measured([40, 41, 38, 40])).toEqual([40, undefined, undefined, undefined]);
});

test('one late pong moves it a quarter of the way, a lasting change all the way', () => {
  expect(measured([40, 120])).toEqual([40, 60]);
  expect(measured([40, ...Array(20).fill(120)]).findLast((told) => told !== undefined)).toBeGreaterThan(90);
});

test('on loopback, jitter below a millisecond is no news', () => {
  expect(measured([0.2, 0.9, 0.1])).toEqual([0, undefined, undefined]);
});

test('a pong that nobody asked for says nothing, and an unanswered ping neither', () => {
  const trip = new RoundTrip();
  expect(trip.ponged(5)).toBeUndefined();
  trip.pinged(10);
  trip.pinged(20);
  expect(trip.ponged(25)).toBe(5);
  expect(trip.ponged(30)).toBeUndefined();
});
