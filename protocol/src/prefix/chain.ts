/**
 * HOT. From a request to its prefix digests, the same at the edge and in the agent. The root stands for all that keeps
 * two prompts' KV apart whatever their text: the trust domain's salt, the model, the prompt profile. An adapter is a
 * model with a name of its own. Owns no policy: block size and bounds are the caller's.
 */
import { joinBytes, utf8 } from '../bytes.ts';
import type { JsonRecord } from '../shape.ts';
import { blake3, blocksOf, type Chain, digestChain, extendChain } from './blake3.ts';
import { canonicalBufferBytes, canonicalBytes, replyBytes } from './canonical.ts';
import type { PromptRequest } from './layout.ts';
import { type PromptProfile, profileVersion } from './profile.ts';

const domain = `cognitora prefix v${profileVersion}`;

export interface RootOptions {
  /** Of the trust domain: nobody without it can tell what a digest stands for. */
  readonly salt: string;
  /** As the fleet names it, not as an engine does; an adapter's own name, not its base model's. */
  readonly model: string;
  readonly profile: PromptProfile;
}

/** The key of a prompt's first block. Constant per (salt, model, profile): worth keeping. */
export const rootKey = ({ salt, model, profile }: RootOptions): Uint32Array => {
  const fields = [domain, salt, profile.id, model];
  return blake3(joinBytes(fields.map(utf8).flatMap((field) => [utf8(`${field.length}:`), field])));
};

export interface ChainOptions {
  readonly root: Uint32Array;
  readonly profile: PromptProfile;
  readonly blockBytes: number;
  readonly blocksMax: number;
}

/** Canonical bytes stand here for as long as they are hashed, so that no request allocates half a megabyte. */
let scratch: Uint8Array<ArrayBuffer> = new Uint8Array(0);

const scratchOf = (bytes: number): Uint8Array<ArrayBuffer> => {
  if (scratch.length < bytes) scratch = new Uint8Array(bytes);
  return scratch;
};

/**
 * The prefix digests of a prompt. Never throws, whatever the body holds.
 *
 * @example
 * const root = rootKey({ salt, model, profile });
 * const chain = prefixChain({ path, body }, { root, profile, blockBytes, blocksMax: prefixBlocksMax });
 */
export const prefixChain = (request: PromptRequest, options: ChainOptions): Chain => {
  const { root, profile, blockBytes, blocksMax } = options;
  const bytesMax = blockBytes * blocksMax;
  const bytes = canonicalBytes(request, profile, bytesMax, scratchOf(canonicalBufferBytes(bytesMax)));
  return digestChain(root, bytes, blockBytes, blocksMax);
};

/**
 * The digests of the turn after `reply`, from those of the request it answers: only the reply is hashed, unless the
 * turn after changes what stands before it. `chain` must be that of the same request and options.
 */
export const extendByReply = (
  chain: Chain,
  request: PromptRequest & { readonly reply: JsonRecord },
  options: ChainOptions,
): Chain => {
  const { profile, blockBytes, blocksMax } = options;
  const roomBytes = Math.max(0, (blocksMax - blocksOf(chain)) * blockBytes - chain.tail.length);
  const more = replyBytes(request, profile, roomBytes);
  return more === undefined ? prefixChain(request, options) : extendChain(chain, more, blocksMax);
};
