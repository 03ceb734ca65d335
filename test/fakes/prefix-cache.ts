/**
 * Blocks of tokens as engines keep them: named by a hash over all tokens so far, the least recently used evicted first.
 * What changed is told; how an engine writes that is its fake's own, but for the maps of vLLM.
 */
import { createHash } from 'node:crypto';
import type { Packable } from './msgpack.ts';

const hashOf = (parent: bigint | null, tokens: readonly number[]): bigint =>
  createHash('sha256')
    .update(`${parent} ${tokens.join(' ')}`)
    .digest()
    .readBigUInt64BE(24);

/** Blocks that were stored on one another. */
export interface StoredBlocks {
  readonly names: readonly bigint[];
  readonly parent: bigint | null;
  readonly tokens: readonly number[];
}

/** What is gone goes first. */
export interface CacheChange {
  readonly removed: readonly bigint[];
  readonly stored: StoredBlocks | undefined;
}

export class PrefixCache {
  readonly #blocksMax: number;
  readonly #blockTokens: number;
  /** Least recently used first. */
  readonly #blocks = new Set<bigint>();

  constructor(blocksMax: number, blockTokens = 16) {
    this.#blocksMax = blocksMax;
    this.#blockTokens = blockTokens;
  }

  /** Tokens at the start that are there; the last token of all is always computed. */
  cachedTokens(tokens: readonly number[]): number {
    const chain = this.#chain(tokens.slice(0, -1));
    const missing = chain.findIndex((name) => !this.#blocks.has(name));
    return (missing < 0 ? chain.length : missing) * this.#blockTokens;
  }

  /** Tokens were computed: what changed. */
  store(tokens: readonly number[]): CacheChange {
    const chain = this.#chain(tokens);
    const first = chain.findIndex((name) => !this.#blocks.has(name));
    // A prompt's last block goes first.
    for (const name of [...chain].reverse()) {
      this.#blocks.delete(name);
      this.#blocks.add(name);
    }
    if (first < 0) return { removed: [], stored: undefined };
    const stored = {
      names: chain.slice(first),
      parent: chain[first - 1] ?? null,
      tokens: tokens.slice(first * this.#blockTokens, chain.length * this.#blockTokens),
    };
    return { removed: this.#evict(), stored };
  }

  clear(): void {
    this.#blocks.clear();
  }

  #chain(tokens: readonly number[]): readonly bigint[] {
    const names: bigint[] = [];
    for (let at = this.#blockTokens; at <= tokens.length; at += this.#blockTokens) {
      names.push(hashOf(names.at(-1) ?? null, tokens.slice(at - this.#blockTokens, at)));
    }
    return names;
  }

  #evict(): readonly bigint[] {
    const removed: bigint[] = [];
    for (const name of this.#blocks) {
      if (this.#blocks.size <= this.#blocksMax) break;
      this.#blocks.delete(name);
      removed.push(name);
    }
    return removed;
  }
}

/** As events in maps, in the order of the fields of vLLM 0.32. */
export const mapEvents = ({ removed, stored }: CacheChange, blockTokens = 16): readonly Packable[] => {
  const gone = removed.map((name) => ({
    ...{ type: 'BlockRemoved', block_hashes: [name], medium: 'GPU', group_idx: 0 },
  }));
  if (stored === undefined) return gone;
  const { names, parent, tokens } = stored;
  const kept = {
    ...{ type: 'BlockStored', block_hashes: names, parent_block_hash: parent, token_ids: tokens },
    ...{ block_size: blockTokens, lora_id: null, medium: 'GPU', lora_name: null },
    ...{ extra_keys: names.map(() => null), group_idx: 0, kv_cache_spec_kind: 'full_attention' },
  };
  return [...gone, kept];
};
