/**
 * What decisions have made likely: blocks that a replica will hold because a request was just sent there. Written in
 * the turn of the decision, so that the siblings of a burst see it; a guess ends at its deadline, or when every request
 * that made it has failed. Bounded: when it is full, the guess that ends soonest among a few gives way, and the rest of
 * a prompt stays unpredicted rather than push out its own start. Knows nothing of what is confirmed.
 *
 *   one entry per digest and slot:   [ digest 60 bits | slot, generation, requests | born | deadline hi | lo ]
 *
 * - `requests` counts who made the guess and has not taken it back, so a failed request does not erase a sibling's.
 * - `born` is the number of the request that made the entry. An older request has no part in it: its own guess had
 *   ended before, and taking that back changes nothing.
 * - Taking back leaves the deadline: a sibling's guess, if it was not taken back itself, lives as long as the failed
 *   one would have.
 * - `generation` makes clearing a slot O(1). What has ended is removed while others are added, a few slots at a time.
 */
import { DigestTable, slotWords } from './digest-table.ts';
import { replicasPerCellMax, type Slot } from './replica-slots.ts';

/** Guesses of one cell, unless configured: 73,000 blocks, 35 cold prompts of 128 k tokens within one lifetime. */
export const predictionsBytesDefault = 2 * 2 ** 20;

/** Up to 64 entries share one digest, so runs are longer than in a table of single ones. */
const reachSlots = 1024;
/** Slots looked at with each guess: the whole table once while a quarter of it is written. */
const handStepsPerGuess = 4;
/** Entries looked at for room in a full table, and slots at most; see the prefix map for why entries. */
const roomEntries = 24;
const roomSlotsMax = 2 * reachSlots;

const whoWord = 2;
const bornWord = 3;
const deadlineHiWord = 4;
const deadlineLoWord = 5;
/** In `who`: slot 6 bits, generation 8, requests 18. More requests than fit are never taken back. */
const generationShift = 6;
const generationMask = 0xff;
const requestsShift = 14;
const requestsMax = 2 ** 18 - 1;

export interface PredictionOptions {
  /** Digests of the prompt from its start, as pairs of low and high word. */
  readonly chain: Uint32Array;
  /** Blocks before this one are confirmed and need no guess. */
  readonly fromBlock: number;
  readonly toBlock: number;
  readonly slot: Slot;
  readonly nowMs: number;
  readonly deadlineMs: number;
}

/** One request's guess, for as long as it may have to be taken back. */
export interface Prediction {
  readonly chain: Uint32Array;
  readonly fromBlock: number;
  /** Where the table had no more room, if before the asked end. */
  readonly toBlock: number;
  readonly slot: Slot;
  readonly born: number;
  isTakenBack: boolean;
}

export class Predictions {
  readonly #table: DigestTable;
  readonly #generations = new Uint8Array(replicasPerCellMax);
  #born = 0;
  #handWord = 0;
  /** No guess lives longer than this. */
  #latestDeadlineMs = Number.NEGATIVE_INFINITY;

  constructor({ bytesMax, secret }: { readonly bytesMax: number; readonly secret: number }) {
    this.#table = new DigestTable({ bytesMax, secret, reachSlots });
  }

  get bytes(): number {
    return this.#table.bytes;
  }

  /** Guesses, with those that have ended and were not removed yet. */
  get entries(): number {
    return this.#table.entries;
  }

  get entriesMax(): number {
    return this.#table.entriesMax;
  }

  /** Expects the blocks on the replica until the deadline. */
  add({ chain, fromBlock, toBlock, slot, nowMs, deadlineMs }: PredictionOptions): Prediction {
    this.#born = (this.#born + 1) >>> 0;
    this.#latestDeadlineMs = Math.max(this.#latestDeadlineMs, deadlineMs);
    let block = fromBlock;
    for (; block < toBlock; block += 1) {
      const lo = chain[block * 2] ?? 0;
      const hi = chain[block * 2 + 1] ?? 0;
      this.#removeEnded(handStepsPerGuess, nowMs);
      const known = this.#find(lo, hi, slot);
      if (known >= 0 && this.#isAlive(known, nowMs)) {
        this.#join(known, deadlineMs);
        continue;
      }
      if (known < 0 && !this.#makeRoom(nowMs, deadlineMs)) break;
      const at = known < 0 ? this.#table.insert(lo, hi) : known;
      if (at < 0) break;
      this.#write(at, slot, deadlineMs);
    }
    return { chain, fromBlock, toBlock: block, slot, born: this.#born, isTakenBack: false };
  }

  /** The request failed before its first byte: what it alone made likely is so no more. Again means nothing. */
  takeBack(prediction: Prediction, nowMs: number): void {
    if (prediction.isTakenBack) return;
    prediction.isTakenBack = true;
    const { words } = this.#table;
    const { chain, fromBlock, toBlock, slot, born } = prediction;
    for (let block = fromBlock; block < toBlock; block += 1) {
      const at = this.#find(chain[block * 2] ?? 0, chain[block * 2 + 1] ?? 0, slot);
      if (at < 0) continue;
      const isOlder = ((born - (words[at + bornWord] ?? 0)) | 0) < 0;
      if (isOlder || !this.#isAlive(at, nowMs)) continue;
      const who = words[at + whoWord] ?? 0;
      const requests = who >>> requestsShift;
      if (requests === 1) this.#table.removeAt(at);
      else if (requests < requestsMax) words[at + whoWord] = who - (1 << requestsShift);
    }
  }

  /** Nothing is expected of the replica any more. O(1). */
  clear(slot: Slot): void {
    this.#generations[slot] = (this.#generations[slot] ?? 0) + 1;
  }

  /** Who is expected to hold the block, of slots 0 to 31 (half 0) or 32 to 63 (half 1). */
  holders(lo: number, hi: number, half: number, nowMs: number): number {
    if (nowMs >= this.#latestDeadlineMs) return 0;
    const { words } = this.#table;
    let mask = 0;
    for (let at = this.#table.find(lo, hi); at >= 0; at = this.#table.findNext(at, hi)) {
      const slot = (words[at + whoWord] ?? 0) & (replicasPerCellMax - 1);
      if (slot >>> 5 === half && this.#isAlive(at, nowMs)) mask |= 1 << slot;
    }
    return mask;
  }

  #find(lo: number, hi: number, slot: Slot): number {
    const { words } = this.#table;
    let at = this.#table.find(lo, hi);
    while (at >= 0 && ((words[at + whoWord] ?? 0) & (replicasPerCellMax - 1)) !== slot) {
      at = this.#table.findNext(at, hi);
    }
    return at;
  }

  #isAlive(at: number, nowMs: number): boolean {
    const who = this.#table.words[at + whoWord] ?? 0;
    const generation = (who >>> generationShift) & generationMask;
    if (generation !== this.#generations[who & (replicasPerCellMax - 1)]) return false;
    return this.#deadlineMs(at) > nowMs;
  }

  #deadlineMs(at: number): number {
    const { words } = this.#table;
    return (words[at + deadlineHiWord] ?? 0) * 2 ** 32 + (words[at + deadlineLoWord] ?? 0);
  }

  /** One more request makes the guess. */
  #join(at: number, deadlineMs: number): void {
    const { words } = this.#table;
    const who = words[at + whoWord] ?? 0;
    if (who >>> requestsShift < requestsMax) words[at + whoWord] = who + (1 << requestsShift);
    if (deadlineMs > this.#deadlineMs(at)) this.#writeDeadline(at, deadlineMs);
  }

  #write(at: number, slot: Slot, deadlineMs: number): void {
    const generation = this.#generations[slot] ?? 0;
    this.#table.words[at + whoWord] = (1 << requestsShift) | (generation << generationShift) | slot;
    this.#table.words[at + bornWord] = this.#born;
    this.#writeDeadline(at, deadlineMs);
  }

  #writeDeadline(at: number, deadlineMs: number): void {
    this.#table.words[at + deadlineHiWord] = Math.floor(deadlineMs / 2 ** 32);
    this.#table.words[at + deadlineLoWord] = deadlineMs % 2 ** 32;
  }

  #moveHand(): number {
    const at = this.#handWord;
    const next = at + slotWords;
    this.#handWord = next < this.#table.words.length ? next : 0;
    return at;
  }

  #removeEnded(steps: number, nowMs: number): void {
    for (let step = 0; step < steps; step += 1) {
      const at = this.#moveHand();
      if (!this.#table.isEmpty(at) && !this.#isAlive(at, nowMs)) this.#table.removeAt(at);
    }
  }

  /** True when one more entry fits, which may have cost another its place. */
  #makeRoom(nowMs: number, deadlineMs: number): boolean {
    const { entriesMax } = this.#table;
    if (this.#table.entries < entriesMax) return true;
    let soonest = -1;
    let soonestMs = deadlineMs;
    let seen = 0;
    for (let step = 0; step < roomSlotsMax && seen < roomEntries; step += 1) {
      const at = this.#moveHand();
      if (this.#table.isEmpty(at)) continue;
      seen += 1;
      const endsMs = this.#isAlive(at, nowMs) ? this.#deadlineMs(at) : 0;
      if (endsMs >= soonestMs) continue;
      soonest = at;
      soonestMs = endsMs;
      if (endsMs === 0) break;
    }
    if (soonest >= 0) this.#table.removeAt(soonest);
    return soonest >= 0;
  }
}
