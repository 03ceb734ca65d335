import { expect, test } from 'vitest';
import { seededRandom } from '../sim/random.ts';
import { Direction, type DirectionShape } from './direction.ts';

const plain: DirectionShape = {
  delayMs: 10,
  jitterMs: 0,
  lossShare: 0,
  megabitsPerSecond: 8,
  queueBytesMax: 10_000,
};
const directionOf = (shape: Partial<DirectionShape>, seed = 1): Direction =>
  new Direction({ ...plain, ...shape }, seededRandom(seed));

/** Offers packets of 1,000 bytes, the first byte their number; which are taken and when they are due. */
const play = (direction: Direction, count: number, everyUs: number): { number: number; us: number }[] => {
  const seen: { number: number; us: number }[] = [];
  const collect = (nowUs: number): void => {
    while (direction.dueUs <= nowUs) {
      const us = direction.dueUs;
      expect(direction.arrived(us - 1)).toBeUndefined();
      const packet = direction.arrived(us);
      expect(packet?.bytes).toBe(1_000);
      seen.push({ number: packet?.slot.readUInt32LE(0) ?? Number.NaN, us });
    }
  };
  for (let number = 0; number < count; number += 1) {
    collect(number * everyUs);
    direction.free?.writeUInt32LE(number, 0);
    direction.offer(1_000, number * everyUs);
  }
  collect(Number.MAX_SAFE_INTEGER);
  return seen;
};

test('a packet arrives after its time on the wire and the delay', () => {
  // 1,000 bytes at 8 Mbit/s: 1 ms.
  expect(play(directionOf({}), 3, 5_000)).toEqual([
    { number: 0, us: 11_000 },
    { number: 1, us: 16_000 },
    { number: 2, us: 21_000 },
  ]);
});

test('packets wait for the wire one behind the other', () => {
  expect(play(directionOf({}), 3, 0).map(({ us }) => us)).toEqual([11_000, 12_000, 13_000]);
});

test('who finds the queue full is dropped and counted', () => {
  const direction = directionOf({});
  expect(play(direction, 12, 0).map(({ number }) => number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(direction.counts).toMatchObject({ delivered: 10, deliveredBytes: 10_000, dropped: 2, lost: 0 });
});

test('so many are lost as asked for, the same for the same seed', () => {
  const numbers = (seed: number): number[] => {
    const direction = directionOf({ lossShare: 0.02 }, seed);
    const seen = play(direction, 20_000, 1_000).map(({ number }) => number);
    expect(direction.counts.lost).toBe(20_000 - seen.length);
    return seen;
  };
  const seen = numbers(3);
  // Five standard deviations.
  expect(Math.abs(20_000 - seen.length - 400)).toBeLessThan(99);
  expect(numbers(3)).toEqual(seen);
  expect(numbers(4)).not.toEqual(seen);
});

test('jitter delays, and lets nobody overtake', () => {
  const seen = play(directionOf({ jitterMs: 20 }), 1_000, 1_000);
  expect(seen.map(({ number }) => number)).toEqual(Array.from({ length: 1_000 }, (_, number) => number));
  const delays = seen.map(({ number, us }) => us - number * 1_000 - 11_000);
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...delays)).toBeGreaterThan(10_000);
  expect(Math.max(...delays)).toBeLessThan(20_000);
});

test('what changes holds from the next packet on', () => {
  const direction = directionOf({});
  direction.offer(1_000, 0);
  direction.change({ ...plain, delayMs: 1, lossShare: 1 });
  direction.offer(1_000, 0);
  expect(direction.counts.lost).toBe(1);
  expect(direction.arrived(10_999)).toBeUndefined();
  expect(direction.arrived(11_000)).toBeDefined();
});

test('a full ring takes no more until a packet has arrived', () => {
  const direction = directionOf({ megabitsPerSecond: 1e6, queueBytesMax: 1e9, delayMs: 1_000 });
  let count = 0;
  for (; direction.free !== undefined; count += 1) direction.offer(100, 0);
  expect(count).toBe(16_384);
  expect(direction.arrived(2e6)).toBeDefined();
  expect(direction.free).toBeDefined();
});
