import { describe, expect, test } from 'vitest';
import { summarize } from '../report/statistics.ts';
import { figureOf, goalsOf, upkeepOf, type Visit } from './figures.ts';
import type { Row } from './measure.ts';
import type { Workload } from './traffic.ts';

const size = { replicas: 64, blocks: 1000, isScattered: false };
const rowOf = (
  stage: string,
  workload: Workload,
  us: readonly number[],
  quickestP99Us: number | undefined,
): Row => ({
  ...{ stage, workload, promptTokens: 2048, callsPerSample: 1 },
  us: summarize(us),
  quickestP99Us,
});
const visitOf = (runtime: string, us: readonly number[], replicas = 64): Visit => ({
  runtime,
  size: { ...size, replicas },
  cell: {
    rows: [
      rowOf('match', 'whole', us, us[0]),
      rowOf('match', 'mixed', [1000], undefined),
      rowOf('decision', 'whole', [400, 450], 410),
      rowOf('decision', 'mixed', [480, 520], runtime === 'node' ? 490 : undefined),
    ],
    upkeep: {
      mapBytes: 100,
      blocks: 10,
      bytesPerBlock: us[0] ?? 0,
      addNsPerBlock: 1,
      addToFullNsPerBlock: 2,
      sweepMs: 3,
    },
  },
});
const visits = [
  visitOf('node', [1, 3]),
  visitOf('node', [10]),
  visitOf('node', [4]),
  visitOf('node', [50], 8),
];
const question = { ...size, runtime: 'node', stage: 'match', workload: 'whole', promptTokens: 2048 } as const;

describe('figures', () => {
  test('are medians over the rounds of the one case', () => {
    expect(figureOf(visits, question)).toEqual({ p50Us: 4, p99Us: 4, quickestP99Us: 4 });
    expect(figureOf(visits, { ...question, workload: 'mixed' }).p50Us).toBe(1000);
    expect(upkeepOf(visits, 'node', size).bytesPerBlock).toBe(4);
  });

  test('of what was not measured are no numbers', () => {
    expect(figureOf(visits, { ...question, runtime: 'workerd' })).toEqual({
      p50Us: Number.NaN,
      p99Us: Number.NaN,
      quickestP99Us: Number.NaN,
    });
  });
});

const judged = { ...size, promptTokens: 2048 };

test('goals are about the longest walk and the slower prompts of the largest case, in each runtime that ran', () => {
  const goals = goalsOf([...visits, visitOf('workerd', [25])], ['node', 'workerd'], [judged]);
  expect(goals).toMatchObject({
    matchNode: { value: 4, met: true },
    decisionNode: { value: 519.6, met: false },
    quickestDecisionNode: { value: 490, met: true },
    matchWorkerd: { value: 25, met: false },
    decisionWorkerd: { value: 519.6, met: false },
  });
  expect(Object.keys(goals)).toHaveLength(5);
});

test('scattered blocks are judged under names of their own', () => {
  const scattered = { ...size, isScattered: true };
  const found = [...visits, { ...visitOf('node', [102]), size: scattered }];
  const goals = goalsOf(found, ['node'], [judged, { ...judged, isScattered: true }]);
  expect(goals).toMatchObject({
    matchNode: { value: 4, met: true },
    matchNodeScattered: { value: 102, met: false, goal: expect.stringMatching(/2 k tokens, scattered/) },
    decisionNodeScattered: { value: 519.6, met: false },
  });
  expect(Object.keys(goals)).toHaveLength(6);
});
