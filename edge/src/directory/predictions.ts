/**
 * What decisions have made likely: blocks that a replica will hold because a request was just sent there. Written in
 * the turn of the decision, so that the siblings of a burst see it; a guess ends at its deadline, or when its request
 * takes it back. Bounded: when there is no room, the guess that ends soonest among a few gives way, and the rest of a
 * prompt stays unpredicted rather than push out what lasts longer. Knows nothing of what is confirmed.
 *
 *   prompt:    0 . . . . . . . . . 32 . . . . . . . . . 64 . . . .
 *   guess:                 from [ d d d d d d d d d d d d d ] to         blocks of one prompt on one replica
 *   found by:                     ^ ^                   ^                its first block, and each 32nd of the prompt
 *
 * Digests are a chain: prompts that agree in one block agree in all before it. So who is expected to hold block 70 is
 * found by blocks 64 to 70, how far by bisection, and neither making a guess nor asking looks at each of its blocks. (A
 * table with an entry for each block and replica took 125 ns a block, a quarter of a cold decision.)
 */
import { replicasPerCellMax, type Slot } from './replica-slots.ts';

/**
 * Guesses of one cell, unless configured: 320 cold prompts of 128 k tokens, or 8,000 turns of 40 blocks. With a quarter
 * of that a saturated fleet forgot what it had just decided (note 5).
 */
export const predictionsBytesDefault = 8 * 2 ** 20;

/** A guess is found by each block whose number in the prompt this divides. */
const anchorBlocks = 32;
/** Of the guesses found by one block, so many are looked at, the latest first: two for each replica. */
const siblingsMax = 2 * replicasPerCellMax;
/** Guesses looked at with each new one: all of them once while a quarter as many are made. */
const handSteps = 4;
/** Guesses looked at for one that gives way. */
const roomSteps = 24;

const digestBytes = 8;
/** What an engine takes for a guess and its array, and for a place where it is found, about. */
const guessBytes = 384;
const anchorBytes = 128;

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
  readonly fromBlock: number;
  /** Where there was no more room, if before the asked end. */
  readonly toBlock: number;
}

interface Guess extends Prediction {
  /** Of its blocks alone. */
  readonly digests: Uint32Array;
  readonly slot: Slot;
  readonly generation: number;
  readonly deadlineMs: number;
  /** Its place among all; -1 when it is gone. */
  at: number;
}

export class Predictions {
  readonly #bytesMax: number;
  readonly #guesses: Guess[] = [];
  /** By a part of the digest of an anchor, in the order in which they were made. */
  readonly #byAnchor = new Map<number, Guess[]>();
  /** How often each slot was cleared. */
  readonly #generations = new Uint32Array(replicasPerCellMax);
  #bytes = 0;
  /** Goes around, so that what has ended is removed while others are added. */
  #hand = 0;

  constructor({ bytesMax }: { readonly bytesMax: number }) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Expects the blocks on the replica until the deadline. */
  add({ chain, fromBlock, toBlock, slot, nowMs, deadlineMs }: PredictionOptions): Prediction {
    this.#removeEnded(nowMs);
    while (this.#bytes + bytesOf(fromBlock, toBlock) > this.#bytesMax) {
      if (!this.#makeRoom(nowMs, deadlineMs)) break;
    }
    const end = fittingEnd(fromBlock, toBlock, this.#bytesMax - this.#bytes);
    const guess: Guess = {
      fromBlock,
      toBlock: end,
      digests: chain.slice(fromBlock * 2, end * 2),
      slot,
      generation: this.#generations[slot] ?? 0,
      deadlineMs,
      at: -1,
    };
    if (end > fromBlock) this.#insert(guess);
    return guess;
  }

  /** What the request made likely is so no more. Again means nothing. */
  takeBack(prediction: Prediction): void {
    const guess = prediction as Guess;
    if (guess.at >= 0) this.#remove(guess);
  }

  /** Nothing is expected of the replica any more. O(1). */
  clear(slot: Slot): void {
    this.#generations[slot] = (this.#generations[slot] ?? 0) + 1;
  }

  /**
   * Where the guesses about this block of a prompt end for it: raises `untilBlock`, by slot, for each replica that is
   * expected to hold the block. Of the chain, `blocks` blocks count.
   */
  extend(chain: Uint32Array, block: number, blocks: number, nowMs: number, untilBlock: Uint16Array): void {
    if (this.#guesses.length === 0) return;
    for (let at = block; at >= 0; at -= 1) {
      const found = this.#byAnchor.get(anchorOf(chain, at));
      if (found !== undefined) this.#extendBy(found, chain, block, blocks, nowMs, untilBlock);
      if (at % anchorBlocks === 0) return;
    }
  }

  #extendBy(
    found: readonly Guess[],
    chain: Uint32Array,
    block: number,
    blocks: number,
    nowMs: number,
    untilBlock: Uint16Array,
  ): void {
    const last = Math.max(0, found.length - siblingsMax);
    for (let index = found.length - 1; index >= last; index -= 1) {
      const guess = found[index];
      if (guess === undefined || !this.#isAlive(guess, nowMs)) continue;
      const end = endOf(guess, chain, block, blocks);
      if (end > (untilBlock[guess.slot] ?? 0)) untilBlock[guess.slot] = end;
    }
  }

  #isAlive({ slot, generation, deadlineMs }: Guess, nowMs: number): boolean {
    return deadlineMs > nowMs && generation === this.#generations[slot];
  }

  #insert(guess: Guess): void {
    guess.at = this.#guesses.push(guess) - 1;
    this.#bytes += bytesOf(guess.fromBlock, guess.toBlock);
    for (let block = guess.fromBlock; block < guess.toBlock; block = nextAnchor(block)) {
      const anchor = anchorOf(guess.digests, block - guess.fromBlock);
      const found = this.#byAnchor.get(anchor);
      if (found === undefined) this.#byAnchor.set(anchor, [guess]);
      else found.push(guess);
    }
  }

  #remove(guess: Guess): void {
    const last = this.#guesses.pop();
    if (last !== undefined && last !== guess) {
      this.#guesses[guess.at] = last;
      last.at = guess.at;
    }
    guess.at = -1;
    this.#bytes -= bytesOf(guess.fromBlock, guess.toBlock);
    for (let block = guess.fromBlock; block < guess.toBlock; block = nextAnchor(block)) {
      const anchor = anchorOf(guess.digests, block - guess.fromBlock);
      const found = this.#byAnchor.get(anchor) ?? [];
      if (found.length <= 1) this.#byAnchor.delete(anchor);
      else found.splice(found.indexOf(guess), 1);
    }
  }

  #atHand(): Guess | undefined {
    if (this.#hand >= this.#guesses.length) this.#hand = 0;
    return this.#guesses[this.#hand];
  }

  #removeEnded(nowMs: number): void {
    for (let step = 0; step < handSteps; step += 1) {
      const guess = this.#atHand();
      if (guess === undefined) return;
      if (this.#isAlive(guess, nowMs)) this.#hand += 1;
      else this.#remove(guess);
    }
  }

  /** True when a guess that ends before this deadline has given way. */
  #makeRoom(nowMs: number, deadlineMs: number): boolean {
    let soonest: Guess | undefined;
    let soonestMs = deadlineMs;
    for (let step = 0; step < roomSteps && soonestMs > 0; step += 1) {
      const guess = this.#atHand();
      if (guess === undefined) break;
      this.#hand += 1;
      const endsMs = this.#isAlive(guess, nowMs) ? guess.deadlineMs : 0;
      if (endsMs >= soonestMs) continue;
      soonest = guess;
      soonestMs = endsMs;
    }
    if (soonest !== undefined) this.#remove(soonest);
    return soonest !== undefined;
  }
}

/** Of 32 bits so many that they are a small integer in every engine; who is found is compared with all of them. */
const anchorOf = (digests: Uint32Array, block: number): number => (digests[block * 2] ?? 0) >>> 2;

const nextAnchor = (block: number): number => block - (block % anchorBlocks) + anchorBlocks;

const bytesOf = (fromBlock: number, toBlock: number): number => {
  const blocks = Math.max(0, toBlock - fromBlock);
  return guessBytes + digestBytes * blocks + anchorBytes * Math.ceil(1 + blocks / anchorBlocks);
};

/** As many of the blocks as fit. */
const fittingEnd = (fromBlock: number, toBlock: number, roomBytes: number): number => {
  if (bytesOf(fromBlock, toBlock) <= roomBytes) return Math.max(fromBlock, toBlock);
  const forBlocks = roomBytes - guessBytes - 2 * anchorBytes;
  return fromBlock + Math.max(0, Math.floor(forBlocks / (digestBytes + anchorBytes / anchorBlocks)));
};

/** Where the prompt and the guess part, or either ends; 0 when the guess is not about that block of it. */
const endOf = (guess: Guess, chain: Uint32Array, block: number, blocks: number): number => {
  const { fromBlock, toBlock } = guess;
  if (block < fromBlock || block >= toBlock || !agreeAt(guess, chain, block)) return 0;
  let agreed = block;
  let end = Math.min(toBlock, blocks);
  if (agreeAt(guess, chain, end - 1)) return end;
  while (end - agreed > 1) {
    const middle = (agreed + end) >>> 1;
    if (agreeAt(guess, chain, middle)) agreed = middle;
    else end = middle;
  }
  return end;
};

const agreeAt = ({ digests, fromBlock }: Guess, chain: Uint32Array, block: number): boolean => {
  const at = (block - fromBlock) * 2;
  return digests[at] === chain[block * 2] && digests[at + 1] === chain[block * 2 + 1];
};
