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

export class ConfirmedDigests {
  readonly #ledger: KvLedger;
  readonly #isHeld: (block: Digest) => boolean;
  readonly #pairsMax: number;
  /** By token block, oldest first. */
  readonly #needing = new Map<Digest, Set<Digest>>();
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
    const needing = this.#needing.get(block) ?? new Set();
    // What prompts go on showing is the last to be forgotten.
    this.#needing.delete(block);
    this.#needing.set(block, needing);
    if (needing.has(digest)) return;
    needing.add(digest);
    this.#pairs += 1;
    if (this.#isHeld(block)) this.#confirm(digest);
    this.#makeRoom();
  }

  held(block: Digest): void {
    for (const digest of this.#needing.get(block) ?? []) this.#confirm(digest);
  }

  gone(block: Digest): void {
    for (const digest of this.#needing.get(block) ?? []) this.#withdraw(digest);
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
    for (const [block, digests] of this.#needing) {
      if (this.#pairs <= this.#pairsMax) return;
      if (this.#isHeld(block)) for (const digest of digests) this.#withdraw(digest);
      this.#needing.delete(block);
      this.#pairs -= digests.size;
    }
  }
}
