import type { ReplicaName } from '@cognitora/protocol/ids';
import { parseKvDelta, parseKvFeed, parseKvMark, parseKvSnapshot } from '@cognitora/protocol/kv';
import { kvDeltaMs, kvDigestsPerMessageMax, kvFeedsPerLinkMax } from '@cognitora/protocol/limits';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HostBlocks } from './host-blocks.ts';
import { type FeedSource, KvFeeds, type KvLink, kvMarkMs } from './kv-feeds.ts';
import { digestsOf, KvLedger } from './kv-ledger.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const numbers = (blocks: readonly { digests: Uint32Array }[]): number[] =>
  blocks.flatMap(({ digests }) => [...digestsOf(digests)].map(Number));

/** A link, and what was said on it in a few words. */
const recordedLink = () => {
  const said: string[] = [];
  const link: KvLink = {
    kv: (frame, payload) => {
      if (frame === 'kvfeed') {
        const { feed, model, trust } = parseKvFeed(payload);
        said.push(`feed ${feed}: ${model} ${trust}`);
      } else if (frame === 'kvdelta') {
        const { feed, sequence, isCleared, added, removed } = parseKvDelta(payload);
        const gone = removed.length === 0 ? '' : ` -${numbers(removed)}`;
        said.push(`${feed} delta ${sequence}${isCleared ? ' cleared' : ''} +${numbers(added)}${gone}`);
      } else if (frame === 'kvmark') {
        const { feed, sequence } = parseKvMark(payload);
        said.push(`${feed} mark ${sequence}`);
      } else {
        const { feed, request, sequence, part, isLast, blocks } = parseKvSnapshot(payload);
        const digests = numbers(blocks);
        const what = digests.length > 9 ? `${digests.length} digests` : `${digests}`;
        said.push(`${feed} snapshot ${request}@${sequence} part ${part}${isLast ? ' last' : ''}: ${what}`);
      }
    },
  };
  return { link, said: () => said.splice(0) };
};

const sourceOf = (model: string): FeedSource => ({
  replica: 'r0' as ReplicaName,
  model,
  trust: 'approximate',
  profile: plainProfile,
  ledger: new KvLedger(),
});
const chain = (...digests: number[]): readonly bigint[] => digests.map(BigInt);
const long = (blocks: number): readonly bigint[] => Array.from({ length: blocks }, (_, at) => BigInt(at + 1));

const opened = (...models: string[]) => {
  const feeds = new KvFeeds();
  const sources = models.map(sourceOf);
  for (const source of sources) feeds.open(source);
  return { feeds, sources, ledgers: sources.map(({ ledger }) => ledger), ...recordedLink() };
};

test('feeds are opened on each link; a change is told at once, and those that follow it together', () => {
  const { feeds, ledgers, link, said } = opened('a', 'b');
  feeds.linked(link);
  expect(said()).toEqual(['feed 0: a approximate', 'feed 1: b approximate']);
  ledgers[0]?.add(chain(1), 1);
  feeds.changed();
  expect(said()).toEqual(['0 delta 1 +1']);
  ledgers[0]?.add(chain(2), 2);
  feeds.changed();
  ledgers[1]?.add(chain(3), 3);
  feeds.changed();
  expect(said()).toEqual([]);
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual(['0 delta 2 +2', '1 delta 1 +3']);
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual([]);
});

test('a change too large for one message is told in several', () => {
  const { feeds, ledgers, link, said } = opened('a');
  feeds.linked(link);
  said();
  ledgers[0]?.add(long(kvDigestsPerMessageMax + 1), 1);
  feeds.changed();
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said().map((line) => line.slice(0, 9))).toEqual(['0 delta 1', '0 delta 2']);
});

test('a new link hears nothing of the old one’s changes but what a snapshot says', () => {
  const { feeds, ledgers, link, said } = opened('a');
  feeds.linked(link);
  ledgers[0]?.add(chain(1), 1);
  feeds.changed();
  feeds.unlinked();
  vi.advanceTimersByTime(10 * kvMarkMs);
  ledgers[0]?.add(chain(2), 2);
  feeds.changed();
  said();
  feeds.linked(link);
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual(['feed 0: a approximate']);
  feeds.wanted({ feed: 0, request: 7 });
  expect(said()).toEqual(['0 snapshot 7@2 part 0 last: 2,1']);
});

test('a snapshot goes one part at a time, when the link is idle, as of the moment it began', () => {
  const { feeds, ledgers, link, said } = opened('a', 'b');
  feeds.linked(link);
  ledgers[0]?.add(long(2 * kvDigestsPerMessageMax + 1), 1);
  said();
  feeds.wanted({ feed: 0, request: 1 });
  feeds.wanted({ feed: 1, request: 2 });
  expect(said().filter((line) => line.includes('snapshot'))).toEqual([
    `0 snapshot 1@3 part 0: ${kvDigestsPerMessageMax} digests`,
  ]);
  ledgers[0]?.clear();
  feeds.idle();
  expect(said()).toEqual([`0 snapshot 1@3 part 1: ${kvDigestsPerMessageMax} digests`]);
  feeds.idle();
  expect(said()).toEqual([`0 snapshot 1@3 part 2 last: ${2 * kvDigestsPerMessageMax + 1}`]);
  feeds.idle();
  expect(said()).toEqual(['1 snapshot 2@0 part 0 last: ']);
  feeds.idle();
  expect(said()).toEqual([]);
});

test('changes that no delta has told go before the snapshot that includes them', () => {
  const { feeds, ledgers, link, said } = opened('a');
  feeds.linked(link);
  ledgers[0]?.add(chain(1), 1);
  said();
  feeds.wanted({ feed: 0, request: 1 });
  expect(said()).toEqual(['0 delta 1 +1', '0 snapshot 1@1 part 0 last: 1']);
});

test('an edge that asks again gets a whole new snapshot, and no more of the old one', () => {
  const { feeds, ledgers, link, said } = opened('a');
  feeds.linked(link);
  ledgers[0]?.add(long(kvDigestsPerMessageMax + 1), 1);
  feeds.wanted({ feed: 0, request: 1 });
  said();
  feeds.wanted({ feed: 0, request: 2 });
  feeds.idle();
  feeds.idle();
  expect(said().map((line) => line.slice(0, 21))).toEqual(['0 snapshot 2@2 part 0', '0 snapshot 2@2 part 1']);
  feeds.wanted({ feed: 9, request: 3 });
  expect(said()).toEqual([]);
});

test('who has nothing to say says where it stands', () => {
  const { feeds, ledgers, link, said } = opened('a', 'b');
  feeds.linked(link);
  ledgers[0]?.add(chain(1), 1);
  feeds.changed();
  vi.advanceTimersByTime(kvMarkMs);
  expect(said().slice(2)).toEqual(['0 delta 1 +1', '1 mark 0']);
  vi.advanceTimersByTime(kvMarkMs);
  expect(said()).toEqual(['0 mark 1', '1 mark 0']);
});

test('a ledger that was cleared is told at once', () => {
  const { feeds, sources, ledgers, link, said } = opened('a');
  const [source] = sources;
  feeds.linked(link);
  ledgers[0]?.add(chain(1), 1);
  said();
  ledgers[0]?.clear();
  if (source !== undefined) feeds.changedNow(source);
  expect(said()).toEqual(['0 delta 1 cleared +']);
});

test('a closed feed is blind, its number is free, and there are only so many numbers', () => {
  const { feeds, sources, link, said } = opened(
    ...Array.from({ length: kvFeedsPerLinkMax }, (_, at) => `m${at}`),
  );
  feeds.linked(link);
  said();
  expect(feeds.open(sourceOf('one more'))).toBe(false);
  const [first] = sources;
  if (first !== undefined) feeds.close(first);
  expect(feeds.open(sourceOf('one more'))).toBe(true);
  expect(said()).toEqual(['feed 0: m0 blind', 'feed 0: one more approximate']);
});

/** What an edge holds of a feed after these frames, by tier; it applies deltas in sequence only. */
const edgeOf = () => {
  const held = { device: new Set<number>(), host: new Set<number>() };
  let sequence = 0;
  const link: KvLink = {
    kv: (frame, payload) => {
      if (frame === 'kvmark') expect(parseKvMark(payload).sequence).toBe(sequence);
      const delta = frame === 'kvdelta' ? parseKvDelta(payload) : undefined;
      const snapshot = frame === 'kvsnapshot' ? parseKvSnapshot(payload) : undefined;
      if (delta !== undefined && sequence > 0) expect(delta.sequence).toBe(sequence + 1);
      sequence = (delta ?? snapshot)?.sequence ?? sequence;
      if (delta?.isCleared || snapshot?.part === 0) for (const tier of Object.values(held)) tier.clear();
      for (const blocks of delta?.added ?? snapshot?.blocks ?? [])
        for (const digest of numbers([blocks])) held[blocks.tier].add(digest);
      for (const blocks of delta?.removed ?? [])
        for (const digest of numbers([blocks])) held[blocks.tier].delete(digest);
    },
  };
  const tiers = () => ({ device: [...held.device].sort(), host: [...held.host].sort() });
  return { link, tiers };
};

test('what a host keeps is told as its tier, and told anew when the engine takes all that was said along', async () => {
  const feeds = new KvFeeds();
  const host = new HostBlocks(() => feeds.changed());
  host.add(chain(1, 2));
  const source = { ...sourceOf('m'), host: host.open() };
  feeds.open(source);
  const { link, tiers } = edgeOf();
  feeds.linked(link);
  feeds.wanted({ feed: 0, request: 1 });
  expect(tiers()).toEqual({ device: [], host: [1, 2] });
  source.ledger.add(chain(1, 2, 3), 1);
  host.add(chain(7));
  await vi.advanceTimersByTimeAsync(2 * kvDeltaMs);
  expect(tiers()).toEqual({ device: [1, 2, 3], host: [1, 2, 7] });
  source.ledger.clear();
  feeds.changedNow(source);
  expect(tiers()).toEqual({ device: [], host: [1, 2, 7] });
  host.remove(chain(2, 9));
  await vi.advanceTimersByTimeAsync(kvMarkMs);
  expect(tiers()).toEqual({ device: [], host: [1, 7] });
  host.clear();
  source.ledger.add(chain(4), 1);
  feeds.changed();
  await vi.advanceTimersByTimeAsync(2 * kvDeltaMs);
  expect(tiers()).toEqual({ device: [4], host: [] });
  feeds.unlinked();
});

test('a snapshot of both tiers comes in parts, each block once', () => {
  const feeds = new KvFeeds();
  const host = new HostBlocks(() => {});
  const source = { ...sourceOf('m'), host: host.open() };
  source.ledger.add(long(kvDigestsPerMessageMax + 5), 1);
  host.add(long(kvDigestsPerMessageMax).map((digest) => digest + 1_000_000n));
  feeds.open(source);
  const { link, tiers } = edgeOf();
  feeds.linked(link);
  feeds.wanted({ feed: 0, request: 1 });
  for (let parts = 1; parts < 3; parts += 1) feeds.idle();
  const { device, host: there } = tiers();
  expect([device.length, there.length]).toEqual([kvDigestsPerMessageMax + 5, kvDigestsPerMessageMax]);
  feeds.unlinked();
});
