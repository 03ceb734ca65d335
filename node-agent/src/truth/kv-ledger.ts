/**
 * What one replica holds of one model, as prefix digests: a set in the order of use, each digest with the one before
 * it in its chain, and what changed since the last delta. Pure. Owns the sequence; knows neither links nor engines.
 * Whoever applies a cut and then all later deltas, in sequence, holds exactly what the ledger holds.
 *
 *   oldest use  ... third, second, first block of a chain ...  newest use
 */
import { kvDigestsPerFeedMax, kvDigestsPerMessageMax } from '@cognitora/protocol/limits';

/** A digest as one number: its first word is the low half. */
export type Digest = bigint;

export interface LedgerDelta {
  readonly sequence: number;
  readonly isCleared: boolean;
  /** Pairs of low and high word. */
  readonly added: Uint32Array;
  readonly removed: Uint32Array;
}

/** All that was held right after the delta `sequence`. */
export interface LedgerCut {
  readonly sequence: number;
  /** Pairs of low and high word. */
  readonly digests: Uint32Array;
}

interface Entry {
  /** Grows with each use. */
  readonly use: number;
  readonly parent: Digest | undefined;
}

/** Pairs of words as numbers. */
export const digestsOf = (words: Uint32Array): BigUint64Array<ArrayBuffer> =>
  new BigUint64Array(words.slice().buffer);

const wordsOf = (digests: readonly Digest[]): Uint32Array =>
  new Uint32Array(BigUint64Array.from(digests).buffer);

export class KvLedger {
  readonly #digestsMax: number;
  /** Oldest use first; each block before the blocks that it stands on. */
  readonly #held = new Map<Digest, Entry>();
  /** Which held blocks stand right on a block: as a rule one, so that only more of them cost a set. */
  readonly #children = new Map<Digest, Digest | Set<Digest>>();
  /** Against what was held at the last delta. */
  readonly #added = new Set<Digest>();
  readonly #removed = new Set<Digest>();
  #isCleared = false;
  #sequence = 0;

  constructor(digestsMax = kvDigestsPerFeedMax) {
    this.#digestsMax = digestsMax;
  }

  /** The last delta that was taken. */
  get sequence(): number {
    return this.#sequence;
  }

  get size(): number {
    return this.#held.size;
  }

  get hasChanges(): boolean {
    return this.#isCleared || this.#added.size > 0 || this.#removed.size > 0;
  }

  /** When the block that was not used for longest was used. */
  get oldestUse(): number | undefined {
    const [first] = this.#held.values();
    return first?.use;
  }

  has(digest: Digest): boolean {
    return this.#held.has(digest);
  }

  /** How many of a chain's blocks are held, from its beginning on. */
  heldOf(chain: ArrayLike<Digest>): number {
    let blocks = 0;
    while (blocks < chain.length && this.#held.has(chain[blocks] ?? 0n)) blocks += 1;
    return blocks;
  }

  /** A chain was used: all its blocks are held now, the first of them as the newest. */
  add(chain: ArrayLike<Digest>, use: number): void {
    for (let at = Math.min(chain.length, this.#digestsMax) - 1; at >= 0; at -= 1) {
      const digest = chain[at] ?? 0n;
      const parent = at === 0 ? undefined : chain[at - 1];
      const before = this.#held.get(digest);
      if (before === undefined && !this.#removed.delete(digest)) this.#added.add(digest);
      if (before === undefined || before.parent !== parent) {
        this.#unlink(digest, before?.parent);
        this.#link(digest, parent);
      }
      // Deleted first, so that it comes last in the order of use.
      this.#held.delete(digest);
      this.#held.set(digest, { use, parent });
    }
    if (this.#held.size > this.#digestsMax) this.evict(this.#held.size - this.#digestsMax);
  }

  /** Drops the blocks that were not used for longest. */
  evict(blocks: number): void {
    let left = blocks;
    for (const digest of this.#held.keys()) {
      if (left <= 0) return;
      left -= 1;
      this.remove(digest);
    }
  }

  remove(digest: Digest): void {
    const entry = this.#held.get(digest);
    if (entry === undefined) return;
    this.#held.delete(digest);
    this.#unlink(digest, entry.parent);
    if (!this.#added.delete(digest)) this.#removed.add(digest);
  }

  /** Drops a block and all that stand on it, which an engine without it cannot use. Costs what it drops. */
  removeBranch(root: Digest): void {
    const gone = [root];
    for (let digest = gone.pop(); digest !== undefined; digest = gone.pop()) {
      this.remove(digest);
      const children = this.#children.get(digest);
      if (typeof children === 'bigint') gone.push(children);
      else if (children !== undefined) gone.push(...children);
    }
  }

  /** All is gone. */
  clear(): void {
    this.#held.clear();
    this.#children.clear();
    this.#added.clear();
    this.#removed.clear();
    this.#isCleared = true;
  }

  /** Who was told forgot all of it: all that is held is told anew. */
  retell(): void {
    this.#removed.clear();
    for (const digest of this.#held.keys()) this.#added.add(digest);
  }

  /** What changed since the last delta, as much as one message holds; removals go first. Undefined: nothing. */
  takeDelta(digestsMax = kvDigestsPerMessageMax): LedgerDelta | undefined {
    if (!this.hasChanges) return undefined;
    this.#sequence += 1;
    const isCleared = this.#isCleared;
    this.#isCleared = false;
    const removed = takeFrom(this.#removed, digestsMax);
    const added = takeFrom(this.#added, digestsMax - removed.length);
    return { sequence: this.#sequence, isCleared, added: wordsOf(added), removed: wordsOf(removed) };
  }

  /** What changed is for nobody: whoever listens next asks for a cut. */
  settle(): void {
    if (!this.hasChanges) return;
    this.#sequence += 1;
    this.#isCleared = false;
    this.#added.clear();
    this.#removed.clear();
  }

  /** All that is held. Take the deltas first: a cut stands at a sequence, not between two. */
  cut(): LedgerCut {
    if (this.hasChanges) throw new Error('a cut with changes that no delta has told');
    return { sequence: this.#sequence, digests: wordsOf([...this.#held.keys()].reverse()) };
  }

  #link(digest: Digest, parent: Digest | undefined): void {
    if (parent === undefined) return;
    const children = this.#children.get(parent);
    if (children === undefined) this.#children.set(parent, digest);
    else if (typeof children === 'bigint') this.#children.set(parent, new Set([children, digest]));
    else children.add(digest);
  }

  #unlink(digest: Digest, parent: Digest | undefined): void {
    if (parent === undefined) return;
    const children = this.#children.get(parent);
    if (children === digest) this.#children.delete(parent);
    else if (typeof children === 'object' && children.delete(digest) && children.size === 0) {
      this.#children.delete(parent);
    }
  }
}

const takeFrom = (digests: Set<Digest>, max: number): readonly Digest[] => {
  const taken: Digest[] = [];
  for (const digest of digests) {
    if (taken.length >= max) break;
    taken.push(digest);
    digests.delete(digest);
  }
  return taken;
};
