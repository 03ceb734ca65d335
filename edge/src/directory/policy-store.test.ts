import { DatabaseSync } from 'node:sqlite';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { Directory } from './directory.ts';
import { PolicyStore } from './policy-store.ts';

/** The platform's SQL interface over Node's own SQLite, as far as the store uses it. */
const sqlOf = (database: DatabaseSync): SqlStorage =>
  ({
    exec: (text: string, ...values: (string | number | null)[]) => {
      const rows = database.prepare(text).all(...values);
      return { toArray: () => rows, [Symbol.iterator]: () => rows.values() };
    },
  }) as unknown as SqlStorage;

const newDirectory = (): Directory => new Directory({ secret: 1, askSnapshot: () => 0 });

/** The policies of a model that somebody serves. */
const policiesOf = (directory: Directory): string[] => {
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  const replica = { name: 'r0', state: 'ready', models };
  directory.join('n' as never, 1 as never, 'n', [replica as never], 0);
  const { policy, shadow } = directory.served().get('m')?.policies ?? {};
  return [policy?.name ?? '', shadow?.name ?? ''];
};

test('a policy holds at once, and for an object that starts anew', () => {
  const database = new DatabaseSync(':memory:');
  const directory = newDirectory();
  new PolicyStore(sqlOf(database), directory).use('m', 'round-robin', 'least-loaded');
  expect(policiesOf(directory)).toEqual(['round-robin', 'least-loaded']);
  const restarted = newDirectory();
  const store = new PolicyStore(sqlOf(database), restarted);
  expect(policiesOf(restarted)).toEqual(['round-robin', 'least-loaded']);
  store.use('m', undefined, undefined);
  expect(policiesOf(restarted)).toEqual(['predicted-latency', '']);
  const third = newDirectory();
  new PolicyStore(sqlOf(database), third);
  expect(policiesOf(third)).toEqual(['predicted-latency', '']);
});

test('a name that no policy has is refused with those there are, and changes nothing', () => {
  const directory = newDirectory();
  const store = new PolicyStore(sqlOf(new DatabaseSync(':memory:')), directory);
  const error = errorOf(() => store.use('m', 'fastest', undefined));
  expect(error?.code).toBe('invalid_request');
  expect(error?.message).toContain('predicted-latency');
  expect(errorOf(() => store.use('m', 'random', 'fastest'))?.param).toBe('shadow');
  expect(policiesOf(directory)).toEqual(['predicted-latency', '']);
});

test('a policy that this version does not know any more is as good as none', () => {
  const database = new DatabaseSync(':memory:');
  new PolicyStore(sqlOf(database), newDirectory());
  database.exec("INSERT INTO policies VALUES ('m', 'of-old', 'of-old')");
  const directory = newDirectory();
  new PolicyStore(sqlOf(database), directory);
  expect(policiesOf(directory)).toEqual(['predicted-latency', '']);
});
