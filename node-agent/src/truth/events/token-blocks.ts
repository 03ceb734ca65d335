/**
 * Which runs of tokens an engine holds, by digests of our own: each block's tokens are hashed onto the chain of the
 * blocks before it, and the engine's name for it is only an alias for its removal. Pure. A block whose parent is not
 * known stands for nothing that could be told, so it is left out, and with it all that stand on it.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { blake3, digestChain } from '@cognitora/protocol/prefix/blake3';
import { type Digest, digestsOf } from '../kv-ledger.ts';
import type { BlockName, KvEvent } from './wire.ts';

/** Blocks of one engine that are followed: 4 million tokens in blocks of 16, some 60 MB here. */
export const tokenBlocksMax = 262_144;
/** Larger blocks are not hashed in one call. */
const blockTokensMax = 256;
const tokenBytes = 4;

interface Block {
  readonly digest: Digest;
  /** The key of the blocks that stand on it. */
  readonly key: Uint32Array;
}

/** Against what was held before; nothing was, where all was cleared meanwhile. */
export interface BlockChanges {
  readonly isCleared: boolean;
  readonly held: readonly Digest[];
  readonly gone: readonly Digest[];
}

const root = blake3(utf8('cognitora token blocks'));

const bytesOf = (tokens: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(tokens.length * tokenBytes);
  const view = new DataView(bytes.buffer);
  for (const [at, token] of tokens.entries()) view.setUint32(at * tokenBytes, token, true);
  return bytes;
};

/** The digests of the full blocks of a run of tokens, from the prompt's first on. */
export const tokenChain = (tokens: readonly number[], blockTokens: number): BigUint64Array =>
  digestsOf(digestChain(root, bytesOf(tokens), blockTokens * tokenBytes, tokens.length).digests);

export class TokenBlocks {
  readonly #blocksMax: number;
  readonly #blocks = new Map<BlockName, Block>();
  readonly #held = new Set<Digest>();
  #blockTokens: number | undefined;

  constructor(blocksMax = tokenBlocksMax) {
    this.#blocksMax = blocksMax;
  }

  /** As the engine's events say; undefined until one has. */
  get blockTokens(): number | undefined {
    return this.#blockTokens;
  }

  holds(digest: Digest): boolean {
    return this.#held.has(digest);
  }

  clear(): void {
    this.#blocks.clear();
    this.#held.clear();
  }

  /** What the events change, in the end. */
  apply(events: readonly KvEvent[]): BlockChanges {
    let isCleared = false;
    /** Whether they were held before. */
    const changed = new Map<Digest, boolean>();
    for (const event of events) {
      if (event.type === 'cleared') {
        isCleared = true;
        changed.clear();
        this.clear();
      } else if (!event.isOnDevice) continue;
      else if (event.type === 'removed') this.#remove(event.names, changed);
      else this.#store(event, changed);
    }
    const list = [...changed];
    return {
      isCleared,
      held: list.flatMap(([digest, was]) => (!was && this.#held.has(digest) ? [digest] : [])),
      gone: list.flatMap(([digest, was]) => (was && !this.#held.has(digest) ? [digest] : [])),
    };
  }

  #store(event: KvEvent & { readonly type: 'stored' }, changed: Map<Digest, boolean>): void {
    const { names, parent, tokens, blockTokens, isPlain } = event;
    if (!isPlain || blockTokens > blockTokensMax) return;
    this.#blockTokens = blockTokens;
    let key = parent === undefined ? root : this.#blocks.get(parent)?.key;
    for (const [at, name] of names.entries()) {
      if (key === undefined || this.#blocks.size >= this.#blocksMax) return;
      const bytes = bytesOf(tokens.slice(at * blockTokens, (at + 1) * blockTokens));
      const chain = digestChain(key, bytes, bytes.length, 1);
      const [digest = 0n] = digestsOf(chain.digests);
      key = chain.key;
      const before = this.#blocks.get(name)?.digest;
      // A name that is used again stands for what it names now.
      if (before !== undefined && before !== digest) this.#remove([name], changed);
      this.#blocks.set(name, { digest, key });
      if (!changed.has(digest)) changed.set(digest, this.#held.has(digest));
      this.#held.add(digest);
    }
  }

  #remove(names: readonly BlockName[], changed: Map<Digest, boolean>): void {
    for (const name of names) {
      const block = this.#blocks.get(name);
      if (block === undefined) continue;
      this.#blocks.delete(name);
      if (!changed.has(block.digest)) changed.set(block.digest, this.#held.has(block.digest));
      this.#held.delete(block.digest);
    }
  }
}
