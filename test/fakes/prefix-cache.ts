/**
 * Blocks of tokens as vLLM keeps them: named by a hash over all tokens so far, the least recently used evicted first,
 * and each change as an event in a map, in the order of the fields of vLLM 0.32.
 */
import { createHash } from 'node:crypto';
import type { Packable } from './msgpack.ts';

export const blockTokens = 16;

const hashOf = (parent: bigint | null, tokens: readonly number[]): bigint =>
  createHash('sha256')
    .update(`${parent} ${tokens.join(' ')}`)
    .digest()
    .readBigUInt64BE(24);

export class PrefixCache {
  readonly #blocksMax: number;
  /** Least recently used first. */
  readonly #blocks = new Set<bigint>();

  constructor(blocksMax: number) {
    this.#blocksMax = blocksMax;
  }

  /** Tokens at the start that are there; the last token of all is always computed. */
  cachedTokens(tokens: readonly number[]): number {
    const chain = this.#chain(tokens.slice(0, -1));
    const missing = chain.findIndex((name) => !this.#blocks.has(name));
    return (missing < 0 ? chain.length : missing) * blockTokens;
  }

  /** Tokens were computed: what changed. */
  store(tokens: readonly number[]): readonly Packable[] {
    const chain = this.#chain(tokens);
    const first = chain.findIndex((name) => !this.#blocks.has(name));
    // A prompt's last block goes first.
    for (const name of [...chain].reverse()) {
      this.#blocks.delete(name);
      this.#blocks.add(name);
    }
    if (first < 0) return [];
    const removed = this.#evict();
    const stored = {
      ...{
        type: 'BlockStored',
        block_hashes: chain.slice(first),
        parent_block_hash: chain[first - 1] ?? null,
      },
      token_ids: tokens.slice(first * blockTokens, chain.length * blockTokens),
      ...{ block_size: blockTokens, lora_id: null, medium: 'GPU', lora_name: null },
      extra_keys: chain.slice(first).map(() => null),
      ...{ group_idx: 0, kv_cache_spec_kind: 'full_attention' },
    };
    return [...removed, stored];
  }

  clear(): readonly Packable[] {
    this.#blocks.clear();
    return [{ type: 'AllBlocksCleared' }];
  }

  #chain(tokens: readonly number[]): readonly bigint[] {
    const names: bigint[] = [];
    for (let at = blockTokens; at <= tokens.length; at += blockTokens) {
      names.push(hashOf(names.at(-1) ?? null, tokens.slice(at - blockTokens, at)));
    }
    return names;
  }

  #evict(): readonly Packable[] {
    const removed: Packable[] = [];
    for (const name of this.#blocks) {
      if (this.#blocks.size <= this.#blocksMax) break;
      this.#blocks.delete(name);
      removed.push({ type: 'BlockRemoved', block_hashes: [name], medium: 'GPU', group_idx: 0 });
    }
    return removed;
  }
}
