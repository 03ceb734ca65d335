/**
 * The map against a plain Map from digest to holders, over random operations up to full load and beyond. It may
 * forget whole entries, as many as it says it evicted; it never claims what was not added.
 */
import { type Tier, tiers } from '@cognitora/protocol/kv';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { type Depths, PrefixMap } from './prefix-map.ts';
import type { Slot } from './replica-slots.ts';

/** Some with the extreme words, some that crowd, the others random; no two alike in 63 bits. */
const universe: readonly (readonly [lo: number, hi: number])[] = [
  [0, 0],
  [0, 1],
  [2 ** 32 - 1, 2 ** 31 - 1],
  [2 ** 32 - 1, 0],
  ...Array.from({ length: 10 }, (_, index) => [5, index] as const),
  ...Array.from({ length: 46 }, (_, index) => {
    const [lo = 0, hi = 0] = randomWords(index + 1, 2);
    return [lo, hi] as const;
  }),
];
const wordsOf = (indices: readonly number[]): Uint32Array =>
  Uint32Array.from(indices.flatMap((index) => [...(universe[index] ?? [])]));
const single = universe.map((_, index) => wordsOf([index]));

const which = fc.nat(63);
const digests = fc.array(fc.nat(universe.length - 1), { maxLength: 30 });
const tier = fc.constantFrom(...tiers);
const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('claim' as const) }) },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('add' as const), which, digests, tier }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('remove' as const), which, digests, tier }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('clear' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('show' as const, 'hide' as const), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('sweep' as const), entries: fc.nat(40) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('match' as const),
      digests,
      lo: fc.integer(),
      hi: fc.integer(),
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

/** Sets of slots as bits. */
type Holders = Record<Tier, bigint>;
const bitOf = (slot: number): bigint => 1n << BigInt(slot);

/** What ought to be there: digest -> holders, and which slots take part. */
class Model {
  readonly entries = new Map<number, Holders>();
  readonly claimed: Slot[] = [];
  shown = 0n;

  holders(index: number): Holders {
    return this.entries.get(index) ?? { device: 0n, host: 0n };
  }

  /** Of those shown: on the device, and on any tier. */
  seen(index: number): readonly [device: bigint, held: bigint] {
    const { device, host } = this.holders(index);
    return [device & this.shown, (device | host) & this.shown];
  }

  add(indices: readonly number[], slot: Slot, tier: Tier): void {
    for (const index of indices) {
      const holders = this.holders(index);
      this.entries.set(index, { ...holders, [tier]: holders[tier] | bitOf(slot) });
    }
  }

  remove(indices: readonly number[], slot: Slot, tier: Tier): void {
    for (const index of indices) {
      const holders = this.holders(index);
      const left = { ...holders, [tier]: holders[tier] & ~bitOf(slot) };
      if ((left.device | left.host) === 0n) this.entries.delete(index);
      else this.entries.set(index, left);
    }
  }

  clear(slot: Slot): void {
    const all = [...this.entries.keys()];
    for (const tier of tiers) this.remove(all, slot, tier);
    this.claimed.splice(this.claimed.indexOf(slot), 1);
    this.hide(slot);
  }

  show(slot: Slot): void {
    this.shown |= bitOf(slot);
  }

  hide(slot: Slot): void {
    this.shown &= ~bitOf(slot);
  }

  /** Block by block, from scratch. */
  depths(indices: readonly number[], eligible: bigint): [device: number[], held: number[]] {
    const depths: [number[], number[]] = [new Array(64).fill(0), new Array(64).fill(0)];
    for (const [kind, list] of depths.entries()) {
      for (let slot = 0; slot < 64; slot += 1) {
        const has = (index: number): boolean => ((this.seen(index)[kind] ?? 0n) & bitOf(slot)) !== 0n;
        const gap = indices.findIndex((index) => !has(index));
        if ((eligible & bitOf(slot)) !== 0n) list[slot] = gap < 0 ? indices.length : gap;
      }
    }
    for (let slot = 0; slot < 64; slot += 1) {
      if ((this.shown & bitOf(slot)) === 0n) for (const list of depths) list[slot] = 0;
    }
    return depths;
  }

  hostDepths(indices: readonly number[], eligible: bigint): number[] {
    return Array.from({ length: 64 }, (_, slot) => {
      if ((eligible & this.shown & bitOf(slot)) === 0n) return 0;
      const gap = indices.findIndex((index) => (this.holders(index).host & bitOf(slot)) === 0n);
      return gap < 0 ? indices.length : gap;
    });
  }
}

const bitsOf = (depths: Uint16Array): bigint => {
  let lo = 0;
  let hi = 0;
  for (let slot = 0; slot < 32; slot += 1) {
    if (depths[slot] === 1) lo |= 1 << slot;
    if (depths[slot + 32] === 1) hi |= 1 << slot;
  }
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
};

const matchOne = (map: PrefixMap, index: number): Depths =>
  map.match({
    chain: single[index] ?? new Uint32Array(),
    blocks: 1,
    eligibleLo: -1,
    eligibleHi: -1,
    nowMs: 0,
  });

/**
 * Compares all entries, and takes from the model what the map has dropped; what the operation added may have been
 * dropped and begun anew. Returns how many were dropped.
 */
const reconcile = (
  map: PrefixMap,
  model: Model,
  next: Operation | undefined,
  slot: Slot | undefined,
): number => {
  let dropped = 0;
  const { shown } = model;
  for (const hidden of model.claimed) {
    map.show(hidden);
    model.show(hidden);
  }
  for (const index of universe.keys()) {
    const { device, held } = matchOne(map, index);
    const found = [bitsOf(device), bitsOf(held)];
    const [knownDevice, knownHeld] = model.seen(index);
    if (found[0] === knownDevice && found[1] === knownHeld) continue;
    model.entries.delete(index);
    dropped += 1;
    if (next?.kind === 'add' && slot !== undefined && found[1] !== 0n) {
      expect(next.digests).toContain(index);
      model.add([index], slot, next.tier);
    }
    expect(found).toEqual([...model.seen(index)]);
  }
  for (const hidden of model.claimed) {
    if ((shown & bitOf(hidden)) === 0n) map.hide(hidden);
  }
  model.shown = shown;
  return dropped;
};

const matchBoth = (next: Operation & { kind: 'match' }, map: PrefixMap, model: Model): void => {
  const { digests: indices, lo: eligibleLo, hi: eligibleHi } = next;
  const options = { chain: wordsOf(indices), blocks: indices.length, eligibleLo, eligibleHi, nowMs: 0 };
  const { device, held, expected } = map.match(options);
  const eligible = (BigInt(eligibleHi >>> 0) << 32n) | BigInt(eligibleLo >>> 0);
  const depths = model.depths(indices, eligible);
  expect([[...device], [...held]]).toEqual(depths);
  expect(expected).toEqual(held);
  const onHosts = new Uint16Array(64).fill(7);
  map.matchHost(options, onHosts);
  expect([...onHosts]).toEqual(model.hostDepths(indices, eligible));
  for (const index of indices) {
    const [lo = 0, hi = 0] = universe[index] ?? [];
    const holders = new Int32Array(2);
    map.holdersOf(lo, hi, holders);
    const found = new BigUint64Array(holders.buffer)[0];
    expect(found).toBe(model.seen(index)[1]);
  }
};

/** Returns the slot that it was about. */
const apply = (next: Operation, map: PrefixMap, model: Model): Slot | undefined => {
  if (next.kind === 'sweep') map.sweep(next.entries);
  if (next.kind === 'match') matchBoth(next, map, model);
  if (next.kind === 'claim') {
    const slot = map.claim();
    expect(slot === undefined).toBe(model.claimed.length === 64);
    if (slot === undefined) return undefined;
    expect(model.claimed).not.toContain(slot);
    model.claimed.push(slot);
    map.show(slot);
    model.show(slot);
  }
  const slot = 'which' in next ? model.claimed[next.which % Math.max(1, model.claimed.length)] : undefined;
  if (slot === undefined) return undefined;
  if (next.kind === 'add' || next.kind === 'remove') {
    map[next.kind](wordsOf(next.digests), slot, next.tier);
    model[next.kind](next.digests, slot, next.tier);
  } else if (next.kind === 'clear' || next.kind === 'show' || next.kind === 'hide') {
    map[next.kind](slot);
    model[next.kind](slot);
  }
  return slot;
};

const run = (entries: number, secret: number, claimed: number, operations: readonly Operation[]): void => {
  const map = new PrefixMap({ bytesMax: entries * 30 + 160, secret });
  const model = new Model();
  let lost = 0;
  for (let slot = 0; slot < claimed; slot += 1) apply({ kind: 'claim' }, map, model);
  for (const next of operations) {
    const slot = apply(next, map, model);
    const dropped = reconcile(map, model, next, slot);
    const { entries: held, entriesMax, evictions } = map.counts;
    expect(dropped).toBeLessThanOrEqual(evictions - lost);
    lost = evictions;
    if (entries >= 400) expect(lost).toBe(0);
    expect(held).toBeLessThanOrEqual(entriesMax);
  }
  while (map.isSweepDue) map.sweep(7);
  expect(map.counts.entries).toBe(model.entries.size);
  for (const slot of model.claimed) {
    for (const tier of tiers) {
      const known = [...model.entries.values()].filter((holders) => (holders[tier] & bitOf(slot)) !== 0n);
      expect(map.blocksOf(slot, tier)).toBe(known.length);
    }
  }
};

const operations = fc.array(operation, { maxLength: 60, size: 'max' });
/** Few replicas, or so many that both halves of a mask are in use. */
const claimed = fc.constantFrom(0, 2, 36, 64);
const secrets = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test('with room for all it is the plain map, through clearing, sweeping and reuse of slots', () => {
  fc.assert(fc.property(fc.constant(400), secrets, claimed, operations, run), { numRuns: 200 });
});

/**
 * Each digest on one tier only: what a match tells of the host tier hides behind the device, so that an entry which
 * was dropped and begun anew within one call could not be told from one that stayed.
 */
const onOneTier = (next: Operation): Operation => {
  if (next.kind !== 'add' && next.kind !== 'remove') return next;
  return { ...next, digests: next.digests.filter((index) => tiers[index % 2] === next.tier) };
};

const lossy = operations.map((list) => list.map(onOneTier));

test('at full load it loses whole entries, no more than it says, and never claims too much', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 50 }), secrets, claimed, lossy, run), { numRuns: 300 });
});
