import { expect, test } from 'vitest';
import { figuresOf, goalsOf, goodput } from './figures.ts';
import type { Outcome } from './load.ts';

const outcome = (tenant: string, endedMs: number, more: Partial<Outcome> = {}): Outcome => ({
  ...{ tenant, sentMs: 0, status: 200, code: undefined, retryAfterSeconds: undefined },
  ...{ firstEventMs: 100, events: 20, isWhole: true, endedMs },
  ...more,
});

const window = { fromMs: 1_000, toMs: 2_000 };

test('only what is whole and began in time is good, and as much of it as came within the window', () => {
  const outcomes = [
    outcome('flood', 1_000),
    outcome('flood', 2_000, { sentMs: 900 }),
    outcome('flood', 1_400, { sentMs: 600 }),
    outcome('flood', 2_900, { sentMs: 1_800 }),
    outcome('flood', 1_500, { isWhole: false }),
    outcome('flood', 1_500, { firstEventMs: 101 }),
    outcome('flood', 1_500, { firstEventMs: undefined, events: 0, status: 503 }),
  ];
  expect(goodput(outcomes, 100, window)).toBeCloseTo(20 + (20 * 400) / 700 + (20 * 100) / 1_000, 6);
});

test('goals are met, missed, and of memory in a short run not measurable', () => {
  const sent = [1, 2, 3, 4].map((at) => outcome(at > 2 ? 'flood' : 'small', 1_200 + at, { sentMs: 1_000 }));
  const refused = outcome('flood', 1_200, { status: 503, code: 'overloaded', isWhole: false, events: 0 });
  const run = {
    ...{ objectiveMs: 100, seconds: 30, peak: 85, window, left: 1, outcomes: [...sent, refused] },
    memory: [0, 1, 2, 3].map((at) => ({ atSeconds: at, edgeMiB: 100 + at, agentsMiB: 50 })),
  };
  const figures = figuresOf(run);
  expect(figures).toMatchObject({
    ...{ goodEventsPerSecond: 80, smallShare: 0.5, memoryPeakMiB: { edge: 103, agents: 50 } },
    memoryGrowthMiBPerMinute: { edge: 60, agents: 0 },
    tenants: [
      { sent: 3, outcomes: { whole: 2, '503 overloaded': 1 } },
      { sent: 2, outcomes: { whole: 2 } },
    ],
  });
  const met = Object.fromEntries(
    Object.entries(goalsOf(run, figures)).map(([name, goal]) => [name, goal.met]),
  );
  expect(met).toEqual({ goodput: true, firstToken: true, memory: null, share: true, nothingLeft: false });
  expect(goalsOf({ ...run, seconds: 300 }, figures).memory?.met).toBe(false);
});
