/**
 * Which prefix digests an engine's token blocks confirm. A digest is held while the engine holds a block of tokens that
 * reaches to where the digest's text ends in the rendered prompt. Pure; writes to a ledger. Whatever is forgotten here
 * for want of room is no longer claimed.
 *
 *   prompt: digest -> the token block that it needs      engine: token block held, or gone
 *                        \______ both known: digest in the ledger ______/
 */
import type { Digest, KvLedger } from '../kv-ledger.ts';

/** Digests that wait for a token block or stand on one: as many as a ledger holds. */
export const pairsMax = 131_072;

const listed = (digests: Digest | Set<Digest> | undefined): readonly Digest[] => {
  if (digests === undefined) return [];
  return digests instanceof Set ? [...digests] : [digests];
};

export class ConfirmedDigests {
  readonly #ledger: KvLedger;
  readonly #isHeld: (block: Digest) => boolean;
  readonly #pairsMax: number;
  /** By token block, oldest first. As a rule one digest needs a block, so that only more of them cost a set. */
  readonly #needing = new Map<Digest, Digest | Set<Digest>>();
  /** How many held blocks confirm a digest. */
  readonly #confirmations = new Map<Digest, number>();
  #pairs = 0;
  #uses = 0;

  constructor(ledger: KvLedger, isHeld: (block: Digest) => boolean, max = pairsMax) {
    this.#ledger = ledger;
    this.#isHeld = isHeld;
    this.#pairsMax = max;
  }

  /** A prompt was seen in which this digest needs that token block. */
  learn(digest: Digest, block: Digest): void {
    const before = this.#needing.get(block);
    const isKnown = before === digest || (before instanceof Set && before.has(digest));
    // What prompts go on showing is the last to be forgotten.
    this.#needing.delete(block);
    if (before === undefined || isKnown) this.#needing.set(block, before ?? digest);
    else this.#needing.set(block, new Set([...listed(before), digest]));
    if (isKnown) return;
    this.#pairs += 1;
    if (this.#isHeld(block)) this.#confirm(digest);
    this.#makeRoom();
  }

  held(block: Digest): void {
    for (const digest of listed(this.#needing.get(block))) this.#confirm(digest);
  }

  gone(block: Digest): void {
    for (const digest of listed(this.#needing.get(block))) this.#withdraw(digest);
  }

  /** The engine holds nothing. What prompts need is still known. */
  cleared(): void {
    this.#confirmations.clear();
    this.#ledger.clear();
  }

  #confirm(digest: Digest): void {
    const before = this.#confirmations.get(digest) ?? 0;
    this.#confirmations.set(digest, before + 1);
    this.#uses += 1;
    if (before === 0) this.#ledger.add([digest], this.#uses);
  }

  #withdraw(digest: Digest): void {
    const left = (this.#confirmations.get(digest) ?? 0) - 1;
    if (left > 0) this.#confirmations.set(digest, left);
    else {
      this.#confirmations.delete(digest);
      this.#ledger.remove(digest);
    }
  }

  #makeRoom(): void {
    for (const [block, needing] of this.#needing) {
      if (this.#pairs <= this.#pairsMax) return;
      const digests = listed(needing);
      if (this.#isHeld(block)) for (const digest of digests) this.#withdraw(digest);
      this.#needing.delete(block);
      this.#pairs -= digests.length;
    }
  }
}
