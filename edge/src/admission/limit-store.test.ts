import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { TestDatabase } from '../../testing/sql.ts';
import { Admission } from './admission.ts';
import { LimitStore } from './limit-store.ts';

const newAdmission = (): Admission => new Admission({ roomOf: () => 'room' });

test('limits hold at once, and for an object that starts anew, until they are taken back', () => {
  const database = new TestDatabase();
  const admission = newAdmission();
  const store = new LimitStore(database.sql, admission);
  store.use('models', 'm', { queueMax: 0, firstTokenMs: 2_000 });
  store.use('tenants', 't', { concurrency: 3, weight: 0.5 });
  const set = {
    models: [{ model: 'm', queueMax: 0, firstTokenMs: 2_000 }],
    tenants: [{ tenant: 't', concurrency: 3, weight: 0.5 }],
  };
  expect(admission.limits).toEqual(set);
  const restarted = newAdmission();
  new LimitStore(database.sql, restarted).use('models', 'm', undefined);
  expect(restarted.limits).toEqual({ ...set, models: [] });
  const third = newAdmission();
  new LimitStore(database.sql, third);
  expect(third.limits).toEqual({ ...set, models: [] });
});

test.each([
  ['models', { queueMax: -1 }, 'queueMax'],
  ['models', { concurrency: 0 }, 'concurrency'],
  ['models', { queue: 3 }, 'no "queue"'],
  ['tenants', { weight: 0 }, 'weight'],
  ['tenants', { queueMax: 3 }, 'no "queueMax"'],
] as const)('of %s %o is refused, and changes nothing', (kind, record, words) => {
  const admission = newAdmission();
  const store = new LimitStore(new TestDatabase().sql, admission);
  const error = errorOf(() => store.use(kind, 'x', record));
  expect(error?.code).toBe('invalid_request');
  expect(error?.message).toContain(words);
  expect(admission.limits).toEqual({ models: [], tenants: [] });
});

test('what this version cannot read is as good as not set', () => {
  const database = new TestDatabase();
  new LimitStore(database.sql, newAdmission()).use('models', 'm', { queueMax: 1 });
  database.sql.exec(`UPDATE limits SET limits = '{"of":"old"}'`);
  const admission = newAdmission();
  new LimitStore(database.sql, admission);
  expect(admission.limits.models).toEqual([]);
});
