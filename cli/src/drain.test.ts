import { expect, test } from 'vitest';
import { drainLookMs, untilDrained } from './drain.ts';

/** Drains a node whose live requests are those, one look after the other. */
const drain = async (lives: readonly number[], msMax: number) => {
  let nowMs = 0;
  const told: [number, number][] = [];
  const left = await untilDrained({
    look: async () => lives[Math.min(told.length, lives.length - 1)] ?? 0,
    msMax,
    nowMs: () => nowMs,
    pause: async (ms) => {
      nowMs += ms;
    },
    tell: (live, leftMs) => told.push([live, leftMs]),
  });
  return { left, told, nowMs };
};

test('it is over with the last request, and at once where there is none', async () => {
  expect(await drain([3, 1, 0, 5], 60_000)).toEqual({
    left: 0,
    told: [
      [3, 60_000],
      [1, 60_000 - drainLookMs],
      [0, 60_000 - 2 * drainLookMs],
    ],
    nowMs: 2 * drainLookMs,
  });
  expect((await drain([0], 60_000)).nowMs).toBe(0);
});

test('when the time is up it tells what is left, after one last look', async () => {
  const { left, told, nowMs } = await drain([2], 1_200);
  expect([left, nowMs, told.at(-1)]).toEqual([2, 1_200, [2, 0]]);
  expect((await drain([2, 2, 2, 0], 1_200)).left).toBe(0);
});
