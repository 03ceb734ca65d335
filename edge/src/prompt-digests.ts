/**
 * HOT. From a parsed request to its prompt's digests, by the profile of the model in one region. Owns the root keys of
 * this isolate. A request that cannot be digested (embeddings, a very large body) is decided by load alone.
 */
import { prefixBlocksMax, prefixRootsMax } from '@cognitora/protocol/limits';
import type { PrefixTerms } from '@cognitora/protocol/link';
import type { InferencePath, InferenceRequest } from '@cognitora/protocol/openai';
import { blocksOf } from '@cognitora/protocol/prefix/blake3';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';
import type { PromptView } from './directory/directory.ts';

/** By salt, profile and model; the oldest goes first. */
const roots = new Map<string, Uint32Array>();

const rootOf = (salt: string, model: string, profile: PromptProfile): Uint32Array => {
  const name = `${salt}\n${profile.id}\n${model}`;
  const known = roots.get(name);
  if (known !== undefined) return known;
  const root = rootKey({ salt, model, adapter: undefined, profile });
  roots.set(name, root);
  for (const oldest of roots.keys()) {
    if (roots.size <= prefixRootsMax) break;
    roots.delete(oldest);
  }
  return root;
};

export interface PromptSource {
  readonly path: InferencePath;
  readonly parsed: InferenceRequest;
  readonly bodyBytes: number;
  readonly prefix: PrefixTerms;
}

/** Undefined when there is nothing to digest. */
export const digestPrompt = (source: PromptSource, profile: PromptProfile): PromptView | undefined => {
  const { path, parsed, bodyBytes, prefix } = source;
  const { model, body } = parsed;
  if (body === undefined) return undefined;
  const { salt, blockBytes } = prefix;
  const root = rootOf(salt, model, profile);
  const chain = prefixChain({ path, body }, { root, profile, blockBytes, blocksMax: prefixBlocksMax });
  const blocks = blocksOf(chain);
  // Of a prompt that is longer than its digests reach, the body's length says more.
  const bytes = blocks < prefixBlocksMax ? blocks * blockBytes + chain.tail.length : bodyBytes;
  return { profile: profile.id, chain: chain.digests, bytes, blockBytes };
};
