import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { TestDatabase } from '../../testing/sql.ts';
import { Directory } from './directory.ts';
import { PolicyStore } from './policy-store.ts';

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
  const database = new TestDatabase();
  const directory = newDirectory();
  new PolicyStore(database.sql, directory).use('m', 'round-robin', 'least-loaded');
  expect(policiesOf(directory)).toEqual(['round-robin', 'least-loaded']);
  const restarted = newDirectory();
  const store = new PolicyStore(database.sql, restarted);
  expect(policiesOf(restarted)).toEqual(['round-robin', 'least-loaded']);
  store.use('m', undefined, undefined);
  expect(policiesOf(restarted)).toEqual(['predicted-latency', '']);
  const third = newDirectory();
  new PolicyStore(database.sql, third);
  expect(policiesOf(third)).toEqual(['predicted-latency', '']);
});

test('a name that no policy has is refused with those there are, and changes nothing', () => {
  const directory = newDirectory();
  const store = new PolicyStore(new TestDatabase().sql, directory);
  const error = errorOf(() => store.use('m', 'fastest', undefined));
  expect(error?.code).toBe('invalid_request');
  expect(error?.message).toContain('predicted-latency');
  expect(errorOf(() => store.use('m', 'random', 'fastest'))?.param).toBe('shadow');
  expect(policiesOf(directory)).toEqual(['predicted-latency', '']);
});

test('a policy that this version does not know any more is as good as none', () => {
  const database = new TestDatabase();
  new PolicyStore(database.sql, newDirectory());
  database.sql.exec("UPDATE policies SET policy = 'of-old', shadow = 'of-old'");
  const directory = newDirectory();
  new PolicyStore(database.sql, directory);
  expect(policiesOf(directory)).toEqual(['predicted-latency', '']);
});
