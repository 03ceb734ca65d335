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

test('a late pong is no news, a way that got longer is, once no shorter one is remembered', () => {
  expect(measured([40, 120, 45])).toEqual([40, undefined, undefined]);
  expect(measured([40, 120, 120, 120, 120])).toEqual([40, undefined, undefined, undefined, 120]);
  expect(measured([120, 40])).toEqual([120, 40]);
});

test('the first pings do not wait for the heartbeat', () => {
  const trip = new RoundTrip();
  const wants = Array.from({ length: 4 }, (_, at) => {
    const wantsMore = trip.wantsMore;
    trip.pinged(at);
    trip.ponged(at);
    return wantsMore;
  });
  expect(wants).toEqual([true, true, true, false]);
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
