/**
 * The guess for engines that keep prompts in pages (blocks of tokens that prompts share): what was used last stays,
 * for as many tokens as the engine has room for, of all models of the replica together.
 */

import { BlockTokens, type CacheModel, type Run, replicaDigestsMax } from './cache-model.ts';
import { tokensMax as capacityTokensMax } from './capacity.ts';
import type { Digest, KvLedger } from './kv-ledger.ts';

/** Of one model, before looks are taken at the others: a look at the oldest block of a large ledger is not free. */
const evictedAtOnce = 64;

export class PagedCache implements CacheModel {
  #capacityTokens: number;
  /** Nobody told it: it grows with what the engine is seen to hold. */
  readonly #isGuess: boolean;
  readonly #block: BlockTokens;
  readonly #ledgers = new Set<KvLedger>();
  #uses = 0;

  constructor(capacityTokens: number, priorTokensPerBlock: number, isGuess = false) {
    this.#capacityTokens = capacityTokens;
    this.#isGuess = isGuess;
    this.#block = new BlockTokens(priorTokensPerBlock);
  }

  hold({ ledger }: Run, chain: ArrayLike<Digest>): void {
    this.#uses += 1;
    this.#ledgers.add(ledger);
    ledger.add(chain, this.#uses);
    this.#makeRoom();
  }

  release(): void {}

  lost({ ledger }: Run, digest: Digest): void {
    ledger.removeBranch(digest);
  }

  learn(tokensPerBlock: number): void {
    this.#block.learn(tokensPerBlock);
  }

  had(cachedTokens: number): void {
    if (!this.#isGuess) return;
    this.#capacityTokens = Math.min(capacityTokensMax, Math.max(this.#capacityTokens, cachedTokens));
  }

  forget(ledger: KvLedger): void {
    this.#ledgers.delete(ledger);
  }

  #makeRoom(): void {
    const blocksMax = Math.min(replicaDigestsMax, Math.floor(this.#capacityTokens / this.#block.tokens));
    let blocks = 0;
    for (const ledger of this.#ledgers) blocks += ledger.size;
    while (blocks > blocksMax) {
      const some = Math.min(blocks - blocksMax, this.#ledgers.size === 1 ? blocks : evictedAtOnce);
      const oldest = this.#oldest();
      if (oldest === undefined) return;
      blocks -= Math.min(some, oldest.size);
      oldest.evict(some);
    }
  }

  #oldest(): KvLedger | undefined {
    let oldest: KvLedger | undefined;
    for (const ledger of this.#ledgers) {
      const use = ledger.oldestUse;
      if (use !== undefined && use < (oldest?.oldestUse ?? Number.POSITIVE_INFINITY)) oldest = ledger;
    }
    return oldest;
  }
}
