/** What one odd or hostile node can do to what is known of the others' caches. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { type PromptProfile, plainProfile } from '@cognitora/protocol/prefix/profile';
import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import type { PromptView } from './decision.ts';
import { Directory } from './directory.ts';
import { profileAheadMsMin } from './profile-lead.ts';

const epoch = 1 as Epoch;
const r0 = 'r0' as ReplicaName;
const chain = randomWords(7, 80);

const regionOf = (mapsBytesMax: number) => {
  let request = 0;
  const wants = new Map<NodeId, number>();
  const askSnapshot = (node: NodeId): number => {
    request += 1;
    wants.set(node, request);
    return request;
  };
  const directory = new Directory({ secret: 7, askSnapshot, mapBytes: 2 ** 21, mapsBytesMax });
  const join = (name: string, models: readonly string[]): void => {
    const cards = models.map((id) => ({ id, createdSeconds: 1, ownedBy: 'x' }));
    directory.join(name as NodeId, epoch, name, [{ name: r0, state: 'ready', models: cards }], 0);
  };
  /** Offers the cache of a model, as the feed of that number, and answers what is asked for. */
  const offer = (name: string, model: string, feed = 0, profile: PromptProfile = plainProfile): void => {
    const open = { feed, replica: r0, model, trust: 'exact' as const, profile };
    directory.heard(name as NodeId, epoch, { type: 'feed', feed: open }, 0);
  };
  const load = (name: string, feed = 0): void => {
    const part = { feed, request: wants.get(name as NodeId) ?? 0, sequence: 0, part: 0, isLast: true };
    const blocks = [{ tier: 'device' as const, digests: chain }];
    directory.heard(name as NodeId, epoch, { type: 'snapshot', snapshot: { ...part, blocks } }, 0);
  };
  const decide = (model: string, nowMs: number, profile = plainProfile) => {
    const prompt: PromptView = { profile: profile.id, chain, bytes: 10_340, blockBytes: 256 };
    return directory.decide({
      ...{ model, prompt, isStream: true, nowMs, isLeased: () => true, random: () => 0 },
    });
  };
  return { directory, join, offer, load, decide };
};

test('models that a node invents take no map from one that is asked for', () => {
  const { directory, join, offer, load, decide } = regionOf(2 ** 24);
  const invented = Array.from({ length: 40 }, (_, index) => `invented ${index}`);
  join('hostile', invented);
  for (const [feed, model] of invented.entries()) offer('hostile', model, feed);
  join('real', ['m']);
  offer('real', 'm');
  load('real');
  expect(decide('m', 0).trust).toBe('blind');
  directory.sweep(1);
  load('real');
  expect(decide('m', 1)).toMatchObject({ trust: 'exact', expectedTokens: 40 * 64 });
});

test('a profile that one node made up leads only until the others have said theirs for a while', () => {
  const { directory, join, offer, load, decide } = regionOf(2 ** 26);
  const odd = { ...plainProfile, id: 'odd' };
  for (const name of ['hostile', 'a', 'b']) join(name, ['m']);
  offer('hostile', 'm', 0, odd);
  for (const name of ['a', 'b']) offer(name, 'm');
  decide('m', 0);
  decide('m', 2_000);
  expect(directory.profiles().get('m')?.id).toBe('odd');
  decide('m', 2_000 + profileAheadMsMin);
  expect(directory.profiles().get('m')?.id).toBe(plainProfile.id);
  for (const name of ['a', 'b']) load(name);
  const trust = directory.nodes(0).map(({ replicas }) => replicas[0]?.caches[0]?.trust);
  expect(trust).toEqual(['blind', 'exact', 'exact']);
  expect(decide('m', 40_000)).toMatchObject({ trust: 'exact', expectedTokens: 40 * 64 });
});
