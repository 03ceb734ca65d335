/**
 * Names of KV blocks. A block is a full run of `blockTokens` tokens; its name depends on all tokens before
 * it and on the cache salt, so equal names mean equal KV. Pure.
 *
 *   hash_i = first 63 bits of sha256(hash_(i-1) u64 | token ids u32 ... | salt, first block only)
 *
 * 63 and not 64 bits, so that the number reads the same as a signed and as an unsigned 64-bit integer.
 */
import { createHash } from 'node:crypto';

export type BlockHash = bigint & { readonly __brand: 'BlockHash' };

const mask63 = (1n << 63n) - 1n;

/** The name of the block that holds `tokens` after the block `parent` (none for the first of a chain). */
export function blockHash(parent: BlockHash | undefined, tokens: readonly number[], salt: string): BlockHash {
  const bytes = Buffer.alloc(8 + 4 * tokens.length);
  bytes.writeBigUInt64BE(parent ?? 0n);
  for (const [at, token] of tokens.entries()) bytes.writeUInt32LE(token, 8 + 4 * at);
  const hash = createHash('sha256').update(bytes);
  if (parent === undefined) hash.update(salt, 'utf8');
  return (hash.digest().readBigUInt64BE(0) & mask63) as BlockHash;
}
