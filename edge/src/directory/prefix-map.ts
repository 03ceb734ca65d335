/**
 * Which replicas of one cell hold which prefix: 64-bit digest -> two sets of at most 64 replicas, those with the block
 * on the device and those with it on host or disk. The memory is a fixed budget. Knows no time, no epochs and no names.
 * Never claims what was not added: what it forgets (removal, a cleared replica, eviction) makes it claim less.
 *
 *   entry:   [ digest 60 bits, stamp 4 bits | device 64 bits | host 64 bits ]
 *
 * - 60 bits of digest: with 1.2 million entries an absent block is taken for a present one once in 10^12 lookups, and a
 *   match meets one absent block, for it ends there.
 * - `stamp` is the generation in which the entry was last added or matched; a generation is an eighth of what the map
 *   holds. A full map drops, for each entry it needs, one that only cleared replicas held, else the oldest of the next
 *   56 that its hand passes. A match touches every block from the start of its chain, so a block is never older than
 *   what hangs on it. A chain stays whole for three quarters of a turnover. (One reference bit, as clocks have, did not
 *   do: as many bits are set at once as a turnover is long, and a hand of bounded steps then drops what just came.)
 * - Clearing a replica is O(1): its bits stay and are masked away. Its slot is given out again after a sweep, a bounded
 *   piece of it with each call, has removed them.
 */
import { DigestTable, digestHiMask, lookAheadMax, slotWords, stampShift } from './digest-table.ts';
import type { Predictions } from './predictions.ts';
import { ReplicaSlots, replicasPerCellMax, type Slot } from './replica-slots.ts';

/** What a cell's map takes unless configured: 1.2 million blocks. A 128 MB isolate holds two beside its streams. */
export const prefixMapBytesDefault = 32 * 2 ** 20;

/** Where a replica has a block: `host` stands for everything slower than the device that it can load from. */
export type Tier = 'device' | 'host';
/** In the order of an entry's planes. */
export const tiers = ['device', 'host'] as const satisfies readonly Tier[];

const devicePlane = 2;
const hostPlane = 4;

/** Slots of the table that each change looks at while cleared replicas are swept out: 96 KiB in a row, some 10 us. */
const sweptPerCall = 4096;
/**
 * Entries that one eviction looks at, and slots at most. Entries, not slots: so that crowded stretches of the table
 * lose more than others, and none overflows in the long run.
 */
const evictionEntries = 56;
const evictionSlotsMax = 256;
/** Generations pass from this share of the entries on, so that the first to go are chosen by age, too. */
const agingStartShare = 1 / 2;
/** In one turnover of the map. */
const generationsPerTurnover = 8;
/** Stamps wrap around, so older entries are kept from growing older still. */
const generations = 16;
const ageMax = 8;
/** Entries that the hand passes for each new one: all of them in four generations, before an age can wrap around. */
const agedPerEntry = 2;

export interface PrefixMapOptions {
  /** All that the map takes; the predictions have a budget of their own. */
  readonly bytesMax: number;
  /** Any 32-bit number that peers do not know: see DigestTable. */
  readonly secret: number;
  /** Consulted by matches, and cleared with a slot. */
  readonly predictions?: Predictions;
}

export interface MatchOptions {
  /** Digests of a prompt from its start, as pairs of low and high word. */
  readonly chain: Uint32Array;
  /** How many of them count. */
  readonly blocks: number;
  /** The replicas that are asked about, by slot: 0 to 31 and 32 to 63. */
  readonly eligibleLo: number;
  readonly eligibleHi: number;
  /** Decides which predictions still stand. */
  readonly nowMs: number;
}

/** Blocks from the start of the prompt without a gap, by slot; 0 for who is not eligible. */
export interface Depths {
  /** Confirmed on the device. */
  readonly device: Uint16Array;
  /** Confirmed on any tier, block by block. */
  readonly held: Uint16Array;
  /** Confirmed on any tier or predicted, block by block. */
  readonly expected: Uint16Array;
}

export interface PrefixMapCounts {
  readonly bytes: number;
  readonly entriesMax: number;
  readonly entries: number;
  /** Entries that a claimed replica holds, at least; exact when no sweep is due. */
  readonly liveEntries: number;
  /** Live entries dropped to make room. */
  readonly evictions: number;
  /** Blocks that found no place near their own: 0 unless a peer makes digests up. */
  readonly refusals: number;
}

/** The places of a match's masks, each in two halves: who is still left. */
const deviceLeft = 0;
const heldLeft = 2;
const expectedLeft = 4;

/** The word within an entry that holds a slot's bit. */
const planeOf = (slot: Slot, tier: Tier): number =>
  (tier === 'device' ? devicePlane : hostPlane) + (slot >>> 5);

const countPlace = (slot: Slot, tier: Tier): number => (tier === 'device' ? 0 : replicasPerCellMax) + slot;

const bitCount = (bits: number): number => {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count += 1;
  return count;
};

const lowestBitOf = (bits: number): number => 31 - Math.clz32(bits & -bits);

export class PrefixMap {
  readonly #table: DigestTable;
  readonly #predictions: Predictions | undefined;
  readonly #slots = new ReplicaSlots();
  /** The sweep goes down the table; what starts below this word is still to be looked at. */
  #unsweptWords = 0;
  #handWord = 0;
  #generation = 0;
  #madeInGeneration = 0;
  /** Blocks of claimed slots, by tier and slot. */
  readonly #blocks = new Uint32Array(tiers.length * replicasPerCellMax);
  #deadBits = 0;
  #evictions = 0;
  #refusals = 0;
  readonly #left = new Int32Array(6);
  readonly #depths: Depths = {
    device: new Uint16Array(replicasPerCellMax),
    held: new Uint16Array(replicasPerCellMax),
    expected: new Uint16Array(replicasPerCellMax),
  };
  /** In the order of the masks of `#left`. */
  readonly #depthsByMask = [this.#depths.device, this.#depths.held, this.#depths.expected];

  constructor({ bytesMax, secret, predictions }: PrefixMapOptions) {
    this.#table = new DigestTable({ bytesMax, secret });
    this.#predictions = predictions;
  }

  get counts(): PrefixMapCounts {
    const { bytes, entries, entriesMax } = this.#table;
    const liveEntries = Math.max(0, entries - this.#deadBits);
    const evictions = this.#evictions;
    return { bytes, entriesMax, entries, liveEntries, evictions, refusals: this.#refusals };
  }

  /** Blocks that the map knows of one replica on one tier. */
  blocksOf(slot: Slot, tier: Tier): number {
    return this.#blocks[countPlace(slot, tier)] ?? 0;
  }

  /**
   * A slot for a replica: empty, and hidden until it is shown. Undefined when 64 are claimed. When all others are still
   * to be swept this finishes the sweep: one or two passes over the whole table, some 10 ms.
   */
  claim(): Slot | undefined {
    const slot = this.#slots.claim();
    if (slot !== undefined || !this.isSweepDue) return slot;
    while (this.isSweepDue) this.sweep(this.#table.slots);
    return this.#slots.claim();
  }

  /** From now on the slot's blocks count in matches. */
  show(slot: Slot): void {
    this.#slots.show(slot);
  }

  /** The slot keeps its blocks, but in a match only its predictions count. */
  hide(slot: Slot): void {
    this.#slots.hide(slot);
  }

  /** Forgets all the slot's blocks and predictions, and the slot: it is no longer the caller's. O(1). */
  clear(slot: Slot): void {
    this.#slots.release(slot);
    this.#predictions?.clear(slot);
    for (const tier of tiers) {
      const place = countPlace(slot, tier);
      this.#deadBits += this.#blocks[place] ?? 0;
      this.#blocks[place] = 0;
    }
  }

  /** Bits of cleared slots may still be in the table. */
  get isSweepDue(): boolean {
    return this.#slots.isDirty;
  }

  /** Looks at this many slots of the table and removes what cleared replicas left there. */
  sweep(slotsMax: number): void {
    for (let left = slotsMax; left > 0 && this.isSweepDue; ) {
      if (!this.#slots.isSweeping) {
        this.#slots.beginPass();
        this.#unsweptWords = this.#table.words.length;
      }
      left -= this.#sweepDown(left);
      if (this.#unsweptWords === 0) this.#slots.endPass();
    }
  }

  /** The replica has these blocks on this tier: pairs of low and high word. Evicts when the map is full. */
  add(digests: Uint32Array, slot: Slot, tier: Tier): void {
    this.#slots.assertClaimed(slot);
    if (this.isSweepDue) this.sweep(sweptPerCall);
    const { words } = this.#table;
    const plane = planeOf(slot, tier);
    const bit = 1 << slot;
    for (let next = 0; next < digests.length; next += 2) {
      const at = this.#entryOf(digests[next] ?? 0, digests[next + 1] ?? 0);
      if (at < 0) continue;
      const holders = words[at + plane] ?? 0;
      if ((holders & bit) !== 0) continue;
      words[at + plane] = holders | bit;
      this.#count(slot, tier, 1);
    }
  }

  /** The replica no longer has these blocks on this tier. What it never had is passed over. */
  remove(digests: Uint32Array, slot: Slot, tier: Tier): void {
    this.#slots.assertClaimed(slot);
    if (this.isSweepDue) this.sweep(sweptPerCall);
    const { words } = this.#table;
    const plane = planeOf(slot, tier);
    const bit = 1 << slot;
    for (let next = 0; next < digests.length; next += 2) {
      const at = this.#table.find(digests[next] ?? 0, digests[next + 1] ?? 0);
      if (at < 0) continue;
      const holders = words[at + plane] ?? 0;
      if ((holders & bit) === 0) continue;
      words[at + plane] = holders & ~bit;
      this.#count(slot, tier, -1);
      if (!this.#isLive(at)) this.#drop(at);
    }
  }

  /**
   * How far into a prompt each replica's blocks reach. The result is valid until the next call. Marks the blocks it
   * finds as touched.
   */
  match(options: MatchOptions): Depths {
    const { chain, blocks, eligibleLo, eligibleHi } = options;
    const left = this.#left;
    const { claimed, shown } = this.#slots;
    for (const depths of this.#depthsByMask) depths.fill(0);
    for (let half = 0; half < 2; half += 1) {
      const expected = (half === 0 ? eligibleLo : eligibleHi) & (claimed[half] ?? 0);
      const held = expected & (shown[half] ?? 0);
      left[deviceLeft + half] = held;
      left[heldLeft + half] = held;
      left[expectedLeft + half] = expected;
    }
    for (let block = 0; ; block += 1) {
      if (((left[expectedLeft] ?? 0) | (left[expectedLeft + 1] ?? 0)) === 0) break;
      block = this.#steadyUntil(chain, block, blocks);
      if (block === blocks) {
        for (let place = 0; place < left.length; place += 1) this.#part(place, 0, blocks);
        break;
      }
      this.#narrow(options, block);
    }
    return this.#depths;
  }

  /**
   * The first block from `from` on that not all who are left have. The hot loop: nobody falls, nothing is noted. Reads
   * with `as number`, for `?? 0` costs an eighth here.
   */
  #steadyUntil(chain: Uint32Array, from: number, blocks: number): number {
    const table = this.#table;
    const { words } = table;
    const left = this.#left;
    const { shown } = this.#slots;
    const deviceLo = left[deviceLeft] as number;
    const deviceHi = left[deviceLeft + 1] as number;
    const expectedLo = left[expectedLeft] as number;
    const expectedHi = left[expectedLeft + 1] as number;
    const isAllShown = ((expectedLo & ~(shown[0] ?? 0)) | (expectedHi & ~(shown[1] ?? 0))) === 0;
    if (!isAllShown) return from;
    for (let first = from; first < blocks; first += lookAheadMax) {
      const end = Math.min(blocks, first + lookAheadMax);
      table.lookAhead(chain, first, end);
      for (let block = first; block < end; block += 1) {
        const at = table.findNear(block - first, chain[block * 2] as number, chain[block * 2 + 1] as number);
        if (at < 0) return block;
        const onDeviceLo = words[at + devicePlane] as number;
        const onDeviceHi = words[at + devicePlane + 1] as number;
        if (((expectedLo & ~onDeviceLo) | (expectedHi & ~onDeviceHi)) !== 0) {
          const holdLo = onDeviceLo | (words[at + hostPlane] as number);
          const holdHi = onDeviceHi | (words[at + hostPlane + 1] as number);
          const fallen = (deviceLo & ~onDeviceLo) | (deviceHi & ~onDeviceHi);
          if ((fallen | (expectedLo & ~holdLo) | (expectedHi & ~holdHi)) !== 0) return block;
        }
        this.#touch(at);
      }
    }
    return blocks;
  }

  /** At a block that somebody lacks: notes how far they came and goes on without them. */
  #narrow({ chain, nowMs }: MatchOptions, block: number): void {
    const { words } = this.#table;
    const left = this.#left;
    const lo = chain[block * 2] ?? 0;
    const hi = chain[block * 2 + 1] ?? 0;
    const at = this.#table.find(lo, hi);
    if (at >= 0) this.#touch(at);
    for (let half = 0; half < 2; half += 1) {
      const onDevice = at < 0 ? 0 : (words[at + devicePlane + half] ?? 0);
      const onHost = at < 0 ? 0 : (words[at + hostPlane + half] ?? 0);
      const holders = (onDevice | onHost) & (this.#slots.shown[half] ?? 0);
      const lacking = (left[expectedLeft + half] ?? 0) & ~holders;
      const predicted = lacking === 0 ? 0 : (this.#predictions?.holders(lo, hi, half, nowMs) ?? 0);
      this.#part(deviceLeft + half, onDevice, block);
      this.#part(heldLeft + half, holders, block);
      this.#part(expectedLeft + half, holders | predicted, block);
    }
  }

  /** Of those left in one mask the stayers go on, and the others have come to `depth`. */
  #part(place: number, stayers: number, depth: number): void {
    const before = this.#left[place] ?? 0;
    this.#left[place] = before & stayers;
    const depths = this.#depthsByMask[place >>> 1];
    const firstSlot = (place & 1) * 32;
    for (let fallen = before & ~stayers; fallen !== 0 && depths !== undefined; fallen &= fallen - 1) {
      depths[firstSlot + lowestBitOf(fallen)] = depth;
    }
  }

  /** The digest's entry, made if there is none and touched in either case; -1 when there is no place for it. */
  #entryOf(lo: number, hi: number): number {
    const found = this.#table.find(lo, hi);
    if (found >= 0) {
      this.#touch(found);
      return found;
    }
    const { entriesMax } = this.#table;
    if (this.#table.entries >= entriesMax * agingStartShare) this.#grow();
    const made = this.#table.entries < entriesMax ? this.#table.insert(lo, hi) : -1;
    if (made < 0) this.#refusals += 1;
    else this.#touch(made);
    return made;
  }

  /** Another entry comes into a map that is filling up: ages the others, and drops one if there is no room. */
  #grow(): void {
    const { entries, entriesMax } = this.#table;
    this.#madeInGeneration += 1;
    if (this.#madeInGeneration * generationsPerTurnover >= entriesMax) {
      this.#madeInGeneration = 0;
      this.#generation = (this.#generation + 1) % generations;
    }
    if (entries >= entriesMax && this.isSweepDue) this.sweep(evictionSlotsMax);
    const isFull = this.#table.entries >= entriesMax;
    const oldest = this.#passHand(isFull ? evictionEntries : agedPerEntry);
    if (!isFull || oldest < 0) return;
    if (this.#isLive(oldest)) this.#evictions += 1;
    this.#drop(oldest);
  }

  /** Moves the hand and returns the oldest entry it passed, or one that nobody holds; -1 when it passed none. */
  #passHand(entriesMax: number): number {
    let oldest = -1;
    let oldestAge = -1;
    let seen = 0;
    for (let step = 0; step < evictionSlotsMax && seen < entriesMax; step += 1) {
      const at = this.#handWord;
      const next = at + slotWords;
      this.#handWord = next < this.#table.words.length ? next : 0;
      if (this.#table.isEmpty(at)) continue;
      seen += 1;
      const age = this.#isLive(at) ? this.#ageOf(at) : generations;
      if (age <= oldestAge) continue;
      oldest = at;
      oldestAge = age;
    }
    return oldest;
  }

  /** Generations since the entry's stamp, which is moved on if it was about to wrap around. */
  #ageOf(at: number): number {
    const { words } = this.#table;
    const word = words[at + 1] ?? 0;
    const age = (this.#generation - (word >>> stampShift) + generations) % generations;
    if (age <= ageMax) return age;
    const stamp = (this.#generation - ageMax + generations) % generations;
    words[at + 1] = (stamp << stampShift) | (word & digestHiMask);
    return ageMax;
  }

  #touch(at: number): void {
    const { words } = this.#table;
    const word = words[at + 1] as number;
    const stamp = this.#generation;
    if (word >>> stampShift !== stamp) words[at + 1] = (stamp << stampShift) | (word & digestHiMask);
  }

  /** A claimed replica holds it. */
  #isLive(at: number): boolean {
    const { words } = this.#table;
    const [claimedLo = 0, claimedHi = 0] = this.#slots.claimed;
    const lo = ((words[at + devicePlane] ?? 0) | (words[at + hostPlane] ?? 0)) & claimedLo;
    const hi = ((words[at + devicePlane + 1] ?? 0) | (words[at + hostPlane + 1] ?? 0)) & claimedHi;
    return (lo | hi) !== 0;
  }

  /** Goes on with the pass; returns how many slots it looked at. */
  #sweepDown(slotsMax: number): number {
    const { words } = this.#table;
    const [claimedLo = 0, claimedHi = 0] = this.#slots.claimed;
    let seen = 0;
    for (; seen < slotsMax && this.#unsweptWords > 0; seen += 1) {
      const at = this.#unsweptWords - slotWords;
      this.#unsweptWords = at;
      const holdersLo = (words[at + devicePlane] ?? 0) | (words[at + hostPlane] ?? 0);
      const holdersHi = (words[at + devicePlane + 1] ?? 0) | (words[at + hostPlane + 1] ?? 0);
      if (((holdersLo & ~claimedLo) | (holdersHi & ~claimedHi)) !== 0) this.#wash(at);
    }
    return seen;
  }

  /** Removes what cleared replicas left in an entry, and the entry if that was all. */
  #wash(at: number): void {
    const { words } = this.#table;
    if (!this.#isLive(at)) {
      this.#drop(at);
      return;
    }
    for (const plane of [devicePlane, hostPlane]) {
      for (let half = 0; half < 2; half += 1) {
        const holders = words[at + plane + half] ?? 0;
        const dead = holders & ~(this.#slots.claimed[half] ?? 0);
        if (dead === 0) continue;
        words[at + plane + half] = holders & ~dead;
        this.#deadBits -= bitCount(dead);
      }
    }
  }

  /** Removes an entry whoever holds it. */
  #drop(at: number): void {
    const { words } = this.#table;
    for (const tier of tiers) {
      for (let half = 0; half < 2; half += 1) {
        const holders = words[at + planeOf((half * 32) as Slot, tier)] ?? 0;
        const live = holders & (this.#slots.claimed[half] ?? 0);
        this.#deadBits -= bitCount(holders & ~live);
        for (let left = live; left !== 0; left &= left - 1) {
          this.#count((half * 32 + lowestBitOf(left)) as Slot, tier, -1);
        }
      }
    }
    const gap = this.#table.removeAt(at);
    // What stood from `gap` to `at` moved up by one slot; if it crossed the sweep, the sweep looks again.
    if (gap < this.#unsweptWords && this.#unsweptWords <= at) this.#unsweptWords += slotWords;
  }

  #count(slot: Slot, tier: Tier, change: number): void {
    const place = countPlace(slot, tier);
    this.#blocks[place] = (this.#blocks[place] ?? 0) + change;
  }
}
