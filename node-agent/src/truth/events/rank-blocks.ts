/**
 * The blocks of an engine with several ranks, each with a cache of its own. Nobody outside knows which rank a request
 * will come to, so a block counts as held when every rank holds it: less than there may be, never more. Pure.
 */
import { eventRanksMax } from '../../config/limits.ts';
import type { Digest } from '../kv-ledger.ts';
import { type BlockChanges, TokenBlocks } from './token-blocks.ts';
import type { KvEvent } from './wire.ts';

export class RankBlocks {
  readonly #ranks = new Map<number, TokenBlocks>();

  /** So many that are known from the start; events may tell of more. */
  constructor(ranks = 1) {
    for (let rank = 0; rank < ranks; rank += 1) this.#ranks.set(rank, new TokenBlocks());
  }

  /** As the engine's events say; undefined until one has. */
  get blockTokens(): number | undefined {
    for (const { blockTokens } of this.#ranks.values()) if (blockTokens !== undefined) return blockTokens;
    return undefined;
  }

  holds(digest: Digest): boolean {
    return this.#allHold(digest, undefined);
  }

  /** Whether any rank holds it. */
  isNamed(digest: Digest): boolean {
    for (const blocks of this.#ranks.values()) if (blocks.holds(digest)) return true;
    return false;
  }

  /** The engine is another one, whose blocks may be of another size. */
  clear(): void {
    for (const rank of this.#ranks.keys()) this.#ranks.set(rank, new TokenBlocks());
  }

  apply(events: readonly KvEvent[], rank = 0): BlockChanges {
    const isNew = !this.#ranks.has(rank);
    if (isNew && this.#ranks.size >= eventRanksMax) return { isCleared: false, held: [], gone: [] };
    const blocks = this.#ranks.get(rank) ?? new TokenBlocks();
    this.#ranks.set(rank, blocks);
    const { isCleared, held, gone } = blocks.apply(events);
    const inAll = (digest: Digest): boolean => this.#allHold(digest, blocks);
    return {
      // What only the others hold counts no longer, once there is one more.
      isCleared: isCleared || isNew,
      held: held.filter(inAll),
      gone: gone.filter(inAll),
    };
  }

  #allHold(digest: Digest, but: TokenBlocks | undefined): boolean {
    for (const blocks of this.#ranks.values()) if (blocks !== but && !blocks.holds(digest)) return false;
    return true;
  }
}
