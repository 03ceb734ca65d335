/**
 * Which replicas of one cell hold which prefix: 64-bit digest -> two sets of at most 64 replicas, those with the block
 * on the device and those with it on host or disk. The memory is a fixed budget. Knows no time, no epochs and no names.
 * Never claims what was not added: what it forgets (removal, a cleared replica, eviction) makes it claim less.
 *
 *   entry:   [ digest 63 bits, touched 1 bit | device 64 bits | host 64 bits ]
 *
 * - 63 bits of digest: with 1.1 million entries an absent block is taken for a present one once in 8 x 10^12 lookups,
 *   and a match meets one absent block at most, for it ends there.
 * - Entries lie in the order in which they came, a prompt's blocks in a row. A full map drops, for each entry it needs,
 *   one that only cleared replicas held, else the one under a hand that goes around: what was touched since the hand
 *   last passed stays and loses its mark. A match touches every block from the start of its chain, so a chain stays
 *   whole for one turnover of the map after its arrival or its last match, and then goes from its start to its end.
 *   (In a table ordered by hash the same clock broke chains within a tenth of a turnover: their blocks lie anywhere.)
 * - Clearing a replica is O(1): its bits stay and are masked away. Its slot is given out again after a sweep, a bounded
 *   piece of it with each call, has removed them.
 */
import { type Tier, tiers } from '@cognitora/protocol/kv';
import { DigestEntries, entryWords, markBit } from './digest-entries.ts';
import type { Predictions } from './predictions.ts';
import { ReplicaSlots, replicasPerCellMax, type Slot } from './replica-slots.ts';

/** What a cell's map takes unless configured: 1.1 million blocks. A 128 MB isolate holds two beside its streams. */
export const prefixMapBytesDefault = 32 * 2 ** 20;

const devicePlane = 2;
const hostPlane = 4;

/** Entries that each change looks at while cleared replicas are swept out: 96 KiB in a row, some 20 us. */
const sweptPerCall = 4096;
/** Entries that one eviction looks at in the sweep. */
const sweptPerEviction = 256;
/** Entries that the hand passes for one eviction, all touched: 96 KiB; then it drops one all the same. */
const handStepsMax = 4096;
/** So much of the largest replica's blocks is as good as as many: with fewer to choose from the hand would go far. */
const largeShare = 7 / 8;

export interface PrefixMapOptions {
  /** All that the map takes; the predictions have a budget of their own. */
  readonly bytesMax: number;
  /** Any 32-bit number that peers do not know: see DigestEntries. */
  readonly secret: number;
  /** Consulted by matches, and cleared with a slot. */
  readonly predictions?: Predictions;
  /** A full map drops, of the host's tier, what replicas with about the most of it told, before what others told. */
  readonly isFair?: boolean;
}

export interface MatchOptions {
  /** Digests of a prompt from its start, as pairs of low and high word. */
  readonly chain: Uint32Array;
  /** How many of them count: no more than there are. */
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
  /** Live entries dropped to make room, and blocks that found no place, as those may that a peer makes up. */
  readonly evictions: number;
}

/** The places of a match's masks, each in two halves: who is still left. */
const deviceLeft = 0;
const heldLeft = 2;
const expectedLeft = 4;

/** The word within an entry that holds a slot's bit. */
const planeOf = (slot: Slot, tier: Tier): number =>
  (tier === 'device' ? devicePlane : hostPlane) + (slot >>> 5);

const countPlace = (slot: Slot, tier: Tier): number => (tier === 'device' ? 0 : replicasPerCellMax) + slot;

const lowestBitOf = (bits: number): number => 31 - Math.clz32(bits & -bits);

export class PrefixMap {
  readonly #entries: DigestEntries;
  readonly #predictions: Predictions | undefined;
  readonly #isFair: boolean;
  /** Who has about the most on its host, slots 0 to 31 and 32 to 63. */
  readonly #large = new Int32Array(2);
  readonly #slots = new ReplicaSlots();
  /** The sweep under way has looked at the entries below this word. */
  #sweptWords = 0;
  #handWord = 0;
  /** Blocks of claimed slots, by tier and slot. */
  readonly #blocks = new Uint32Array(tiers.length * replicasPerCellMax);
  #evictions = 0;
  readonly #left = new Int32Array(6);
  /** Of the match under way: up to which block each slot's blocks are predicted, and the block last asked about. */
  readonly #predictedUntil = new Uint16Array(replicasPerCellMax);
  #askedAt = 0;
  /** Where a match found its last block. */
  #matchedAt = 0;
  readonly #depths: Depths = {
    device: new Uint16Array(replicasPerCellMax),
    held: new Uint16Array(replicasPerCellMax),
    expected: new Uint16Array(replicasPerCellMax),
  };
  /** In the order of the masks of `#left`. */
  readonly #depthsByMask = [this.#depths.device, this.#depths.held, this.#depths.expected];

  constructor({ bytesMax, secret, predictions, isFair = false }: PrefixMapOptions) {
    this.#entries = new DigestEntries({ bytesMax, secret });
    this.#predictions = predictions;
    this.#isFair = isFair;
  }

  get counts(): PrefixMapCounts {
    const { bytes, entries, entriesMax } = this.#entries;
    return { bytes, entriesMax, entries, evictions: this.#evictions };
  }

  /** Blocks that the map knows of one replica on one tier. */
  blocksOf(slot: Slot, tier: Tier): number {
    return this.#blocks[countPlace(slot, tier)] ?? 0;
  }

  /**
   * A slot for a replica: empty, and hidden until it is shown. Undefined when 64 are claimed. When all others are still
   * to be swept this finishes the sweep: one or two passes over all entries, some 10 ms.
   */
  claim(): Slot | undefined {
    const slot = this.#slots.claim();
    if (slot !== undefined || !this.isSweepDue) return slot;
    while (this.isSweepDue) this.sweep(this.#entries.entriesMax);
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
    for (const tier of tiers) this.#blocks[countPlace(slot, tier)] = 0;
  }

  /** Bits of cleared slots may still be in the table. */
  get isSweepDue(): boolean {
    return this.#slots.isDirty;
  }

  /** Looks at this many entries and removes what cleared replicas left there. */
  sweep(entriesMax: number): void {
    for (let left = entriesMax; left > 0 && this.isSweepDue; ) {
      if (!this.#slots.isSweeping) {
        this.#slots.beginPass();
        this.#sweptWords = 0;
      }
      left -= this.#sweepOn(left);
      if (this.#sweptWords >= this.#entries.usedWords) this.#slots.endPass();
    }
  }

  /** The replica has these blocks on this tier: pairs of low and high word. Evicts when the map is full. */
  add(digests: Uint32Array, slot: Slot, tier: Tier): void {
    this.#slots.assertClaimed(slot);
    if (this.isSweepDue) this.sweep(sweptPerCall);
    const { words } = this.#entries;
    const plane = planeOf(slot, tier);
    const bit = 1 << slot;
    let guess = 0;
    for (let next = 0; next < digests.length; next += 2) {
      const at = this.#entryOf(digests[next] ?? 0, digests[next + 1] ?? 0, guess);
      if (at < 0) continue;
      guess = at + entryWords;
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
    const { words } = this.#entries;
    const plane = planeOf(slot, tier);
    const bit = 1 << slot;
    let guess = 0;
    for (let next = 0; next < digests.length; next += 2) {
      const at = this.#find(digests[next] ?? 0, digests[next + 1] ?? 0, guess);
      if (at < 0) continue;
      guess = at + entryWords;
      const holders = words[at + plane] ?? 0;
      if ((holders & bit) === 0) continue;
      words[at + plane] = holders & ~bit;
      this.#count(slot, tier, -1);
      if (!this.#isLive(at)) this.#drop(at);
    }
  }

  /** Who is shown and holds this one block, on any tier: bits of slots 0 to 31 and 32 to 63, written into `holders`. */
  holdersOf(lo: number, hi: number, holders: Int32Array): void {
    const { words } = this.#entries;
    const { shown } = this.#slots;
    const at = this.#entries.find(lo, hi);
    if (at >= 0) this.#touch(at);
    for (let half = 0; half < 2; half += 1) {
      const held = at < 0 ? 0 : (words[at + devicePlane + half] ?? 0) | (words[at + hostPlane + half] ?? 0);
      holders[half] = held & (shown[half] ?? 0);
    }
  }

  /**
   * How far into a prompt each replica's blocks reach. The result is valid until the next call. Marks the blocks it
   * finds as touched.
   */
  match(options: MatchOptions): Depths {
    const { blocks, eligibleLo, eligibleHi } = options;
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
    this.#matchedAt = -entryWords;
    this.#predictedUntil.fill(0);
    this.#askedAt = -1;
    for (let block = 0; block < blocks && this.#isAnyLeft; block += 1) {
      block = this.#steadyUntil(options, block);
      if (block < blocks) this.#narrow(options, block);
    }
    for (let place = 0; place < left.length; place += 1) this.#part(place, 0, blocks);
    return this.#depths;
  }

  /** The same of the host's tier alone, without predictions, written into `depths` by slot. */
  matchHost(options: Omit<MatchOptions, 'nowMs'>, depths: Uint16Array): void {
    const { chain, blocks, eligibleLo, eligibleHi } = options;
    const { words } = this.#entries;
    const { shown } = this.#slots;
    depths.fill(0);
    let lo = eligibleLo & (shown[0] ?? 0);
    let hi = eligibleHi & (shown[1] ?? 0);
    let next = 0;
    for (let block = 0; block <= blocks && (lo | hi) !== 0; block += 1) {
      const at = block === blocks ? -1 : this.#find(chain[block * 2] ?? 0, chain[block * 2 + 1] ?? 0, next);
      const stayLo = at < 0 ? 0 : lo & (words[at + hostPlane] ?? 0);
      const stayHi = at < 0 ? 0 : hi & (words[at + hostPlane + 1] ?? 0);
      for (let left = lo & ~stayLo; left !== 0; left &= left - 1) depths[lowestBitOf(left)] = block;
      for (let left = hi & ~stayHi; left !== 0; left &= left - 1) depths[32 + lowestBitOf(left)] = block;
      lo = stayLo;
      hi = stayHi;
      if (at >= 0) this.#touch(at);
      next = at + entryWords;
    }
  }

  get #isAnyLeft(): boolean {
    return ((this.#left[expectedLeft] ?? 0) | (this.#left[expectedLeft + 1] ?? 0)) !== 0;
  }

  /**
   * The first block from `from` on that not all who are left have. The hot loop: nobody falls, nothing is noted.
   * Written for speed: all in locals, and `as number` because a `?? 0` costs an eighth here.
   */
  #steadyUntil({ chain, blocks }: MatchOptions, from: number): number {
    const { words } = this.#entries;
    const left = this.#left;
    const deviceLo = left[deviceLeft] as number;
    const deviceHi = left[deviceLeft + 1] as number;
    const expectedLo = left[expectedLeft] as number;
    const expectedHi = left[expectedLeft + 1] as number;
    const shownLo = this.#slots.shown[0] as number;
    const shownHi = this.#slots.shown[1] as number;
    if (((expectedLo & ~shownLo) | (expectedHi & ~shownHi)) !== 0) return from;
    let at = this.#matchedAt;
    for (let block = from; block < blocks; block += 1) {
      const lo = chain[block * 2] as number;
      const hi = chain[block * 2 + 1] as number;
      const next = at + entryWords;
      const isNext = words[next] === lo && (((words[next + 1] as number) ^ hi) & ~markBit) === 0;
      at = isNext ? next : this.#entries.find(lo, hi);
      if (at < 0) return block;
      const onDeviceLo = words[at + devicePlane] as number;
      const onDeviceHi = words[at + devicePlane + 1] as number;
      if (((expectedLo & ~onDeviceLo) | (expectedHi & ~onDeviceHi)) !== 0) {
        const holdLo = onDeviceLo | (words[at + hostPlane] as number);
        const holdHi = onDeviceHi | (words[at + hostPlane + 1] as number);
        const fallen = (deviceLo & ~onDeviceLo) | (deviceHi & ~onDeviceHi);
        if ((fallen | (expectedLo & ~holdLo) | (expectedHi & ~holdHi)) !== 0) return block;
      }
      this.#matchedAt = at;
      const word = words[at + 1] as number;
      if (word < markBit) words[at + 1] = word | markBit;
    }
    return blocks;
  }

  /** At a block that somebody lacks: notes how far they came and goes on without them. */
  #narrow(options: MatchOptions, block: number): void {
    const { chain } = options;
    const { words } = this.#entries;
    const left = this.#left;
    const lo = chain[block * 2] ?? 0;
    const hi = chain[block * 2 + 1] ?? 0;
    const at = this.#find(lo, hi, this.#matchedAt + entryWords);
    if (at >= 0) this.#touch(at);
    if (at >= 0) this.#matchedAt = at;
    for (let half = 0; half < 2; half += 1) {
      const onDevice = at < 0 ? 0 : (words[at + devicePlane + half] ?? 0);
      const onHost = at < 0 ? 0 : (words[at + hostPlane + half] ?? 0);
      const holders = (onDevice | onHost) & (this.#slots.shown[half] ?? 0);
      const lacking = (left[expectedLeft + half] ?? 0) & ~holders;
      const predicted = lacking === 0 ? 0 : this.#predictedAmong(lacking, half, options, block);
      this.#part(deviceLeft + half, onDevice, block);
      this.#part(heldLeft + half, holders, block);
      this.#part(expectedLeft + half, holders | predicted, block);
    }
  }

  /** Of these slots of one half, those that are expected to hold the block. */
  #predictedAmong(lacking: number, half: number, options: MatchOptions, block: number): number {
    if (this.#predictions === undefined) return 0;
    const { chain, blocks, nowMs } = options;
    const until = this.#predictedUntil;
    let predicted = 0;
    for (let left = lacking; left !== 0; left &= left - 1) {
      const slot = half * 32 + lowestBitOf(left);
      if ((until[slot] ?? 0) <= block && this.#askedAt !== block) {
        this.#predictions.extend(chain, block, blocks, nowMs, until);
        this.#askedAt = block;
      }
      if ((until[slot] ?? 0) > block) predicted |= left & -left;
    }
    return predicted;
  }

  /** Of those left in one mask the stayers go on, and the others have come to `depth`. */
  #part(place: number, stayers: number, depth: number): void {
    const before = this.#left[place] ?? 0;
    this.#left[place] = before & stayers;
    if (depth === 0) return;
    const depths = this.#depthsByMask[place >>> 1];
    const firstSlot = (place & 1) * 32;
    for (let fallen = before & ~stayers; fallen !== 0 && depths !== undefined; fallen &= fallen - 1) {
      depths[firstSlot + lowestBitOf(fallen)] = depth;
    }
  }

  /** The digest's entry; -1 when there is none. It is probably at `guess`. */
  #find(lo: number, hi: number, guess: number): number {
    return this.#entries.isAt(guess, lo, hi) ? guess : this.#entries.find(lo, hi);
  }

  /** The digest's entry, made if there is none; -1 when there is no place for it. It is probably at `guess`. */
  #entryOf(lo: number, hi: number, guess: number): number {
    const found = this.#find(lo, hi, guess);
    if (found >= 0) {
      this.#touch(found);
      return found;
    }
    const entries = this.#entries;
    const evictedAt = entries.entries === entries.entriesMax ? this.#makeRoom() : -1;
    const { usedWords } = entries;
    const made = entries.insert(lo, hi);
    if (made < 0) this.#evictions += 1;
    // Anywhere but behind the hand, or behind all others, the hand might come to it before its time.
    else if (made !== evictedAt && made < usedWords) this.#touch(made);
    return made;
  }

  /** Drops an entry: a dead one where the sweep stands, else the next untouched one. Returns where that was. */
  #makeRoom(): number {
    const entries = this.#entries;
    if (this.isSweepDue) this.sweep(sweptPerEviction);
    if (entries.entries < entries.entriesMax) return -1;
    if (this.#isFair) this.#findLarge();
    let at = 0;
    for (let step = 0; step < handStepsMax; step += 1) {
      at = this.#handWord;
      this.#handWord = at + entryWords < entries.usedWords ? at + entryWords : 0;
      if (this.#isFair && this.#isLive(at) && !this.#isOfLarge(at)) continue;
      if (!this.#unmark(at) || !this.#isLive(at)) break;
    }
    if (this.#isLive(at)) this.#evictions += 1;
    this.#drop(at);
    return at;
  }

  #findLarge(): void {
    let most = 0;
    for (let slot = 0; slot < replicasPerCellMax; slot += 1)
      most = Math.max(most, this.blocksOf(slot as Slot, 'host'));
    this.#large.fill(0);
    for (let slot = 0; slot < replicasPerCellMax; slot += 1) {
      const isLarge = this.blocksOf(slot as Slot, 'host') >= most * largeShare;
      if (isLarge) this.#large[slot >>> 5] = (this.#large[slot >>> 5] ?? 0) | (1 << slot);
    }
  }

  #isOfLarge(at: number): boolean {
    const { words } = this.#entries;
    const lo = (words[at + hostPlane] ?? 0) & (this.#large[0] ?? 0);
    return (lo | ((words[at + hostPlane + 1] ?? 0) & (this.#large[1] ?? 0))) !== 0;
  }

  #touch(at: number): void {
    const { words } = this.#entries;
    words[at + 1] = (words[at + 1] ?? 0) | markBit;
  }

  /** True when it had a mark. */
  #unmark(at: number): boolean {
    const { words } = this.#entries;
    const word = words[at + 1] ?? 0;
    words[at + 1] = word & ~markBit;
    return word >= markBit;
  }

  /** A claimed replica holds it. */
  #isLive(at: number): boolean {
    const { words } = this.#entries;
    const { claimed } = this.#slots;
    const lo = ((words[at + devicePlane] ?? 0) | (words[at + hostPlane] ?? 0)) & (claimed[0] ?? 0);
    const hi = ((words[at + devicePlane + 1] ?? 0) | (words[at + hostPlane + 1] ?? 0)) & (claimed[1] ?? 0);
    return (lo | hi) !== 0;
  }

  /** Goes on with the pass; returns how many entries it looked at. */
  #sweepOn(entriesMax: number): number {
    const { words, usedWords } = this.#entries;
    const claimedLo = this.#slots.claimed[0] ?? 0;
    const claimedHi = this.#slots.claimed[1] ?? 0;
    const first = this.#sweptWords;
    const end = Math.min(usedWords, first + entriesMax * entryWords);
    for (let at = first; at < end; at += entryWords) {
      const holdersLo = (words[at + devicePlane] ?? 0) | (words[at + hostPlane] ?? 0);
      const holdersHi = (words[at + devicePlane + 1] ?? 0) | (words[at + hostPlane + 1] ?? 0);
      if (((holdersLo & ~claimedLo) | (holdersHi & ~claimedHi)) !== 0) this.#wash(at);
    }
    this.#sweptWords = end;
    return Math.max(1, (end - first) / entryWords);
  }

  /** Removes what cleared replicas left in an entry, and the entry if that was all. */
  #wash(at: number): void {
    const { words } = this.#entries;
    if (!this.#isLive(at)) {
      this.#drop(at);
      return;
    }
    for (const plane of [devicePlane, hostPlane]) {
      for (let half = 0; half < 2; half += 1) {
        words[at + plane + half] = (words[at + plane + half] ?? 0) & (this.#slots.claimed[half] ?? 0);
      }
    }
  }

  /** Removes an entry whoever holds it. */
  #drop(at: number): void {
    const { words } = this.#entries;
    for (const tier of tiers) {
      for (let half = 0; half < 2; half += 1) {
        const holders = words[at + planeOf((half * 32) as Slot, tier)] ?? 0;
        const live = holders & (this.#slots.claimed[half] ?? 0);
        for (let left = live; left !== 0; left &= left - 1) {
          this.#count((half * 32 + lowestBitOf(left)) as Slot, tier, -1);
        }
      }
    }
    this.#entries.removeAt(at);
  }

  #count(slot: Slot, tier: Tier, change: number): void {
    const place = countPlace(slot, tier);
    this.#blocks[place] = (this.#blocks[place] ?? 0) + change;
  }
}
