import { expect, test } from 'vitest';
import { type LimitsAnswer, limitsReport } from '../limits-report.ts';
import { limitsOf } from './limits.ts';

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
  const words = limitsReport(answer)
    .split('\n')
    .map((line) => line.trim().split(/\s{2,}/));
  expect(words[1]).toEqual(['weur', 'set', '4', '-', '9', '30 s', '120 s', '0', '0', '0', '-']);
  expect(words[2]).toEqual([
    ...['weur', 'used', 'learned', '-', '512', '30 s', '120 s', '4', '3', '50', '2 queue_full, 1 deadline'],
  ]);
  expect(words[5]).toEqual(['weur', 't', '-', '2', '4', '3', '50', '2 queue_full, 1 deadline']);
  expect(words.at(-1)).toEqual(['Retries: weur 99 left, 7 not made.']);
});
