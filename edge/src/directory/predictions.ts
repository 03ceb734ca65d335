/**
 * What decisions have made likely: blocks that a replica will hold because a request was just sent there. Written in
 * the turn of the decision, so that the siblings of a burst see it; a guess ends at its deadline, or when its request
 * takes it back. Bounded: when there is no room, what ends soonest among a few gives way, and the rest of a prompt
 * stays unpredicted rather than push out what lasts longer. Knows nothing of what is confirmed.
 *
 *   prompt:    0 . . . . . . . . . 32 . . . . . . . . . 64 . . . .
 *   guess:                 from [ d d d d d d d d d d d d d ] to         blocks of one prompt on one replica
 *   found by:                     ^ ^                   ^                its first block, and each 32nd of the prompt
 *
 * Digests are a chain: prompts that agree in one block agree in all before it. So who is expected to hold block 70 is
 * found by blocks 64 to 70, how far by bisection, and neither making a guess nor asking looks at each of its blocks. (A
 * table with an entry for each block and replica took 125 ns a block, a quarter of a cold decision.)
 *
 * Guesses about one replica that begin alike share what they have in common, as a tree of stretches: the turns of a
 * session that wait in one queue take the room of the longest, not of their sum. A stretch stands as long as any guess
 * that ends with it or behind it.
 *
 *   turn 1:  [ a a a a a a ]                  a --+-- b -- c
 *   turn 2:  [ a a a a a a b b c c ]              |
 *   other:   [ a a a a a a d d ]                  +-- d
 */
import { replicasPerCellMax, type Slot } from './replica-slots.ts';

/**
 * Guesses of one cell, unless configured: 320 cold prompts of 128 k tokens, or 8,000 turns of 40 blocks. With a quarter
 * of that a saturated fleet forgot what it had just decided (note 5).
 */
export const predictionsBytesDefault = 8 * 2 ** 20;

/** A stretch is found by each block whose number in the prompt this divides. */
const anchorBlocks = 32;
/** Of the stretches found by one block, so many are looked at, the latest first: two for each replica. */
const siblingsMax = 2 * replicasPerCellMax;
/** Stretches looked at with each new guess: all of them once while a quarter as many are made. */
const handSteps = 4;
/** Stretches looked at for one that gives way. */
const roomSteps = 24;

const digestBytes = 8;
/** What an engine takes for a stretch, its arrays and a guess, and for a place where it is found, about. */
const stretchBytes = 384;
const anchorBytes = 128;
const noDigests = new Uint32Array();

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
  readonly deadlineMs: number;
  /** With which it ends; undefined when there was no room, or it is taken back. */
  last: Stretch | undefined;
}

/** Blocks of one prompt on one replica, each of which the same guesses are about. */
interface Stretch {
  fromBlock: number;
  readonly toBlock: number;
  /** Of its blocks alone. */
  digests: Uint32Array;
  readonly slot: Slot;
  readonly generation: number;
  before: Stretch | undefined;
  readonly after: Stretch[];
  readonly guesses: Guess[];
  /** The latest of the guesses that end with it or behind it. */
  deadlineMs: number;
  /** Its place among all; -1 when it is gone. */
  at: number;
}

/** How much of a prompt stretches have: up to `end`, which is within the last of them or where that ends. */
interface Shared {
  readonly last: Stretch | undefined;
  readonly end: number;
}

export class Predictions {
  readonly #bytesMax: number;
  readonly #stretches: Stretch[] = [];
  /** By a part of the digest of an anchor, in the order in which they were made. */
  readonly #byAnchor = new Map<number, Stretch[]>();
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

  /** Stretches, with those that have ended and were not removed yet. */
  get size(): number {
    return this.#stretches.length;
  }

  /** Expects the blocks on the replica until the deadline. */
  add(options: PredictionOptions): Prediction {
    const { fromBlock, toBlock, nowMs, deadlineMs } = options;
    this.#removeEnded(nowMs);
    let shared = this.#sharedOf(options);
    while (this.#bytes + bytesBeyond(shared, toBlock) > this.#bytesMax) {
      if (!this.#makeRoom(nowMs, deadlineMs)) break;
      shared = this.#sharedOf(options);
    }
    const last = this.#grow(shared, options);
    const guess: Guess = { fromBlock, toBlock: last?.toBlock ?? fromBlock, deadlineMs, last };
    last?.guesses.push(guess);
    for (let one = last; one !== undefined && one.deadlineMs < deadlineMs; one = one.before) {
      one.deadlineMs = deadlineMs;
    }
    return guess;
  }

  /** What the request made likely is so no more. Again means nothing, nor does one that was made elsewhere. */
  takeBack(prediction: Prediction): void {
    const guess = prediction as Guess;
    const { last } = guess;
    guess.last = undefined;
    if (last === undefined || this.#stretches[last.at] !== last) return;
    last.guesses.splice(last.guesses.indexOf(guess), 1);
    this.#release(last);
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
    if (this.#stretches.length === 0) return;
    for (let at = block; at >= 0; at -= 1) {
      const found = this.#byAnchor.get(anchorOf(chain, at));
      if (found !== undefined) this.#extendBy(found, chain, block, blocks, nowMs, untilBlock);
      if (at % anchorBlocks === 0) return;
    }
  }

  #extendBy(
    found: readonly Stretch[],
    chain: Uint32Array,
    block: number,
    blocks: number,
    nowMs: number,
    untilBlock: Uint16Array,
  ): void {
    const last = Math.max(0, found.length - siblingsMax);
    for (let index = found.length - 1; index >= last; index -= 1) {
      const stretch = found[index];
      if (stretch === undefined || !this.#isAlive(stretch, nowMs)) continue;
      let end = endOf(stretch, chain, block, blocks);
      if (end === stretch.toBlock && end < blocks) end = this.#endBehind(stretch, chain, blocks, nowMs);
      if (end > (untilBlock[stretch.slot] ?? 0)) untilBlock[stretch.slot] = end;
    }
  }

  /** How far those go on with the prompt that stand behind this stretch, all of which it has. */
  #endBehind(stretch: Stretch, chain: Uint32Array, blocks: number, nowMs: number): number {
    let last = stretch;
    let end = stretch.toBlock;
    while (end === last.toBlock && end < blocks) {
      const next = this.#following(last, end, chain, last.slot);
      if (next === undefined || !this.#isAlive(next, nowMs)) break;
      last = next;
      end = endOf(next, chain, end, blocks);
    }
    return end;
  }

  #isAlive({ slot, generation, deadlineMs }: Stretch, nowMs: number): boolean {
    return deadlineMs > nowMs && generation === this.#generations[slot];
  }

  /** Ended stretches count: they may stand again. */
  #sharedOf(options: PredictionOptions): Shared {
    const { chain, fromBlock, toBlock, slot } = options;
    let last: Stretch | undefined;
    let end = fromBlock;
    while (end < toBlock) {
      const next = this.#following(last, end, chain, slot);
      if (next === undefined) break;
      last = next;
      end = endOf(next, chain, end, toBlock);
      if (end < next.toBlock) break;
    }
    return { last, end };
  }

  /** The stretch that goes on after `before` with the prompt's `block`, or begins there when nothing is before it. */
  #following(
    before: Stretch | undefined,
    block: number,
    chain: Uint32Array,
    slot: Slot,
  ): Stretch | undefined {
    const found = this.#byAnchor.get(anchorOf(chain, block)) ?? [];
    const last = Math.max(0, found.length - siblingsMax);
    for (let index = found.length - 1; index >= last; index -= 1) {
      const stretch = found[index];
      if (stretch === undefined || stretch.slot !== slot || stretch.before !== before) continue;
      if (stretch.fromBlock !== block || stretch.generation !== this.#generations[slot]) continue;
      if (agreeAt(stretch, chain, block)) return stretch;
    }
    return undefined;
  }

  /** The stretch that ends where the guess does, as far as there is room; undefined where there is none. */
  #grow({ last, end }: Shared, options: PredictionOptions): Stretch | undefined {
    const { chain, toBlock, slot } = options;
    let before = last;
    if (last !== undefined && end < last.toBlock) {
      if (this.#bytes + splitBytes > this.#bytesMax) return undefined;
      before = this.#split(last, end);
    }
    const until = fittingEnd(end, toBlock, this.#bytesMax - this.#bytes);
    if (until <= end) return before;
    const stretch: Stretch = {
      fromBlock: end,
      toBlock: until,
      digests: chain.slice(end * 2, until * 2),
      slot,
      generation: this.#generations[slot] ?? 0,
      before,
      after: [],
      guesses: [],
      deadlineMs: 0,
      at: -1,
    };
    before?.after.push(stretch);
    this.#insert(stretch);
    return stretch;
  }

  /** Cuts a stretch in two. What ended with it does so still; returns the one that is now before it. */
  #split(stretch: Stretch, atBlock: number): Stretch {
    const { fromBlock, digests, before } = stretch;
    const cut = (atBlock - fromBlock) * 2;
    this.#remove(stretch);
    const head: Stretch = {
      ...stretch,
      toBlock: atBlock,
      digests: digests.slice(0, cut),
      after: [stretch],
      guesses: [],
    };
    before?.after.splice(before.after.indexOf(stretch), 1, head);
    stretch.before = head;
    stretch.fromBlock = atBlock;
    stretch.digests = digests.slice(cut);
    this.#insert(head);
    this.#insert(stretch);
    return head;
  }

  /** One guess or stretch less needs it: it goes, or ends sooner, and so on with those before it. */
  #release(stretch: Stretch): void {
    for (let one: Stretch | undefined = stretch; one !== undefined; one = one.before) {
      if (one.after.length + one.guesses.length === 0) {
        this.#cutOff(one);
        continue;
      }
      const latestMs = latestOf(one);
      if (latestMs === one.deadlineMs) return;
      one.deadlineMs = latestMs;
    }
  }

  /** Gone, with what stands behind it. */
  #cutOff(stretch: Stretch): void {
    const { before } = stretch;
    if (stretch.at >= 0) this.#remove(stretch);
    stretch.digests = noDigests;
    const at = before?.after.indexOf(stretch) ?? -1;
    if (at >= 0) before?.after.splice(at, 1);
  }

  #insert(stretch: Stretch): void {
    stretch.at = this.#stretches.push(stretch) - 1;
    this.#bytes += bytesOf(stretch.fromBlock, stretch.toBlock);
    for (let block = stretch.fromBlock; block < stretch.toBlock; block = nextAnchor(block)) {
      const anchor = anchorOf(stretch.digests, block - stretch.fromBlock);
      const found = this.#byAnchor.get(anchor);
      if (found === undefined) this.#byAnchor.set(anchor, [stretch]);
      else found.push(stretch);
    }
  }

  #remove(stretch: Stretch): void {
    const last = this.#stretches.pop();
    if (last !== undefined && last !== stretch) {
      this.#stretches[stretch.at] = last;
      last.at = stretch.at;
    }
    stretch.at = -1;
    this.#bytes -= bytesOf(stretch.fromBlock, stretch.toBlock);
    for (let block = stretch.fromBlock; block < stretch.toBlock; block = nextAnchor(block)) {
      const anchor = anchorOf(stretch.digests, block - stretch.fromBlock);
      const found = this.#byAnchor.get(anchor) ?? [];
      if (found.length <= 1) this.#byAnchor.delete(anchor);
      else found.splice(found.indexOf(stretch), 1);
    }
  }

  #atHand(): Stretch | undefined {
    if (this.#hand >= this.#stretches.length) this.#hand = 0;
    return this.#stretches[this.#hand];
  }

  #removeEnded(nowMs: number): void {
    for (let step = 0; step < handSteps; step += 1) {
      const stretch = this.#atHand();
      if (stretch === undefined) return;
      if (this.#isAlive(stretch, nowMs)) this.#hand += 1;
      else this.#giveUp(stretch);
    }
  }

  /** Its guesses stand no more, whatever their requests do. */
  #giveUp(stretch: Stretch): void {
    this.#cutOff(stretch);
    for (const guess of stretch.guesses) guess.last = undefined;
    stretch.guesses.length = 0;
    if (stretch.before !== undefined) this.#release(stretch.before);
  }

  /** True when a stretch that ends before this deadline, with nothing behind it, has given way. */
  #makeRoom(nowMs: number, deadlineMs: number): boolean {
    let soonest: Stretch | undefined;
    let soonestMs = deadlineMs;
    for (let step = 0; step < roomSteps && soonestMs > 0; step += 1) {
      const stretch = this.#atHand();
      if (stretch === undefined) break;
      this.#hand += 1;
      const endsMs = this.#isAlive(stretch, nowMs) ? stretch.deadlineMs : 0;
      if (endsMs >= soonestMs || (endsMs > 0 && stretch.after.length > 0)) continue;
      soonest = stretch;
      soonestMs = endsMs;
    }
    if (soonest !== undefined) this.#giveUp(soonest);
    return soonest !== undefined;
  }
}

/** Of 32 bits so many that they are a small integer in every engine; who is found is compared with all of them. */
const anchorOf = (digests: Uint32Array, block: number): number => (digests[block * 2] ?? 0) >>> 2;

const nextAnchor = (block: number): number => block - (block % anchorBlocks) + anchorBlocks;

const bytesOf = (fromBlock: number, toBlock: number): number => {
  const blocks = Math.max(0, toBlock - fromBlock);
  return stretchBytes + digestBytes * blocks + anchorBytes * Math.ceil(1 + blocks / anchorBlocks);
};

/** What a stretch takes more in two parts, at most. */
const splitBytes = stretchBytes + 2 * anchorBytes;

/** What a guess up to `toBlock` takes beside what it shares. */
const bytesBeyond = ({ last, end }: Shared, toBlock: number): number =>
  (last !== undefined && end < last.toBlock ? splitBytes : 0) + (end < toBlock ? bytesOf(end, toBlock) : 0);

const latestOf = ({ after, guesses }: Stretch): number => {
  let latestMs = 0;
  for (const { deadlineMs } of after) latestMs = Math.max(latestMs, deadlineMs);
  for (const { deadlineMs } of guesses) latestMs = Math.max(latestMs, deadlineMs);
  return latestMs;
};

/** As many of the blocks as fit. */
const fittingEnd = (fromBlock: number, toBlock: number, roomBytes: number): number => {
  if (bytesOf(fromBlock, toBlock) <= roomBytes) return Math.max(fromBlock, toBlock);
  const forBlocks = roomBytes - stretchBytes - 2 * anchorBytes;
  return fromBlock + Math.max(0, Math.floor(forBlocks / (digestBytes + anchorBytes / anchorBlocks)));
};

/** Where the prompt and the stretch part, or either ends; 0 when the stretch is not about that block of it. */
const endOf = (stretch: Stretch, chain: Uint32Array, block: number, blocks: number): number => {
  const { fromBlock, toBlock } = stretch;
  if (block < fromBlock || block >= toBlock || !agreeAt(stretch, chain, block)) return 0;
  let agreed = block;
  let end = Math.min(toBlock, blocks);
  if (agreeAt(stretch, chain, end - 1)) return end;
  while (end - agreed > 1) {
    const middle = (agreed + end) >>> 1;
    if (agreeAt(stretch, chain, middle)) agreed = middle;
    else end = middle;
  }
  return end;
};

const agreeAt = ({ digests, fromBlock }: Stretch, chain: Uint32Array, block: number): boolean => {
  const at = (block - fromBlock) * 2;
  return digests[at] === chain[block * 2] && digests[at + 1] === chain[block * 2 + 1];
};
