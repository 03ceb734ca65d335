import { expect, test } from 'vitest';
import { type LimitsAnswer, limitsReport } from '../limits-report.ts';
import type { NodesAnswer } from '../node-report.ts';
import { inOptions, limits, limitsOf } from './limits.ts';

test('options become the limits of the admin API, in its units', () => {
  expect(limitsOf('model', { queue: '0', 'queue-seconds': '2.5', seats: '4' })).toEqual({
    ...{ queueMax: 0, queueMsMax: 2_500, seatsPerReplica: 4 },
  });
  expect(limitsOf('tenant', { concurrency: '8', weight: '0.5' })).toEqual({ concurrency: 8, weight: 0.5 });
});

test('an option that this kind does not have, or no number, is told', () => {
  expect(() => limitsOf('tenant', { queue: '3' })).toThrow('A tenant has no --queue.');
  expect(() => limitsOf('model', { weight: '3' })).toThrow('A model has no --weight.');
  expect(() => limitsOf('model', { queue: '-1' })).toThrow('--queue takes a number, not "-1".');
});

test('a number below 0 is told as that', async () => {
  await expect(limits(['set', 'model', 'm', '--concurrency', '-1'])).rejects.toThrow(
    '--concurrency takes a number, not "-1".',
  );
});

test("what the edge says of limits comes in the options' names and units", () => {
  const told = (field: string, range: string) => `The limits: ${field} must be a whole number from ${range}.`;
  expect(inOptions('model', told('seatsPerReplica', '1 to 2048'))).toBe(
    '--seats must be a whole number from 1 to 2048.',
  );
  expect(inOptions('model', told('queueMsMax', '0 to 3600000'))).toBe(
    '--queue-seconds must be a number from 0 to 3600.',
  );
  expect(inOptions('tenant', 'Too many.')).toBe('Too many.');
});

type Replica = NodesAnswer['regions'][number]['nodes'][number]['replicas'][number];

const nodesOf = (...replicas: readonly Partial<Replica>[]): NodesAnswer => ({
  regions: [
    {
      region: 'weur',
      nodes: replicas.map((told, at) => ({
        ...{ node: `n${at}`, name: `n${at}`, connectedAtMs: 0, cordoned: false, gpus: [] },
        replicas: [{ name: 'r0', state: 'ready', role: 'both', models: [], live: 0, caches: [], ...told }],
      })),
    },
  ],
  away: [],
});

test('seats of engines that tell no load are guessed, and it is said what to do', () => {
  const used = { waiting: 0, live: 0, granted: 1, refused: {} };
  const answer: LimitsAnswer = {
    defaults: {},
    regions: [
      {
        region: 'weur',
        limits: { models: [{ model: 'set', seatsPerReplica: 2 }], tenants: [] },
        models: ['told', 'untold', 'half', 'gone'].map((model) => ({ model, ...used })),
        ...{ tenants: [], retries: { left: 99, refused: 0 } },
      },
    ],
  };
  const nodes = nodesOf(
    { models: ['told', 'half'], load: { running: 0, waiting: 0 } },
    { models: ['untold', 'half', 'set'] },
  );
  const report = limitsReport(answer, nodes);
  const seats = report.split('\n').map((line) =>
    line
      .trim()
      .split(/\s{2,}/)
      .slice(1, 3)
      .join(' '),
  );
  expect(seats.slice(1, 6)).toEqual(['set 2', 'told learned', 'untold guessed', 'half guessed', 'gone -']);
  expect(report).toContain(
    '\nuntold: its engines tell no load; name their profile to the agent, or set --seats.' +
      '\nhalf: some of its engines tell',
  );
  expect(report).not.toMatch(/^(set|told|gone):/m);
});

test('the table shows what is set, the defaults of the rest, and what came of it', () => {
  const used = { waiting: 3, live: 4, granted: 50, refused: { queue_full: 2, deadline: 1 } };
  const answer: LimitsAnswer = {
    defaults: { queueMax: 512, queueMsMax: 30_000, firstTokenMs: 120_000 },
    regions: [
      {
        region: 'weur',
        limits: {
          models: [{ model: 'set', queueMax: 9, seatsPerReplica: 4 }],
          tenants: [{ tenant: 't', weight: 2 }],
        },
        models: [{ model: 'used', ...used }],
        tenants: [{ tenant: 't', ...used }],
        retries: { left: 99, refused: 7 },
      },
    ],
  };
  const words = limitsReport(answer, nodesOf({ models: ['used'], load: { running: 0, waiting: 0 } }))
    .split('\n')
    .map((line) => line.trim().split(/\s{2,}/));
  expect(words[1]).toEqual(['weur', 'set', '4', '-', '9', '30 s', '120 s', '0', '0', '0', '-']);
  expect(words[2]).toEqual([
    ...['weur', 'used', 'learned', '-', '512', '30 s', '120 s', '4', '3', '50', '2 queue_full, 1 deadline'],
  ]);
  expect(words[5]).toEqual(['weur', 't', '-', '2', '4', '3', '50', '2 queue_full, 1 deadline']);
  expect(words.at(-1)).toEqual([
    'Retries of requests that failed: weur may make 99 more now, and has turned down 7.',
  ]);
});
