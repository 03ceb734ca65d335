/**
 * The exact truth of one model: prompts that were served are rendered and tokenised, one after the other and off the
 * request path, and each of their digests waits for the token block that it needs. What the engine's events then say is
 * told; what could not be rendered, or is not found in the rendered text, is not claimed.
 */
import { alignBlocks, tokensReaching } from '@cognitora/protocol/prefix/align';
import { type ChainOptions, prefixChain } from '@cognitora/protocol/prefix/chain';
import type { PromptRequest } from '@cognitora/protocol/prefix/layout';
import { headFields } from '@cognitora/protocol/prefix/profile';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import { digestsOf, type KvLedger } from '../kv-ledger.ts';
import type { FoundProfile } from '../prompt-profile.ts';
import type { RenderWay } from '../render/render.ts';
import { ConfirmedDigests } from './confirmed.ts';
import type { RankBlocks } from './rank-blocks.ts';
import { type BlockChanges, tokenChain } from './token-blocks.ts';

/** Prompts that wait to be rendered. Of more the oldest is forgotten: a busy host claims less. */
const waitingMax = 64;

/** With one of these an engine keeps blocks apart that have the same tokens. */
const apartFields = ['cache_salt', 'lora', 'lora_path'];

export interface ExactModelOptions {
  readonly ask: Ask;
  readonly served: string;
  readonly way: RenderWay;
  readonly found: FoundProfile;
  readonly chain: ChainOptions;
  readonly ledger: KvLedger;
  readonly blocks: RankBlocks;
  readonly onChange: () => void;
}

/** Any text: it only has to come behind the answer, so that the answer is rendered as one that was given. */
const nextTurn: JsonRecord = { role: 'user', content: '.' };

/** What may change a prompt; engines refuse to render with what only changes its answer. */
const renderedFields = ['messages', 'tools', 'chat_template_kwargs', ...headFields];

const bodyToRender = ({ body, reply }: PromptRequest): JsonRecord => {
  const rendered = Object.fromEntries(Object.entries(body).filter(([name]) => renderedFields.includes(name)));
  if (reply === undefined || !Array.isArray(body.messages)) return rendered;
  return { ...rendered, messages: [...(body.messages as readonly unknown[]), reply, nextTurn] };
};

export class ExactModel {
  readonly #options: ExactModelOptions;
  readonly #confirmed: ConfirmedDigests;
  readonly #waiting: PromptRequest[] = [];
  #isBusy = false;

  constructor(options: ExactModelOptions) {
    this.#options = options;
    this.#confirmed = new ConfirmedDigests(options.ledger, (block) => options.blocks.holds(block));
  }

  /** A prompt is in the cache, or so it seems. Resolves when nothing waits any more. */
  async saw(request: PromptRequest): Promise<void> {
    const isApart = apartFields.some((field) => request.body[field] !== undefined);
    if (isApart || !Array.isArray(request.body.messages)) return;
    this.#waiting.push(request);
    if (this.#waiting.length > waitingMax) this.#waiting.shift();
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      // An engine that does not answer, or is gone, tells nothing of this prompt.
      await this.#learn(next).catch(() => {});
    }
    this.#isBusy = false;
  }

  /** Blocks that the engine's events named. */
  changed({ isCleared, held, gone }: BlockChanges): void {
    if (isCleared) this.#confirmed.cleared();
    for (const block of gone) this.#confirmed.gone(block);
    for (const block of held) this.#confirmed.held(block);
    this.#options.onChange();
  }

  async #learn(request: PromptRequest): Promise<void> {
    const { ask, served, way, blocks, chain } = this.#options;
    const shown = await way.show(ask, served, bodyToRender(request));
    const { blockTokens } = blocks;
    if (shown === undefined || blockTokens === undefined) return;
    const { text, tokens } = shown;
    const needs = this.#needsOf(request, text, tokens.ends);
    const chainOfTokens = tokenChain(tokens.ids, blockTokens);
    const digests = digestsOf(prefixChain(request, chain).digests);
    for (const [at, digest] of digests.entries()) {
      const needed = needs?.[at];
      const block = needed === undefined ? undefined : chainOfTokens[Math.ceil(needed / blockTokens) - 1];
      if (block === undefined) break;
      this.#confirmed.learn(digest, block);
    }
    this.#options.onChange();
  }

  /** For each digest the tokens that must be held. */
  #needsOf(request: PromptRequest, rendered: string, ends: Int32Array): Int32Array | undefined {
    const { found, chain } = this.#options;
    const { profile, blockBytes, blocksMax } = chain;
    const options = { request, profile, facts: found.facts, rendered, blockBytes, blocksMax };
    const positions = alignBlocks(options);
    return positions === undefined ? undefined : tokensReaching(positions.needs, ends);
  }
}
