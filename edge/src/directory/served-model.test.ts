/** Which of a model's cells gets a request, by costs that a test sets. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import type { Policy } from '../policy/policy.ts';
import { Directory } from './directory.ts';

/** Costs what the way to a replica takes, in steps of 20 ms. */
const nearest: Policy = {
  name: 'nearest',
  followsCaches: true,
  create: () => (scene, costs) => {
    for (const [index, { rttMs }] of scene.candidates.entries()) costs[index] = rttMs;
  },
};

/** Nodes with a replica each, in cells of so many; `decide` tells whose a prompt of that seed is. */
const fleet = (names: readonly string[], cellReplicasMax: number) => {
  const policies = { policy: nearest, shadow: undefined };
  const directory = new Directory({ secret: 1, policies, cellReplicasMax, askSnapshot: () => 0 });
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  const replica = { name: 'r0' as ReplicaName, state: 'ready' as const, models };
  for (const name of names) {
    directory.join(name as NodeId, 1 as Epoch, name, [replica], 0);
    const open = {
      feed: 0,
      replica: replica.name,
      model: 'm',
      trust: 'exact',
      profile: plainProfile,
    } as const;
    directory.heard(name as NodeId, 1 as Epoch, { type: 'feed', feed: open }, 0);
  }
  const measured = (name: string, rttMs: number): void =>
    directory.measured(name as NodeId, 1 as Epoch, { rttMs }, 0);
  const decide = (seed: number, lot: number, blocks = 64): string => {
    const chain = randomWords(seed, 2 * blocks);
    const prompt = { profile: plainProfile.id, chain, bytes: blocks * 256, blockBytes: 256 };
    const options = { model: 'm', prompt, isStream: true, nowMs: 0, isLeased: () => true, random: () => lot };
    const { node, reservation } = directory.decide(options);
    directory.settle(reservation, { nowMs: 0 });
    return node;
  };
  return { measured, decide };
};

const seeds = Array.from({ length: 40 }, (_, index) => index + 1);
/** Of two idle cells the first or the second counts as the idlest. */
const lots = [0, 0.99];

test('a prompt leaves the cell that its beginning names only for one that is cheaper by more than a fifth', () => {
  const { measured, decide } = fleet(['a', 'b'], 1);
  const chosen = (): string[][] => lots.map((lot) => seeds.map((seed) => decide(seed, lot)));
  measured('a', 100);
  measured('b', 100);
  const [home, again] = chosen();
  expect(home).toEqual(again);
  expect(new Set(home)).toEqual(new Set(['a', 'b']));
  // A fifth cheaper is not enough, whichever cell is the idlest.
  measured('b', 80);
  expect(chosen()).toEqual([home, home]);
  measured('b', 60);
  // More is, where it is asked at all; and nobody leaves for what is dearer.
  expect(chosen()).toEqual([home, seeds.map(() => 'b')]);
});

test('a prompt too short to name a cell is looked for in all of few, and in one by lot of many', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const chosen = (count: number): string[] => {
    const { measured, decide } = fleet(names.slice(0, count), 1);
    for (const name of names.slice(0, count)) measured(name, name === 'b' ? 20 : 100);
    return [0, 0.3, 0.99].map((lot) => decide(1, lot, 15));
  };
  expect(chosen(4)).toEqual(['b', 'b', 'b']);
  expect(chosen(5)).toEqual(['a', 'b', 'e']);
});

test('a cell with one replica beside one of four is named by a fifth of the prompts, not by half of them', () => {
  const { decide } = fleet(['a', 'b', 'c', 'd', 'alone'], 4);
  const many = Array.from({ length: 400 }, (_, index) => index + 1);
  const share = many.filter((seed) => decide(seed, 0) === 'alone').length / many.length;
  expect(share).toBeGreaterThan(0.1);
  expect(share).toBeLessThan(0.3);
});
