import { expect, test } from 'vitest';
import type { EngineFigures } from './engine-figures.ts';
import { LoadHistory, type OwnRequests } from './engine-load.ts';

const figures = (
  running: number | undefined,
  waiting: number | undefined,
  counters: Partial<EngineFigures['counters']> = {},
): EngineFigures => ({
  ...{ running, waiting, kvUsage: undefined },
  counters: {
    ...{ promptTokens: undefined, cachedTokens: undefined, generatedTokens: undefined },
    ...{ preemptions: undefined, ...counters },
  },
});
const own = (live: number, unanswered = 0): OwnRequests => ({ live, unanswered });
const none = own(0);

/** What is told of others after these looks. */
const othersAfter = (...looks: (readonly [EngineFigures, OwnRequests])[]) => {
  const history = new LoadHistory();
  for (const [seen, ours] of looks) history.looked(seen, ours);
  return [history.load?.othersRunning, history.load?.othersWaiting];
};
const twice = (seen: EngineFigures, ours: OwnRequests) => othersAfter([seen, ours], [seen, ours]);

test('requests that are not ours are told, by whether they run or wait', () => {
  expect(twice(figures(8, 4), none)).toEqual([8, 4]);
  expect(twice(figures(8, 4), own(8))).toEqual([0, 4]);
  expect(twice(figures(8, 4), own(4, 4))).toEqual([8, 0]);
  expect(twice(figures(2, 0), own(5, 3))).toEqual([0, 0]);
});

test('a request that shows in one look alone is nobody’s: ours end in the engine a moment later than here', () => {
  expect(othersAfter([figures(0, 0), none], [figures(3, 2), none])).toEqual([0, 0]);
  expect(othersAfter([figures(3, 2), none], [figures(2, 2), none])).toEqual([2, 2]);
  expect(othersAfter([figures(9, 9), none])).toEqual([undefined, undefined]);
});

test('what the engine does not say is unknown, and counts for nobody', () => {
  expect(twice(figures(undefined, undefined), none)).toEqual([undefined, undefined]);
  expect(twice(figures(undefined, 3), own(1, 1))).toEqual([undefined, 2]);
  expect(twice(figures(3, undefined), own(1))).toEqual([2, undefined]);
});

test('after the engine was lost nothing is known until there are two looks again', () => {
  const history = new LoadHistory();
  for (let looks = 0; looks < 2; looks += 1) history.looked(figures(3, 0), none);
  history.lost();
  expect(history.load).toBeUndefined();
  history.looked(figures(3, 0), none);
  expect(history.load).toMatchObject({ running: 3, othersRunning: undefined });
});

test('counters are counted from the first look, and go on when the engine starts anew', () => {
  const history = new LoadHistory();
  const seen = [1_000, 1_010, 5, 5, 8];
  for (const generatedTokens of seen) history.looked(figures(0, 0, { generatedTokens }), none);
  expect(history.totals).toEqual({
    ...{ promptTokens: undefined, cachedTokens: undefined, preemptions: undefined },
    generatedTokens: 10 + 5 + 3,
  });
});
