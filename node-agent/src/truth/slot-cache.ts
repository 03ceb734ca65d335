/**
 * The guess for engines that keep one prompt a sequence: a request goes to the free slot whose prompt shares most with
 * its own, else to the one that was used longest ago, and what that slot held beyond is gone.
 *
 *   slot 1   A B C D        request A B X  ->  slot 1   A B X      C, D are gone
 *   slot 2   A E                               slot 2   A E
 */
import { sharedLength } from '@cognitora/protocol/prefix/shared-length';
import type { CacheModel, Run } from './cache-model.ts';
import type { Digest, KvLedger } from './kv-ledger.ts';

interface Slot {
  ledger: KvLedger | undefined;
  chain: readonly Digest[];
  run: Run | undefined;
  lastUse: number;
}

export class SlotCache implements CacheModel {
  readonly #slots: readonly Slot[];
  /** In how many slots a block is. A digest belongs to one model. */
  readonly #slotsOf = new Map<Digest, number>();
  #uses = 0;

  constructor(slots: number) {
    this.#slots = Array.from({ length: slots }, () => ({
      ledger: undefined,
      chain: [],
      run: undefined,
      lastUse: 0,
    }));
  }

  hold(run: Run, chain: ArrayLike<Digest>): void {
    const slot = this.#slots.find((candidate) => candidate.run === run) ?? this.#choose(chain);
    if (slot === undefined) return;
    this.#uses += 1;
    slot.run = run;
    slot.lastUse = this.#uses;
    this.#fill(slot, run.ledger, Array.from(chain));
  }

  release(run: Run): void {
    const slot = this.#slots.find((candidate) => candidate.run === run);
    if (slot !== undefined) slot.run = undefined;
  }

  lost(run: Run, digest: Digest): void {
    for (const slot of this.#slots) {
      const at = slot.chain.indexOf(digest);
      if (at >= 0 && slot.run !== run && slot.ledger !== undefined) {
        this.#fill(slot, slot.ledger, slot.chain.slice(0, at));
      }
    }
  }

  learn(): void {}

  had(): void {}

  forget(ledger: KvLedger): void {
    for (const slot of this.#slots) if (slot.ledger === ledger) this.#fill(slot, ledger, []);
  }

  /** Where all are taken, our count is wrong by one that is over already. */
  #choose(chain: ArrayLike<Digest>): Slot | undefined {
    const free = this.#slots.filter(({ run }) => run === undefined);
    let best: Slot | undefined;
    let bestShared = 0;
    for (const slot of free.length === 0 ? this.#slots : free) {
      const shared = sharedLength(slot.chain, chain);
      const isBetter = best === undefined || shared > bestShared;
      if (!isBetter && (shared < bestShared || slot.lastUse >= (best?.lastUse ?? 0))) continue;
      best = slot;
      bestShared = shared;
    }
    return best;
  }

  #fill(slot: Slot, ledger: KvLedger, chain: readonly Digest[]): void {
    const before = slot.chain;
    for (const digest of chain) this.#slotsOf.set(digest, (this.#slotsOf.get(digest) ?? 0) + 1);
    ledger.add(chain, slot.lastUse);
    for (const digest of before) {
      const slots = (this.#slotsOf.get(digest) ?? 1) - 1;
      if (slots > 0) this.#slotsOf.set(digest, slots);
      else {
        this.#slotsOf.delete(digest);
        slot.ledger?.remove(digest);
      }
    }
    slot.ledger = ledger;
    slot.chain = chain;
  }
}
