import { expect, test } from 'vitest';
import type { Seen } from './tree.ts';
import { Waiting, waitingMax } from './waiting.ts';

const seen = (identity: string, bytes = 1): Seen => ({ identity, bytes, usedMs: 0 });
const ripe = (waiting: Waiting, bytesMax = 1_000): string[] =>
  waiting.takeRipe(bytesMax).map(({ path }) => path);

test('a file is ripe when a later look finds it as it was, and not because a scan saw it twice', () => {
  const waiting = new Waiting();
  waiting.add('a', seen('1'));
  waiting.add('a', seen('1'));
  expect(ripe(waiting)).toEqual([]);
  waiting.again('a', seen('2'));
  expect(ripe(waiting)).toEqual([]);
  waiting.again('a', seen('2'));
  expect(ripe(waiting)).toEqual(['a']);
  expect(waiting.size).toBe(0);
});

test('one that is gone waits no more', () => {
  const waiting = new Waiting();
  waiting.add('a', seen('1'));
  waiting.again('a', undefined);
  expect(waiting.size).toBe(0);
});

test('those that the store may have leave room to new ones, and come after them', () => {
  const waiting = new Waiting();
  for (let index = 0; index < 2 * waitingMax; index += 1) waiting.add(`old ${index}`, seen('1'), true);
  expect(waiting.size).toBe(waitingMax / 2);
  waiting.add('new', seen('1'));
  for (let index = 0; index < 2 * waitingMax; index += 1) waiting.add(`more ${index}`, seen('1'));
  expect(waiting.size).toBe(waitingMax);
  for (const path of ['old 0', 'old 1', 'new']) waiting.again(path, seen('1'));
  expect(ripe(waiting, 2)).toEqual(['new', 'old 0']);
  waiting.again('old 1', seen('1', 5));
  expect(ripe(waiting, 2)).toEqual(['old 1']);
});
