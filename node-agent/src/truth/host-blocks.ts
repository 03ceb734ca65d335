/**
 * What a replica's host keeps of prompts beside its engine, as the feeds of that replica tell it: one ledger for each
 * feed, all of the same blocks. Bounded as the ledgers are; the blocks that came first make room. Knows no store.
 */
import { kvDigestsPerFeedMax } from '@cognitora/protocol/limits';
import { type Digest, KvLedger } from './kv-ledger.ts';

export class HostBlocks {
  readonly #held = new Set<Digest>();
  readonly #ledgers = new Set<KvLedger>();
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#held.size;
  }

  /** For one feed. */
  open(): KvLedger {
    const ledger = new KvLedger();
    this.#ledgers.add(ledger);
    // One by one: they need not be a chain.
    for (const digest of this.#held) ledger.add([digest], 0);
    return ledger;
  }

  close(ledger: KvLedger): void {
    this.#ledgers.delete(ledger);
  }

  add(digests: Iterable<Digest>): void {
    for (const digest of digests) {
      this.#held.delete(digest);
      this.#held.add(digest);
      for (const ledger of this.#ledgers) ledger.add([digest], 0);
    }
    for (const digest of this.#held) {
      if (this.#held.size <= kvDigestsPerFeedMax) break;
      this.#held.delete(digest);
    }
    this.#onChange();
  }

  remove(digests: Iterable<Digest>): void {
    for (const digest of digests) {
      this.#held.delete(digest);
      for (const ledger of this.#ledgers) ledger.remove(digest);
    }
    this.#onChange();
  }

  /** Not as an engine's end is told, which takes its own blocks along. */
  clear(): void {
    this.remove([...this.#held]);
  }
}
