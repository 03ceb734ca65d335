/** What agents say of their caches, and how the directory's decisions follow it. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { KvFeedOpen, Trust } from '@cognitora/protocol/kv';
import type { ReplicaReport } from '@cognitora/protocol/link';
import { blindProfile, type PromptProfile, plainProfile } from '@cognitora/protocol/prefix/profile';
import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import type { PromptView } from './decision.ts';
import { Directory } from './directory.ts';

const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
const ready = [{ name: 'r0' as ReplicaName, state: 'ready' as const, models }];

const chainOf = (first: number, blocks: number): Uint32Array => randomWords(first * 1_000, 2 * blocks);

const promptOf = (chain: Uint32Array, profile = plainProfile): PromptView => ({
  profile: profile.id,
  chain,
  bytes: (chain.length / 2) * 256 + 100,
  blockBytes: 256,
});

const fleet = (cellReplicasMax?: number) => {
  const asked: { node: NodeId; feed: number; request: number }[] = [];
  const directory = new Directory({
    secret: 7,
    askSnapshot: (node, feed) => {
      const request = asked.length + 1;
      asked.push({ node, feed, request });
      return request;
    },
    ...(cellReplicasMax === undefined ? {} : { cellReplicasMax }),
  });
  const join = (name: string, epoch = 1): void =>
    directory.join(name as NodeId, epoch as Epoch, name, ready, 0);
  const say = (name: string, message: Parameters<Directory['heard']>[2], epoch = 1): void =>
    directory.heard(name as NodeId, epoch as Epoch, message, 0);
  const offer = (name: string, trust: Trust = 'exact', profile: PromptProfile = plainProfile, feed = 0) => {
    const open: KvFeedOpen = { feed, replica: 'r0' as ReplicaName, model: 'm', trust, profile };
    say(name, { type: 'feed', feed: open });
  };
  /** Answers what was asked last with a snapshot of these digests. */
  const load = (name: string, digests: Uint32Array, sequence = 0): void => {
    const { request = 0, feed = 0 } = asked.findLast(({ node }) => node === name) ?? {};
    const blocks = [{ tier: 'device' as const, digests }];
    say(name, { type: 'snapshot', snapshot: { feed, request, sequence, part: 0, isLast: true, blocks } });
  };
  const decide = (prompt: PromptView) =>
    directory.decide({
      ...{ model: 'm', prompt, isStream: true, nowMs: 0, isLeased: () => true, random: () => 0 },
      seatsPerReplica: 100,
    });
  const cacheOf = (name: string) =>
    directory.nodes(0).find(({ node }) => node === name)?.replicas[0]?.caches[0];
  return { directory, asked, join, say, offer, load, decide, cacheOf };
};

test('a replica that offers its cache is asked for a snapshot, and chosen for what it holds', () => {
  const { asked, join, offer, load, decide, cacheOf } = fleet();
  for (const name of ['a', 'b', 'c']) join(name);
  offer('b');
  expect(asked).toEqual([{ node: 'b', feed: 0, request: 1 }]);
  expect(cacheOf('b')).toMatchObject({ trust: 'blind', heldBlocks: 0 });
  load('b', chainOf(1, 40));
  expect(cacheOf('b')).toMatchObject({ trust: 'exact', heldBlocks: 40 });
  expect(decide(promptOf(chainOf(1, 40)))).toMatchObject({ node: 'b', trust: 'exact', candidates: 3 });
  expect(decide(promptOf(chainOf(2, 40))).expectedTokens).toBe(0);
});

test('a delta adds and removes, and a cleared one leaves nothing at once', () => {
  const { join, say, offer, load, decide, cacheOf } = fleet();
  join('a');
  offer('a');
  load('a', chainOf(1, 10));
  const delta = { feed: 0, isCleared: false, added: [], removed: [] };
  const more = [{ tier: 'device' as const, digests: chainOf(1, 20).subarray(20) }];
  say('a', { type: 'delta', delta: { ...delta, sequence: 1, added: more } });
  expect(decide(promptOf(chainOf(1, 20))).expectedTokens).toBe(20 * 64);
  const fewer = [{ tier: 'device' as const, digests: chainOf(1, 20).subarray(10) }];
  say('a', { type: 'delta', delta: { ...delta, sequence: 2, removed: fewer } });
  expect(cacheOf('a')?.heldBlocks).toBe(5);
  say('a', { type: 'delta', delta: { ...delta, sequence: 3, isCleared: true } });
  expect(cacheOf('a')).toMatchObject({ trust: 'exact', heldBlocks: 0 });
});

test('what is said before the model is named counts once it is', () => {
  const { directory, asked, offer } = fleet();
  directory.join('a' as NodeId, 1 as Epoch, 'a', [{ ...ready[0], models: [] } as (typeof ready)[0]], 0);
  offer('a');
  expect(asked).toEqual([]);
  directory.report('a' as NodeId, 1 as Epoch, ready, 0);
  expect(asked).toHaveLength(1);
});

test('an older link, another feed’s number or an unknown node changes nothing', () => {
  const { join, say, offer, load, cacheOf } = fleet();
  join('a', 2);
  say('a', { type: 'mark', mark: { feed: 0, sequence: 9 } }, 2);
  offer('a');
  expect(cacheOf('a')?.trust).toBe('blind');
  say('a', { type: 'feed', feed: openOf(3) }, 2);
  load('a', chainOf(1, 5));
  say('b', { type: 'mark', mark: { feed: 0, sequence: 9 } });
  expect(cacheOf('a')).toMatchObject({ trust: 'blind', heldBlocks: 0 });
});

const openOf = (feed: number): KvFeedOpen => ({
  ...{ feed, replica: 'r0' as ReplicaName, model: 'm', trust: 'exact', profile: plainProfile },
});

test('only replicas with the leading profile are known; when the last of them goes another leads', () => {
  const { directory, asked, join, offer, load, cacheOf, decide } = fleet();
  const other: PromptProfile = { ...plainProfile, id: 'other' };
  for (const name of ['a', 'b']) join(name);
  offer('a');
  load('a', chainOf(1, 10));
  offer('b', 'exact', other);
  expect(directory.profiles().get('m')?.id).toBe(plainProfile.id);
  expect(asked.map(({ node }) => node)).toEqual(['a']);
  load('b', chainOf(1, 10));
  expect(cacheOf('b')).toMatchObject({ trust: 'blind', heldBlocks: 0 });
  directory.leave('a' as NodeId, 1 as Epoch, 0);
  expect(directory.profiles().get('m')?.id).toBe('other');
  load('b', chainOf(3, 10));
  expect(cacheOf('b')?.trust).toBe('exact');
  expect(decide(promptOf(chainOf(3, 10))).expectedTokens).toBe(0);
  expect(decide(promptOf(chainOf(3, 10), other)).expectedTokens).toBe(640);
});

test('a replica whose prompts come to be written otherwise than the others’ is blind, and what it held is gone', () => {
  const { join, offer, load, cacheOf, decide } = fleet();
  for (const name of ['a', 'b']) {
    join(name);
    offer(name);
    load(name, chainOf(1, 10));
  }
  offer('b', 'exact', { ...plainProfile, id: 'other' });
  expect(cacheOf('b')).toMatchObject({ trust: 'blind', heldBlocks: 0 });
  expect(decide(promptOf(chainOf(1, 10)))).toMatchObject({ node: 'a', expectedTokens: 640 });
});

test('a liar that dials again, or names its replica anew, is believed as little as before', () => {
  const { directory, join, offer, load, decide, cacheOf } = fleet();
  const lie = (): void => {
    const { reservation } = decide(promptOf(chainOf(1, 40)));
    directory.firstByte(reservation, 0);
    directory.settle(reservation, { nowMs: 0, promptTokens: 2_600, cachedTokens: 0, completionTokens: 1 });
  };
  join('a');
  offer('a');
  load('a', chainOf(1, 40));
  for (let lies = 0; lies < 20; lies += 1) lie();
  expect(cacheOf('a')?.trust).toBe('blind');
  join('a', 2);
  const open = { ...openOf(0), replica: 'r9' as ReplicaName };
  const renamed = [{ ...(ready[0] as (typeof ready)[0]), name: 'r9' as ReplicaName }];
  directory.report('a' as NodeId, 2 as Epoch, renamed, 0);
  directory.heard('a' as NodeId, 2 as Epoch, { type: 'feed', feed: open }, 0);
  const snapshot = { feed: 0, request: 2, sequence: 0, part: 0, isLast: true };
  const blocks = [{ tier: 'device' as const, digests: chainOf(1, 40) }];
  directory.heard('a' as NodeId, 2 as Epoch, { type: 'snapshot', snapshot: { ...snapshot, blocks } }, 0);
  expect(cacheOf('a')).toMatchObject({ trust: 'blind', heldBlocks: 40 });
});

test('a replica that takes its offer back is blind, and may offer again on the same link', () => {
  const { join, offer, load, cacheOf, directory } = fleet();
  join('a');
  offer('a');
  load('a', chainOf(1, 10));
  offer('a', 'blind', blindProfile);
  expect(cacheOf('a')).toMatchObject({ trust: 'blind', heldBlocks: 0 });
  expect(directory.profiles().size).toBe(0);
  offer('a', 'approximate');
  load('a', chainOf(1, 4));
  expect(cacheOf('a')).toMatchObject({ trust: 'approximate', heldBlocks: 4 });
});

test('siblings of a burst go where the first one went, before any engine has said so', () => {
  const { join, offer, load, decide } = fleet();
  for (const name of ['a', 'b', 'c', 'd']) {
    join(name);
    offer(name, 'approximate');
    load(name, new Uint32Array());
  }
  const prompt = promptOf(chainOf(5, 48));
  const first = decide(prompt);
  expect(first.expectedTokens).toBe(0);
  const second = decide(prompt);
  expect(second).toMatchObject({ node: first.node, expectedTokens: 48 * 64 });
});

test('a request that never began takes its prediction with it', () => {
  const { directory, join, offer, load, decide } = fleet();
  join('a');
  offer('a');
  load('a', new Uint32Array());
  const prompt = promptOf(chainOf(5, 48));
  const { reservation } = decide(prompt);
  directory.settle(reservation, { nowMs: 1 });
  expect(decide(prompt).expectedTokens).toBe(0);
});

test('in a region of many cells a shared prefix finds its holder all the same', () => {
  const { join, offer, load, decide } = fleet(2);
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  for (const name of names) {
    join(name);
    offer(name);
    load(name, new Uint32Array());
  }
  const chosen = Array.from({ length: 12 }, () => decide(promptOf(chainOf(9, 80))).node);
  // One cell of two replicas holds the prefix; the idlest of the others may be asked beside it.
  expect(new Set(chosen).size).toBeLessThanOrEqual(4);
});

test('a decision tells which cells were asked, what each would have cost, and why one was taken', () => {
  const { directory, join, offer, load, decide } = fleet(2);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  for (const name of names) {
    join(name);
    offer(name);
    load(name, new Uint32Array());
  }
  const prompt = promptOf(chainOf(9, 80));
  const first = decide(prompt).cells;
  expect(first.asked[0]).toMatchObject({ askedFor: 'anchor', replicas: 2, candidates: 2 });
  const own = first.asked[0]?.cell;
  // Nobody is busy: where the next turn will look is as good as any.
  expect(first).toMatchObject({ taken: own, because: first.asked.length > 1 ? 'own' : 'only' });
  let later = decide(prompt).cells;
  for (let turn = 0; turn < 40 && later.because !== 'cheaper'; turn += 1) later = decide(prompt).cells;
  const [home, other] = later.asked;
  expect(later).toMatchObject({ taken: other?.cell, because: 'cheaper' });
  expect([home?.askedFor, other?.askedFor]).toEqual(['anchor', 'load']);
  expect(other?.cost).toBeLessThan(0.8 * (home?.cost ?? 0));
  const ownNames = names.slice(2 * (own ?? 0), 2 * (own ?? 0) + 2);
  const draining = [{ ...ready[0], state: 'draining' as const }] as unknown as ReplicaReport[];
  for (const name of ownNames) directory.report(name as NodeId, 1 as Epoch, draining, 0);
  const without = decide(prompt).cells;
  expect(without.asked[0]).toMatchObject({ cell: own, askedFor: 'anchor', candidates: 0, cost: undefined });
  expect(without).toMatchObject({ taken: without.asked.at(-1)?.cell });
  expect(['only', 'fallback']).toContain(without.because);
});

test('where nobody in the asked cells can serve it, any other cell may, and the decision says so', () => {
  const { directory, join, decide } = fleet(1);
  for (const name of ['a', 'b', 'c']) join(name);
  const draining = [{ ...ready[0], state: 'draining' as const }] as unknown as ReplicaReport[];
  for (const name of ['a', 'b']) directory.report(name as NodeId, 1 as Epoch, draining, 0);
  // Without digests the least loaded is asked alone; `random` 0 names the first of equals.
  expect(decide(promptOf(new Uint32Array()))).toMatchObject({
    node: 'c',
    cells: {
      asked: [
        { cell: 0, askedFor: 'load', candidates: 0 },
        { cell: 2, askedFor: 'fallback', candidates: 1 },
      ],
      ...{ taken: 2, because: 'fallback' },
    },
  });
});

test('a model of one cell has nothing to choose among', () => {
  const { join, decide } = fleet();
  join('a');
  const { cells } = decide(promptOf(chainOf(1, 20)));
  expect(cells).toMatchObject({ asked: [{ cell: 0, askedFor: 'only' }], taken: 0, because: 'only' });
});
