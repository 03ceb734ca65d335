import type { NodeId } from '@cognitora/protocol/ids';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { envOf } from '../../testing/env.ts';
import { TestDatabase } from '../../testing/sql.ts';
import { unwrap } from '../outcome.ts';
import { Registry } from './registry.ts';

vi.mock('cloudflare:workers', () => import('../../testing/cloudflare-workers.ts'));

const startMs = 1_800_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: startMs });
});
afterEach(() => {
  vi.useRealTimers();
});

const node = (name: string): NodeId => name as NodeId;

/** A registry, and its database. */
const newRegistry = () => {
  const { sql } = new TestDatabase();
  const registry = new Registry({ storage: { sql } } as unknown as DurableObjectState, envOf());
  const token = (hash: string, uses = 16, livesMs = 3_600_000): void => {
    unwrap(registry.createJoinToken(hash, Date.now() + livesMs, uses));
  };
  const removals = () => sql.exec('SELECT node FROM removed_nodes').toArray().length;
  return { registry, token, removals };
};

test('a node that was removed needs a join token made after that', () => {
  const { registry, token } = newRegistry();
  token('old');
  unwrap(registry.enrol('old', node('na'), 'attic'));
  expect(registry.isEnrolled(node('na'))).toBe(true);
  unwrap(registry.removeNode(node('na')));
  expect(registry.isEnrolled(node('na'))).toBe(false);
  expect(registry.enrol('old', node('na'), 'attic')).toMatchObject({ refused: { code: 'identity_refused' } });
  // Others may still use that token.
  unwrap(registry.enrol('old', node('nb'), 'shed'));
  vi.advanceTimersByTime(1);
  token('new');
  unwrap(registry.enrol('new', node('na'), 'attic'));
  expect(registry.isEnrolled(node('na'))).toBe(true);
  // It is a node like any other again.
  unwrap(registry.enrol('old', node('na'), 'attic'));
});

test('a removal is remembered while an older join token lives, and no longer', () => {
  const { registry, token, removals } = newRegistry();
  token('brief', 16, 1_000);
  token('spent', 4);
  for (const name of ['na', 'nb', 'nc', 'nd']) unwrap(registry.enrol('spent', node(name), name));
  unwrap(registry.removeNode(node('na')));
  unwrap(registry.removeNode(node('nb')));
  expect(removals()).toBe(2);
  vi.advanceTimersByTime(1_001);
  unwrap(registry.removeNode(node('nc')));
  expect(removals()).toBe(1);
});

test('nodes are found by the beginning of their id and by name, and listed from the latest', () => {
  const { registry, token } = newRegistry();
  token('t');
  for (const [id, name] of [
    ['naa', 'attic'],
    ['nab', 'shed'],
    ['nb', 'shed'],
    ['nc', 'na'],
  ] as const) {
    vi.advanceTimersByTime(1);
    unwrap(registry.enrol('t', node(id), name));
  }
  const found = (reference: string, rowsMax = 9) =>
    registry.findNodes(reference, rowsMax).map((one) => one.node);
  expect(found('na')).toEqual(['naa', 'nab', 'nc']);
  expect(found('na', 2)).toEqual(['naa', 'nab']);
  expect(found('shed')).toEqual(['nab', 'nb']);
  expect(found('naa')).toEqual(['naa']);
  expect(found('%')).toEqual([]);
  expect(registry.listNodes(2)).toEqual([
    { node: 'nc', name: 'na', enrolledAtMs: startMs + 4 },
    { node: 'nb', name: 'shed', enrolledAtMs: startMs + 3 },
  ]);
});
