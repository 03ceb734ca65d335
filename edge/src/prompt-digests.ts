/**
 * HOT. From a parsed request to its prompt's digests, by the profile of the model in one region. Owns the root keys of
 * this isolate. A request that cannot be digested (embeddings, a very large body) is decided by load alone.
 */
import { prefixBlocksMax, prefixRootsMax } from '@cognitora/protocol/limits';
import type { PrefixTerms } from '@cognitora/protocol/link';
import type { InferencePath } from '@cognitora/protocol/openai';
import { blocksOf } from '@cognitora/protocol/prefix/blake3';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { PromptView } from './directory/decision.ts';

/** By salt, profile and model; the oldest goes first. */
const roots = new Map<string, Uint32Array>();

const rootOf = (salt: string, model: string, profile: PromptProfile): Uint32Array => {
  const name = `${salt}\n${profile.id}\n${model}`;
  const known = roots.get(name);
  if (known !== undefined) return known;
  const root = rootKey({ salt, model, profile });
  roots.set(name, root);
  for (const oldest of roots.keys()) {
    if (roots.size <= prefixRootsMax) break;
    roots.delete(oldest);
  }
  return root;
};

export interface PromptSource {
  readonly path: InferencePath;
  readonly model: string;
  /** As it was parsed; undefined when there is nothing to digest. */
  readonly body: JsonRecord | undefined;
  readonly bodyBytes: number;
  readonly prefix: PrefixTerms;
}

/** The digests of one request. Keeps the parsed body until they are made, or are found not to be needed. */
export class PromptDigests {
  #source: PromptSource | undefined;
  #view: PromptView | undefined;

  constructor(source: PromptSource) {
    this.#source = source.body === undefined ? undefined : source;
  }

  /** Whether there are any, or can be. */
  get isPossible(): boolean {
    return this.#source !== undefined || this.#view !== undefined;
  }

  /**
   * The digests by this profile; undefined for none. The first call has the body: a later region with another profile
   * decides by load alone.
   */
  by(profile: PromptProfile | undefined): PromptView | undefined {
    const source = this.#source;
    this.#source = undefined;
    if (source !== undefined && profile !== undefined) this.#view = digest(source, profile);
    return this.#view?.profile === profile?.id ? this.#view : undefined;
  }
}

const digest = (
  { path, model, body, bodyBytes, prefix }: PromptSource,
  profile: PromptProfile,
): PromptView => {
  const { salt, blockBytes } = prefix;
  const root = rootOf(salt, model, profile);
  const options = { root, profile, blockBytes, blocksMax: prefixBlocksMax };
  const chain = prefixChain({ path, body: body ?? {} }, options);
  const blocks = blocksOf(chain);
  // Of a prompt that is longer than its digests reach, the body's length says more.
  const bytes = blocks < prefixBlocksMax ? blocks * blockBytes + chain.tail.length : bodyBytes;
  return { profile: profile.id, chain: chain.digests, bytes, blockBytes };
};
