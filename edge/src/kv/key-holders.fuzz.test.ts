import type { NodeId } from '@cognitora/protocol/ids';
import { kvHoldersPerDigestMax, kvKeysPerNodeMax } from '@cognitora/protocol/limits';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { KeyHolders } from './key-holders.ts';

const keysMax = 40;
const words = randomWords(7, 2 * keysMax);
const digestsOf = (keys: Iterable<number>): Uint32Array =>
  Uint32Array.from([...keys].flatMap((key) => [...words.subarray(2 * key, 2 * key + 2)]));
const nodeOf = (number: number): NodeId => `n${number}` as NodeId;

const keys = fc.uniqueArray(fc.nat({ max: keysMax - 1 }), { maxLength: 8 });
const step = fc.oneof(
  fc.record({
    type: fc.constant('held' as const),
    node: fc.nat({ max: 69 }),
    isCleared: fc.boolean(),
    added: keys,
    removed: keys,
  }),
  fc.record({ type: fc.constant('gone' as const), node: fc.nat({ max: 69 }) }),
);

test('as long as there is room the holders of a key are those who told of it, in the asker’s order', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 2 }), (steps, mapsMax) => {
      const holders = new KeyHolders({ secret: 5, mapsMax, mapBytes: 64 * 1024 });
      const model = new Map<number, Set<number>>();
      // Nodes have a place from their first key to their end; with one map there are 64.
      const placed = new Set<number>();
      for (const { node, ...said } of steps) {
        if (said.type === 'gone') {
          holders.forget(nodeOf(node));
          placed.delete(node);
          model.delete(node);
          continue;
        }
        const { isCleared, added, removed } = said;
        holders.heard(nodeOf(node), { isCleared, added: digestsOf(added), removed: digestsOf(removed) });
        if (isCleared) placed.delete(node);
        if (isCleared) model.delete(node);
        if (added.length > 0 && (placed.has(node) || placed.size < 64 * mapsMax)) placed.add(node);
        const held = model.get(node) ?? new Set();
        for (const key of added) if (placed.has(node)) held.add(key);
        for (const key of removed) held.delete(key);
        model.set(node, held);
      }
      const order = Array.from({ length: 70 }, (_, at) => (at * 37) % 70);
      const expected = Array.from({ length: keysMax }, (_, key) =>
        [...order.keys()]
          .filter((at) => model.get(order[at] ?? -1)?.has(key))
          .slice(0, kvHoldersPerDigestMax),
      );
      const named = holders.among(order.map(nodeOf), digestsOf(Array(keysMax).keys()));
      expect(named.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
      for (const [key, places] of named.entries()) {
        const all = expected[key] ?? [];
        // Which of the rest is the last, is a matter of turns.
        expect(places.slice(0, kvHoldersPerDigestMax - 1)).toEqual(all.slice(0, kvHoldersPerDigestMax - 1));
        for (const place of places) expect(model.get(order[place] ?? -1)?.has(key)).toBe(true);
        expect(places.toSorted((one, other) => one - other)).toEqual(places);
      }
      const count = [...model.values()].reduce((sum, held) => sum + held.size, 0);
      expect(holders.keys).toBe(count);
    }),
    { numRuns: 60 },
  );
});

test('of nodes beyond the last map’s places nothing is known, until somebody goes', () => {
  const holders = new KeyHolders({ secret: 5, mapsMax: 1, mapBytes: 64 * 1024 });
  const told = { isCleared: true, added: digestsOf([3]), removed: digestsOf([]) };
  for (let number = 0; number < 65; number += 1) holders.heard(nodeOf(number), told);
  expect(holders.among([nodeOf(64), nodeOf(63)], digestsOf([3]))).toEqual([[1]]);
  holders.forget(nodeOf(5));
  holders.heard(nodeOf(64), told);
  expect(holders.among([nodeOf(64), nodeOf(5)], digestsOf([3]))).toEqual([[0]]);
});

test('a node takes no more than its share of the room', () => {
  const holders = new KeyHolders({ secret: 5, mapsMax: 1 });
  const many = randomWords(1, 2 * (kvKeysPerNodeMax + 100));
  const none = new Uint32Array();
  holders.heard(nodeOf(1), { isCleared: true, added: many, removed: none });
  expect(holders.keysOf(nodeOf(1))).toBe(kvKeysPerNodeMax);
  expect(holders.among([nodeOf(1)], many.slice(0, 2))).toEqual([[0]]);
  expect(holders.among([nodeOf(1)], many.slice(-2))).toEqual([[]]);
  holders.heard(nodeOf(1), { isCleared: true, added: none, removed: none });
  expect(holders.keys).toBe(0);
});

test('a full map forgets what nobody asked for', () => {
  const holders = new KeyHolders({ secret: 5, mapsMax: 1, mapBytes: 64 * 1024 });
  const none = new Uint32Array();
  const [asked, others] = [randomWords(1, 2), randomWords(2, 2 * 1_500)];
  holders.heard(nodeOf(1), { isCleared: true, added: asked, removed: none });
  holders.heard(nodeOf(1), { isCleared: false, added: others, removed: none });
  expect(holders.among([nodeOf(1)], asked)).toEqual([[0]]);
  holders.heard(nodeOf(1), { isCleared: false, added: randomWords(3, 2 * 1_500), removed: none });
  expect(holders.among([nodeOf(1)], asked)).toEqual([[0]]);
  const left = holders.among([nodeOf(1)], others).filter((places) => places.length > 0).length;
  expect(left).toBeLessThan(1_500);
});

test.each([2, 3, 6])('of a full map %i nodes that make keys up forget their own', (liars) => {
  const holders = new KeyHolders({ secret: 5, mapsMax: 1, mapBytes: 512 * 1024 });
  const none = new Uint32Array();
  const [honest, fits] = [randomWords(1, 2 * 1_000), 17_000];
  holders.heard(nodeOf(0), { isCleared: true, added: honest, removed: none });
  for (let liar = 1; liar <= liars; liar += 1) {
    for (let round = 0; round < 3; round += 1) {
      const added = randomWords(100 * liar + round, 2 * Math.ceil(fits / 2));
      holders.heard(nodeOf(liar), { isCleared: round === 0, added, removed: none });
    }
  }
  expect(holders.keys).toBeGreaterThan(fits / 2);
  let known = 0;
  for (let at = 0; at < honest.length; at += 128) {
    const found = holders.among([nodeOf(0)], honest.subarray(at, at + 128));
    known += found.filter((places) => places.length > 0).length;
  }
  // All, but for a few where the hand found nobody else's in many steps.
  expect(known).toBeGreaterThan(990);
});

test('nobody who holds a key is hidden behind those who are named before', () => {
  const holders = new KeyHolders({ secret: 5, mapsMax: 1, mapBytes: 64 * 1024 });
  const nodes = Array.from({ length: kvHoldersPerDigestMax + 3 }, (_, at) => nodeOf(at));
  const told = { isCleared: true, added: digestsOf([3]), removed: digestsOf([]) };
  for (const node of nodes) holders.heard(node, told);
  const named = nodes.flatMap(() => holders.among(nodes, digestsOf([3]))[0] ?? []);
  expect(new Set(named)).toEqual(new Set(nodes.keys()));
});
