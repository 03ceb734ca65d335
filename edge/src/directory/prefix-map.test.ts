import type { Tier } from '@cognitora/protocol/kv';
import { describe, expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { Predictions } from './predictions.ts';
import { type Depths, PrefixMap } from './prefix-map.ts';
import { replicasPerCellMax, type Slot } from './replica-slots.ts';

const secret = 0x9e37_79b1;
const mapOf = (entries = 10_000): PrefixMap => new PrefixMap({ bytesMax: entries * 30 + 160, secret });

const claimShown = (map: PrefixMap): Slot => {
  const slot = map.claim();
  if (slot === undefined) throw new Error('no slot is free');
  map.show(slot);
  return slot;
};

const matchAll = (map: PrefixMap, chain: Uint32Array, nowMs = 0): Depths =>
  map.match({ chain, blocks: chain.length / 2, eligibleLo: -1, eligibleHi: -1, nowMs });

/** Blocks `from` to `to` of a chain. */
const part = (chain: Uint32Array, from: number, to: number): Uint32Array => chain.subarray(from * 2, to * 2);

describe('a match', () => {
  const chain = randomWords(1, 400);

  test('tells how deep each replica’s blocks reach, on the device and on any tier', () => {
    const map = mapOf();
    const [first, second, third] = [claimShown(map), claimShown(map), claimShown(map)];
    map.add(chain, first, 'device');
    map.add(part(chain, 0, 50), second, 'device');
    map.add(part(chain, 40, 120), second, 'host');
    map.add(part(chain, 1, 200), third, 'device');
    const { device, held, expected } = matchAll(map, chain);
    expect([device[first], held[first], expected[first]]).toEqual([200, 200, 200]);
    expect([device[second], held[second], expected[second]]).toEqual([50, 120, 120]);
    expect([device[third], held[third], expected[third]]).toEqual([0, 0, 0]);
  });

  test('ends at the first gap, whatever stands behind it', () => {
    const map = mapOf();
    const slot = claimShown(map);
    map.add(chain, slot, 'device');
    map.remove(part(chain, 33, 34), slot, 'device');
    expect(matchAll(map, chain).device[slot]).toBe(33);
    map.add(part(chain, 33, 34), slot, 'host');
    expect(matchAll(map, chain)).toMatchObject({ device: { [slot]: 33 }, held: { [slot]: 200 } });
  });

  test('is about eligible replicas only, in both halves of the mask', () => {
    const map = mapOf();
    const slots = Array.from({ length: replicasPerCellMax }, () => claimShown(map));
    for (const slot of slots) map.add(part(chain, 0, slot + 1), slot, slot % 2 === 0 ? 'device' : 'host');
    const { held } = map.match({
      chain,
      blocks: 200,
      eligibleLo: 0x8000_0001,
      eligibleHi: 0x8000_0003,
      nowMs: 0,
    });
    const expected = slots.map((slot) => ([0, 31, 32, 33, 63].includes(slot) ? slot + 1 : 0));
    expect([...held]).toEqual(expected);
    expect([...matchAll(map, chain).held]).toEqual(slots.map((slot) => slot + 1));
  });

  test('does not take one half’s host tier for the other’s', () => {
    const map = mapOf();
    const slots = Array.from({ length: 34 }, () => claimShown(map));
    const [low, high] = [slots[1] as Slot, slots[33] as Slot];
    for (const [longer, shorter] of [
      [low, high],
      [high, low],
    ] as const) {
      const own = randomWords(longer + 10, 8);
      map.add(part(own, 0, 4), longer, 'host');
      map.add(part(own, 0, 2), shorter, 'host');
      const { held } = matchAll(map, own);
      expect([held[longer], held[shorter]]).toEqual([4, 2]);
    }
  });

  test('looks at so many blocks as count, and at none of an empty prompt', () => {
    const map = mapOf();
    const slot = claimShown(map);
    map.add(chain, slot, 'device');
    const options = { chain, eligibleLo: -1, eligibleHi: -1, nowMs: 0 };
    expect(map.match({ ...options, blocks: 7 }).device[slot]).toBe(7);
    expect(map.match({ ...options, blocks: 0 }).device[slot]).toBe(0);
  });

  test('counts predictions as expected, and those only of a hidden replica', () => {
    const predictions = new Predictions({ bytesMax: 2 ** 20 });
    const map = new PrefixMap({ bytesMax: 2 ** 20, secret, predictions });
    const slot = claimShown(map);
    const hidden = map.claim() as Slot;
    map.add(part(chain, 0, 20), slot, 'device');
    map.add(part(chain, 0, 20), hidden, 'device');
    const options = { chain, nowMs: 0, deadlineMs: 10 };
    predictions.add({ ...options, fromBlock: 20, toBlock: 150, slot });
    predictions.add({ ...options, fromBlock: 0, toBlock: 10, slot: hidden });
    const depths = matchAll(map, chain, 5);
    expect([depths.device[slot], depths.held[slot], depths.expected[slot]]).toEqual([20, 20, 150]);
    expect([depths.device[hidden], depths.held[hidden], depths.expected[hidden]]).toEqual([0, 0, 10]);
    expect(matchAll(map, chain, 10).expected[slot]).toBe(20);
    map.clear(hidden);
    map.sweep(1000);
    expect(map.claim()).toBe(hidden);
    expect(matchAll(map, chain, 5).expected[hidden]).toBe(0);
  });
});

test('digests of zeros and of ones are digests like others', () => {
  const words = [0, 1, 2 ** 31 - 1, 2 ** 32 - 1];
  const pairs = words.flatMap((lo) => [0, 1, 2 ** 31 - 1].map((hi) => Uint32Array.of(lo, hi)));
  const map = mapOf(64);
  const slot = claimShown(map);
  for (const [index, pair] of pairs.entries()) {
    expect(matchAll(map, pair).held[slot]).toBe(0);
    map.add(pair, slot, 'device');
    expect(matchAll(map, pair).held[slot]).toBe(1);
    expect(map.counts.entries).toBe(index + 1);
  }
  for (const pair of pairs) map.remove(pair, slot, 'device');
  expect(map.counts.entries).toBe(0);
});

describe('a cleared replica', () => {
  const chain = randomWords(3, 200);

  test('is forgotten at once, and its slot comes back only when nothing of it is left', () => {
    const map = mapOf(100_000);
    const slots = Array.from({ length: replicasPerCellMax }, () => claimShown(map));
    expect(map.claim()).toBeUndefined();
    const [gone, stays] = [slots[40] as Slot, slots[41] as Slot];
    map.add(chain, gone, 'device');
    map.add(part(chain, 0, 60), stays, 'device');
    map.clear(gone);
    expect(matchAll(map, chain).held[gone]).toBe(0);
    expect(map.counts.entries).toBe(100);
    expect(() => map.add(chain, gone, 'device')).toThrow(RangeError);
    expect(map.claim()).toBe(gone);
    expect(map.counts.entries).toBe(60);
    map.show(gone);
    expect(matchAll(map, chain).held[gone]).toBe(0);
    expect(matchAll(map, chain).held[stays]).toBe(60);
  });

  test('is swept out in pieces by what else happens', () => {
    const map = mapOf(100_000);
    const gone = claimShown(map);
    const stays = claimShown(map);
    map.add(randomWords(4, 100_000), gone, 'device');
    map.clear(gone);
    let calls = 0;
    for (; map.isSweepDue; calls += 1) map.add(part(chain, 0, 1), stays, 'host');
    expect(calls).toBeGreaterThan(10);
    expect(calls).toBeLessThan(20);
    expect(map.counts.entries).toBe(1);
  });
});

describe('a full map', () => {
  const fill = (
    map: PrefixMap,
    slot: Slot,
    seed: number,
    blocks: number,
    tier: Tier = 'device',
  ): Uint32Array => {
    const digests = randomWords(seed, blocks * 2);
    map.add(digests, slot, tier);
    return digests;
  };

  test('stays within its budget, and keeps what is touched over what is not', () => {
    const map = mapOf(20_000);
    const slot = claimShown(map);
    const { entriesMax } = map.counts;
    const hot = fill(map, slot, 1, 200);
    const cold = fill(map, slot, 2, 200);
    for (let seed = 3; seed < 103; seed += 1) {
      fill(map, slot, seed, 850);
      expect(matchAll(map, hot).device[slot]).toBe(200);
      expect(map.counts.entries).toBeLessThanOrEqual(entriesMax);
    }
    expect(matchAll(map, cold).device[slot]).toBe(0);
    const { entries, evictions } = map.counts;
    expect(entries).toBe(entriesMax);
    expect(evictions).toBe(400 + 850 * 100 - entriesMax);
    expect(map.blocksOf(slot, 'device')).toBe(entriesMax);
  });

  test('keeps a new chain whole until all the others have been replaced', () => {
    const map = mapOf(20_000);
    const slot = claimShown(map);
    const { entriesMax } = map.counts;
    fill(map, slot, 1, entriesMax * 3);
    const [chain, later] = [fill(map, slot, 2, 500), fill(map, slot, 3, 500)];
    fill(map, slot, 4, entriesMax - 1000);
    expect(matchAll(map, chain).device[slot]).toBe(500);
    fill(map, slot, 5, 600);
    expect(matchAll(map, chain).device[slot]).toBe(500);
    expect(matchAll(map, later).device[slot]).toBe(0);
  });

  test('keeps for a turnover what it put where something was removed, right before its hand, too', () => {
    const map = mapOf(20_000);
    const slot = claimShown(map);
    const { entriesMax } = map.counts;
    fill(map, slot, 1, entriesMax);
    const oldest = fill(map, slot, 2, entriesMax);
    map.remove(part(oldest, 0, 500), slot, 'device');
    const chain = fill(map, slot, 3, 500);
    fill(map, slot, 4, entriesMax - 500);
    expect(matchAll(map, chain).device[slot]).toBe(500);
  });

  test('drops something though all is touched, without looking at everything', () => {
    const map = mapOf(20_000);
    const slot = claimShown(map);
    const all = fill(map, slot, 1, map.counts.entriesMax);
    map.add(all, slot, 'host');
    fill(map, slot, 2, 10);
    expect(map.counts).toMatchObject({ evictions: 10, entries: map.counts.entriesMax });
  });

  test('drops what only cleared replicas held before anything else', () => {
    const map = mapOf(20_000);
    const [gone, stays] = [claimShown(map), claimShown(map)];
    const { entriesMax } = map.counts;
    fill(map, gone, 1, Math.floor(entriesMax / 2));
    const kept = fill(map, stays, 2, Math.floor(entriesMax / 2));
    map.clear(gone);
    fill(map, stays, 3, Math.floor(entriesMax / 3));
    expect(map.counts.evictions).toBe(0);
    expect(matchAll(map, kept).device[stays]).toBe(kept.length / 2);
  });
});
