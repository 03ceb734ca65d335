import type { Epoch } from '@cognitora/protocol/ids';
import { describe, expect, test } from 'vitest';
import { feedsOver } from '../../testing/kv-feeds.ts';
import { digestsOf, KvLedger } from '../../testing/kv-ledger.ts';
import { heldDigestsMax, type KvFeed } from './kv-feed.ts';
import type { Slot } from './replica-slots.ts';
import { snapshotRestMsMin, snapshotTurnsMax } from './snapshot-turns.ts';

const mapBytes = 2 ** 18;

const oneFeed = () => {
  const { map, turns, asks, cleared, feeds } = feedsOver(mapBytes, 1);
  const feed = feeds[0] as KvFeed;
  feed.open(1 as Epoch, 0);
  const ledger = new KvLedger();
  const holds = (index: number): boolean => {
    const options = { blocks: 1, eligibleLo: -1, eligibleHi: -1, nowMs: 0 };
    return map.match({ chain: digestsOf([index]), ...options }).held[feed.slot ?? 64] === 1;
  };
  return { map, turns, asks, cleared, feed, ledger, holds };
};

/** Loaded with blocks 0 to 9. */
const inStep = () => {
  const world = oneFeed();
  world.ledger.change('device', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], []);
  for (const part of world.ledger.snapshot(1, 4)) world.feed.snapshotPart(part, 0);
  expect(world.feed.state).toBe('in-step');
  return world;
};

describe('a feed', () => {
  test('of which something was not read is blind until a snapshot, which is wanted with the next sweep', () => {
    const { feed, ledger, asks, holds, turns } = inStep();
    ledger.change('device', [10], []);
    feed.missed(0);
    expect([feed.state, holds(0), asks.length]).toEqual(['waiting', false, 1]);
    feed.delta(ledger.change('device', [11], []), 0);
    expect([feed.state, asks.length]).toEqual(['waiting', 1]);
    turns.sweep(0);
    for (const part of ledger.snapshot(asks.length, 4)) feed.snapshotPart(part, 0);
    expect([feed.state, holds(0), holds(10), holds(11)]).toEqual(['in-step', true, true, true]);
  });

  test('is blind until its snapshot has come whole, and follows deltas from there', () => {
    const { feed, ledger, holds, asks } = oneFeed();
    ledger.change('device', [0, 1, 2], []);
    const parts = ledger.snapshot(1, 1);
    for (const part of parts.slice(0, 2)) feed.snapshotPart(part, 0);
    expect([feed.state, holds(0)]).toEqual(['loading', false]);
    feed.snapshotPart(parts[2] as (typeof parts)[0], 0);
    expect([feed.state, holds(0), holds(2), holds(3)]).toEqual(['in-step', true, true, false]);
    feed.delta(ledger.change('host', [3], []), 0);
    feed.delta(ledger.change('device', [], [0]), 0);
    expect([holds(0), holds(3), feed.sequence, asks.length]).toEqual([false, true, 3, 1]);
  });

  test('tells when its engine began anew, and only then', () => {
    const { feed, ledger, cleared } = inStep();
    feed.delta(ledger.change('device', [10], [0]), 0);
    ledger.change('device', [11], []);
    feed.delta(ledger.change('device', [12], []), 0);
    expect([feed.state, cleared.length]).toEqual(['asked', 0]);
    feed.delta(ledger.change('device', [], [], true), 0);
    expect([feed.state, cleared.length]).toEqual(['in-step', 1]);
  });

  test('that was closed is opened again by the same link, and by no older one', () => {
    const { feed, ledger, asks, holds } = inStep();
    feed.close(0);
    feed.delta(ledger.change('device', [10], []), 0);
    expect([feed.state, feed.slot, holds(0)]).toEqual(['closed', undefined, false]);
    feed.open(0 as Epoch, 0);
    expect(feed.state).toBe('closed');
    feed.open(1 as Epoch, 0);
    for (const part of ledger.snapshot(asks.length, 4)) feed.snapshotPart(part, 0);
    expect([feed.state, holds(0), holds(10)]).toEqual(['in-step', true, true]);
  });

  test('needs no snapshot of an engine that has just started', () => {
    const { feed, ledger, turns, holds } = oneFeed();
    feed.delta(ledger.change('device', [7], [], true), 0);
    expect([feed.state, holds(7), turns.loading]).toEqual(['in-step', true, 0]);
  });

  test('forgets all when the engine restarts, whatever it missed before', () => {
    const { feed, ledger, holds } = inStep();
    ledger.change('device', [11], []);
    feed.delta(ledger.change('device', [12], [], true), 0);
    expect([feed.state, holds(0), holds(11), holds(12)]).toEqual(['in-step', false, false, true]);
  });

  test('is blind from a gap on, and asks', () => {
    const { feed, ledger, holds, asks } = inStep();
    ledger.change('device', [], [0]);
    feed.delta(ledger.change('device', [10], []), 0);
    expect([feed.state, holds(0), holds(1), asks.length]).toEqual(['asked', false, false, 2]);
  });

  test('hears of a lost last delta from a mark', () => {
    const { feed, ledger, asks } = inStep();
    feed.mark(ledger.mark(), 0);
    expect(feed.state).toBe('in-step');
    ledger.change('device', [], [0]);
    feed.mark(ledger.mark(), 0);
    expect([feed.state, asks.length]).toEqual(['asked', 2]);
  });

  test('takes a delta once', () => {
    const { feed, ledger, holds } = inStep();
    const first = ledger.change('device', [10], []);
    const second = ledger.change('device', [], [10]);
    for (const delta of [first, second, first, second, first]) feed.delta(delta, 0);
    expect([feed.state, holds(10)]).toEqual(['in-step', false]);
  });

  test('keeps deltas that come while a snapshot loads, up to a bound', () => {
    const { feed, ledger, holds } = oneFeed();
    ledger.change('device', [0, 1], []);
    const [head, tail] = ledger.snapshot(1, 1);
    if (head === undefined || tail === undefined) throw new Error('one part');
    feed.snapshotPart(head, 0);
    feed.delta(ledger.change('device', [], [1]), 0);
    feed.delta(ledger.change('device', [2], []), 0);
    feed.snapshotPart(tail, 0);
    expect([feed.state, holds(0), holds(1), holds(2)]).toEqual(['in-step', true, false, true]);

    const crowded = oneFeed();
    crowded.feed.snapshotPart(head, 0);
    const digests = new Uint32Array(heldDigestsMax * 2);
    const added = [{ tier: 'device' as const, digests }];
    crowded.feed.delta({ epoch: 1 as Epoch, sequence: 2, isCleared: false, added, removed: [] }, 0);
    crowded.feed.snapshotPart(tail, 0);
    expect(crowded.feed.state).toBe('waiting');
    crowded.turns.sweep(500);
    expect(crowded.feed.state).toBe('asked');
  });

  test('does not make one snapshot of the parts of two', () => {
    const { feed, ledger, turns } = oneFeed();
    ledger.change('device', [0, 1, 2, 3], []);
    const [slow] = ledger.snapshot(1, 3);
    turns.sweep(20_000);
    turns.sweep(20_000 + snapshotRestMsMin);
    expect(feed.state).toBe('asked');
    const [head, tail] = ledger.snapshot(2, 2);
    if (slow === undefined || head === undefined || tail === undefined) throw new Error('too few parts');
    feed.snapshotPart(slow, 20_000);
    expect(feed.state).toBe('asked');
    for (const part of [head, slow, tail]) feed.snapshotPart(part, 20_000);
    expect(feed.state).toBe('in-step');
  });

  test('forgets a link’s word when a newer one is open, and hears the older one no more', () => {
    const { feed, ledger, holds } = inStep();
    const late = ledger.change('device', [10], []);
    feed.open(2 as Epoch, 0);
    expect([feed.state, holds(0)]).toEqual(['asked', false]);
    feed.delta(late, 0);
    feed.open(1 as Epoch, 0);
    expect([feed.epoch, feed.state]).toEqual([2, 'asked']);
    ledger.reconnect();
    for (const part of ledger.snapshot(2, 4)) feed.snapshotPart(part, 0);
    expect([feed.state, holds(0), holds(10)]).toEqual(['in-step', true, true]);
  });

  test('gives its slot back when it is closed, and stays closed', () => {
    const { feed, ledger, turns, map } = inStep();
    const other = oneFeed();
    other.feed.close(0);
    expect([other.turns.loading, other.turns.waiting]).toEqual([0, 0]);
    feed.close(0);
    feed.delta(ledger.change('device', [10], [], true), 0);
    expect([feed.state, feed.slot, turns.loading]).toEqual(['closed', undefined, 0]);
    while (map.isSweepDue) map.sweep(1000);
    expect(map.counts.entries).toBe(0);
  });
});

test('after a mass reconnect a few load at once, all get their turn, and the others are blind until then', () => {
  const { feeds, asks, map } = feedsOver(mapBytes, 64);
  const ledgers = feeds.map((feed, of) => {
    feed.open(1 as Epoch, 0);
    const ledger = new KvLedger();
    ledger.change('device', [of, of + 1], []);
    return ledger;
  });
  expect(asks).toHaveLength(snapshotTurnsMax);
  expect(new Set(feeds.map(({ slot }) => slot)).size).toBe(64);
  for (let turn = 0; turn < 64; turn += 1) {
    const of = asks[turn]?.of ?? -1;
    for (const part of ledgers[of]?.snapshot(turn + 1, 1) ?? []) feeds[of]?.snapshotPart(part, 0);
    expect(feeds.filter(({ isInStep }) => isInStep)).toHaveLength(turn + 1);
  }
  const chain = digestsOf([20]);
  const { device } = map.match({ chain, blocks: 1, eligibleLo: -1, eligibleHi: -1, nowMs: 0 });
  const holders = feeds.filter(({ slot }) => device[slot as Slot] === 1);
  expect(holders).toEqual([feeds[19], feeds[20]]);
});

test('a cell that is full leaves further replicas blind until a slot is free', () => {
  const { feeds, map, turns, asks } = feedsOver(mapBytes, 65);
  const ledger = new KvLedger();
  const restart = ledger.change('device', [1], [], true);
  for (const feed of feeds) {
    feed.open(1 as Epoch, 0);
    feed.delta(restart, 0);
  }
  const last = feeds[64] as KvFeed;
  expect([last.state, last.slot]).toEqual(['waiting', undefined]);
  turns.sweep(500);
  expect([last.state, asks.some(({ of }) => of === 64)]).toEqual(['waiting', false]);
  (feeds[0] as KvFeed).close(500);
  turns.sweep(1000);
  expect([last.state, asks.some(({ of }) => of === 64)]).toEqual(['asked', true]);
  last.delta(ledger.change('device', [1], [], true), 1000);
  expect([last.isInStep, map.blocksOf(last.slot as Slot, 'device')]).toEqual([true, 1]);
});
