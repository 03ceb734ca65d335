/** How long a new request would wait at a replica. */
import { expect, test } from 'vitest';
import { ReplicaLoad, type Reservation } from './load.ts';

const first = 1 as Reservation;
const second = 2 as Reservation;

const withTwo = (lateAfterMs = 300): ReplicaLoad => {
  const load = new ReplicaLoad();
  for (const reservation of [first, second]) {
    load.book(reservation, {
      bookedAtMs: 1000,
      contextTokens: 500,
      uncachedTokens: 400,
      prefillMs: 300,
      lateAfterMs,
      firstByteAtMs: undefined,
      decodingBeside: 0,
    });
  }
  return load;
};

test('a queue is served while time passes', () => {
  const load = withTwo();
  expect([1000, 1100, 1300].map((nowMs) => load.waitMs(nowMs))).toEqual([600, 500, 300]);
});

test('a prefill that is late is expected to be as late again, however long that goes on', () => {
  const load = withTwo();
  expect([1400, 2300, 61_300].map((nowMs) => load.waitMs(nowMs))).toEqual([400, 1300, 60_300]);
});

test('what may take longer than expected is due until it is late', () => {
  const load = withTwo(2000);
  expect([1300, 3000, 3500].map((nowMs) => load.waitMs(nowMs))).toEqual([300, 300, 800]);
});

test('a first byte is a sign of life: the next prefill begins then', () => {
  const load = withTwo();
  expect(load.firstByte(first, 5000)).toBe(4000);
  expect([load.waitMs(5000), load.waitMs(5100), load.decoding]).toEqual([300, 200, 1]);
});

test('a clock that steps back shortens no queue', () => {
  expect(withTwo().waitMs(0)).toBe(600);
});

test('what is older than a while is told, and what a clock that was set back has booked ages from then on', () => {
  const load = withTwo();
  const olderAt = (nowMs: number) => [...load.olderThan(500, nowMs)];
  expect(olderAt(1500)).toEqual([]);
  expect(olderAt(1501)).toEqual([first, second]);
  expect(olderAt(200)).toEqual([]);
  expect(olderAt(701)).toEqual([first, second]);
});
