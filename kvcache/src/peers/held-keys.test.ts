/** What the fleet is told of keys: all at first, then what changed, and nothing that is not so. */
import type { FromDaemon } from '@cognitora/protocol/kv-daemon';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { AgentLines } from './agent-lines.ts';
import { PeerCounters } from './counts.ts';
import { Fabric } from './fabric.ts';
import { HeldKeys } from './held-keys.ts';
import { keyDigest } from './key-digest.ts';
import { changedKeysMax, heldLooksMax } from './limits.ts';
import { newNodeKey } from './testing/authority.ts';
import { Fleet } from './testing/fleet.ts';
import { newValue } from './testing/pair.ts';

const digests = (...keys: string[]): string[] => keys.map(keyDigest);

test('a digest is the first 8 bytes of SHA-256', () => {
  expect(keyDigest('abc')).toBe('ba7816bf8f01cfea');
  expect(keyDigest('\u00ff')).toBe('a8100ae6aa1940d0');
});

test('all keys when a link begins, in pieces, then what came and went', () => {
  const keys = new Set(['a', 'b', 'c']);
  const held = new HeldKeys({ has: (key) => keys.has(key), keys: () => keys });
  expect(held.take()).toBeUndefined();
  held.restart();
  expect(held.take(2)).toEqual({ isCleared: true, added: digests('a', 'b'), removed: [] });
  expect(held.take(2)).toEqual({ isCleared: false, added: digests('c'), removed: [] });
  keys.delete('a');
  keys.add('d');
  for (const key of ['a', 'd', 'd', 'e']) held.changed(key);
  expect(held.take()).toEqual({ isCleared: false, added: digests('d'), removed: digests('a', 'e') });
  expect(held.take()).toBeUndefined();
});

test('a store with nothing in it is told too', () => {
  const held = new HeldKeys({ has: () => false, keys: () => [] });
  held.restart();
  expect(held.take()).toEqual({ isCleared: true, added: [], removed: [] });
  expect(held.take()).toBeUndefined();
});

test("keys that are nobody else's are passed in steps, between which others have their turn", () => {
  let looks = 0;
  function* keys(): Generator<string> {
    for (; looks < 3 * heldLooksMax; looks += 1) yield `db0:${looks}`;
    yield 'a';
  }
  const held = new HeldKeys({ has: () => true, keys });
  held.restart();
  expect(held.take()).toEqual({ isCleared: true, added: [], removed: [] });
  expect(looks).toBeLessThan(heldLooksMax + 1);
  let told = held.take();
  for (let steps = 0; told === undefined && steps < 4; steps += 1) {
    expect(held.isTold).toBe(false);
    told = held.take();
  }
  expect(told?.added).toEqual(digests('a'));
  expect([held.take(), held.isTold]).toEqual([undefined, true]);
});

test('however long only such keys come, the agent is told of those behind them', async () => {
  const key = newNodeKey();
  const plain = { counters: new PeerCounters(), nowMs: () => 0, random: () => 0.5, onChannel: () => {} };
  const fabric = new Fabric({ key, ...plain });
  onTestFinished(() => fabric.close());
  function* keys(): Generator<string> {
    for (let at = 0; at < 3 * heldLooksMax; at += 1) yield `db0:${at}`;
    yield 'a';
  }
  const held: HeldKeys = new HeldKeys({ has: () => true, keys }, () => lines.onHeld());
  const lines: AgentLines = new AgentLines({ fabric: () => fabric, held: () => held });
  onTestFinished(() => lines.close());
  const told: FromDaemon[] = [];
  lines.attach((line) => told.push(line) > 0);
  await expect
    .poll(() => told.filter(({ type }) => type === 'held'))
    .toEqual([
      { type: 'held', isCleared: true, added: [], removed: [] },
      { type: 'held', isCleared: false, added: digests('a'), removed: [] },
    ]);
});

test('more changes than are kept: all is told anew', () => {
  const keys = new Set(['a']);
  const held = new HeldKeys({ has: (key) => keys.has(key), keys: () => keys });
  for (let index = 0; index <= changedKeysMax; index += 1) held.changed(`k${index}`);
  expect(held.take()).toEqual({ isCleared: true, added: digests('a'), removed: [] });
});

test('who follows what is told knows what the store holds, whatever comes and goes', () => {
  const change = fc.record({
    key: fc.constantFrom('a', 'b', 'c', 'd'),
    isThere: fc.boolean(),
    taken: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const keys = new Set<string>();
      const held = new HeldKeys({ has: (key) => keys.has(key), keys: () => keys });
      const known = new Set<string>();
      const follow = (): void => {
        for (let next = held.take(2); next !== undefined; next = held.take(2)) {
          if (next.isCleared) known.clear();
          for (const digest of next.added) known.add(digest);
          for (const digest of next.removed) known.delete(digest);
        }
      };
      for (const { key, isThere, taken } of changes) {
        if (isThere) keys.add(key);
        else keys.delete(key);
        held.changed(key);
        if (taken) follow();
      }
      follow();
      expect([...known].sort()).toEqual(digests(...keys).sort());
    }),
  );
});

test('the store tells of every way in which a key comes and goes', async () => {
  const fleet = new Fleet();
  const one = await fleet.daemon({ ramBytesMax: 4 * 4096 });
  const taken = (): unknown => one.peers.held.take();
  taken();
  one.put('a', newValue(10));
  expect(taken()).toMatchObject({ added: digests('a'), removed: [] });
  one.store.delete('a');
  expect(taken()).toMatchObject({ added: [], removed: digests('a') });
  one.put('timed', newValue(10), Date.now() - 1);
  expect(await one.read('timed')).toBeUndefined();
  expect(taken()).toMatchObject({ added: [], removed: digests('timed') });
  for (let index = 0; index < 6; index += 1) one.put(`k${index}`, newValue(10));
  const { added, removed } = taken() as { added: string[]; removed: string[] };
  expect(added).toHaveLength(4);
  expect(removed).toHaveLength(2);
});
