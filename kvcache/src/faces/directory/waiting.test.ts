import { expect, test } from 'vitest';
import type { Seen } from './tree.ts';
import { Waiting } from './waiting.ts';

const seen = (identity: string): Seen => ({ identity, bytes: 1, usedMs: 0 });
const first = (waiting: Waiting, count = 10): string[] => waiting.first(count).map(({ path }) => path);

test('a file is ripe when a later look finds it as it was, and not because a scan saw it twice', () => {
  const waiting = new Waiting();
  waiting.add('a', seen('1'));
  waiting.add('a', seen('2'));
  expect(waiting.again('a', seen('2'))).toBe(false);
  expect(waiting.again('a', seen('3'))).toBe(false);
  expect(waiting.again('a', seen('3'))).toBe(true);
  expect([waiting.size, waiting.again('a', seen('3'))]).toEqual([0, false]);
});

test('one that is gone waits no more', () => {
  const waiting = new Waiting();
  waiting.add('a', seen('1'));
  expect([waiting.again('a', undefined), waiting.size]).toEqual([false, 0]);
});

test('those that the store may have come after new ones, and one that changes after all others', () => {
  const waiting = new Waiting();
  waiting.add('old', seen('1'), true);
  for (const path of ['a', 'b', 'c']) waiting.add(path, seen('1'));
  expect(first(waiting)).toEqual(['a', 'b', 'c', 'old']);
  expect(first(waiting, 2)).toEqual(['a', 'b']);
  waiting.again('a', seen('2'));
  expect(first(waiting)).toEqual(['b', 'c', 'a', 'old']);
});
