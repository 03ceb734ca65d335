import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { Directory } from './directory.ts';
import { PolicyStore } from './policy-store.ts';

type Row = readonly [model: string, policy: string, shadow: string | null];

/** The table of policies, as far as the store's statements go. */
class PolicyTable {
  readonly rows = new Map<string, Row>();

  get sql(): SqlStorage {
    const exec = (text: string, ...values: (string | null)[]) => {
      const rows = this.#run(text.trim().split(' ')[0] ?? '', text, values);
      return { toArray: () => rows, [Symbol.iterator]: () => rows.values() };
    };
    return { exec } as unknown as SqlStorage;
  }

  #run(verb: string, text: string, [model = '', policy = '', shadow = null]: (string | null)[]): object[] {
    if (verb === 'DELETE') this.rows.delete(model ?? '');
    if (verb === 'INSERT') this.rows.set(model ?? '', [model ?? '', policy ?? '', shadow]);
    if (verb !== 'SELECT') return [];
    if (text.includes('COUNT')) return [{ models: this.rows.size }];
    return [...this.rows.values()].map(([name, chosen, beside]) => ({
      ...{ model: name, policy: chosen, shadow: beside },
    }));
  }
}

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
  const table = new PolicyTable();
  const directory = newDirectory();
  new PolicyStore(table.sql, directory).use('m', 'round-robin', 'least-loaded');
  expect(policiesOf(directory)).toEqual(['round-robin', 'least-loaded']);
  const restarted = newDirectory();
  const store = new PolicyStore(table.sql, restarted);
  expect(policiesOf(restarted)).toEqual(['round-robin', 'least-loaded']);
  store.use('m', undefined, undefined);
  expect(policiesOf(restarted)).toEqual(['predicted-latency', '']);
  const third = newDirectory();
  new PolicyStore(table.sql, third);
  expect(policiesOf(third)).toEqual(['predicted-latency', '']);
});

test('a name that no policy has is refused with those there are, and changes nothing', () => {
  const directory = newDirectory();
  const store = new PolicyStore(new PolicyTable().sql, directory);
  const error = errorOf(() => store.use('m', 'fastest', undefined));
  expect(error?.code).toBe('invalid_request');
  expect(error?.message).toContain('predicted-latency');
  expect(errorOf(() => store.use('m', 'random', 'fastest'))?.param).toBe('shadow');
  expect(policiesOf(directory)).toEqual(['predicted-latency', '']);
});

test('a policy that this version does not know any more is as good as none', () => {
  const table = new PolicyTable();
  new PolicyStore(table.sql, newDirectory());
  table.rows.set('m', ['m', 'of-old', 'of-old']);
  const directory = newDirectory();
  new PolicyStore(table.sql, directory);
  expect(policiesOf(directory)).toEqual(['predicted-latency', '']);
});
