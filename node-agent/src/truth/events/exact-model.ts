/**
 * The exact truth of one model: prompts that were served are rendered and tokenised, one after the other and off the
 * request path, and each of their digests waits for the token block that it needs. What the engine's events then say is
 * told; what could not be rendered, or is not found in the rendered text, is not claimed.
 */
import type { Usage } from '@cognitora/protocol/link';
import { alignBlocks, tokensReaching } from '@cognitora/protocol/prefix/align';
import { type ChainOptions, prefixChain } from '@cognitora/protocol/prefix/chain';
import type { PromptRequest } from '@cognitora/protocol/prefix/layout';
import { headFields } from '@cognitora/protocol/prefix/profile';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import { type Digest, digestsOf, type KvLedger } from '../kv-ledger.ts';
import type { FoundProfile } from '../prompt-profile.ts';
import { Disagrees } from '../render/outcome.ts';
import type { RenderWay, ShownPrompt } from '../render/render.ts';
import { ConfirmedDigests } from './confirmed.ts';
import type { RankBlocks } from './rank-blocks.ts';
import { RenderCheck } from './render-check.ts';
import { type BlockChanges, tokenChain } from './token-blocks.ts';

/** Prompts that wait to be rendered. Of more the oldest is forgotten: a busy host claims less. */
const waitingMax = 64;

/** With one of these an engine keeps blocks apart that have the same tokens. */
const apartFields = ['cache_salt', 'extra_key', 'lora', 'lora_path'];

/** With these a prompt is written as no way of rendering is asked for: what else stands in it is not known. */
const otherwiseFields = [
  ...['continue_final_message', 'chat_template', 'documents', 'prompt_token_ids', 'input_ids'],
  ...['add_special_tokens', 'mm_processor_kwargs', 'media_io_kwargs', 'truncate_prompt_tokens'],
];
const isOtherwise = (body: JsonRecord): boolean =>
  body.add_generation_prompt === false ||
  otherwiseFields.some((field) => body[field] !== undefined && body[field] !== null && body[field] !== false);

export interface ExactModelOptions {
  readonly ask: Ask;
  readonly served: string;
  readonly way: RenderWay;
  readonly found: FoundProfile;
  readonly chain: ChainOptions;
  readonly ledger: KvLedger;
  readonly blocks: RankBlocks;
  readonly onChange: () => void;
  readonly monotonicMs: () => number;
  /** Prompts that we rendered ourselves are not the engine's. Said once. */
  readonly onDoubt: (why: string) => void;
}

/** A prompt that was served, with the tokens that the engine counted in it once it has. */
interface Seen {
  readonly request: PromptRequest;
  readonly usage: Usage | undefined;
}

/** A prompt that waits for the size of the engine's blocks. */
interface Unplaced {
  readonly digests: BigUint64Array;
  readonly needs: Int32Array;
  readonly ids: readonly number[];
}

const noBlock: Digest = 0n;

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
  readonly #check: RenderCheck;
  readonly #waiting: Seen[] = [];
  /** Until an event says how large blocks are. */
  #unplaced: readonly Unplaced[] = [];
  #isBusy = false;
  #isDoubted = false;

  constructor(options: ExactModelOptions) {
    const { blocks, monotonicMs } = options;
    this.#options = options;
    this.#confirmed = new ConfirmedDigests(options.ledger, (block) => blocks.holds(block));
    this.#check = new RenderCheck({ monotonicMs, isNamed: (block) => blocks.isNamed(block) });
  }

  /**
   * A prompt is in the cache, or so it seems; later once more, with the engine's count and the reply, if there is one.
   * Resolves when nothing waits any more.
   */
  async saw(request: PromptRequest, usage?: Usage): Promise<void> {
    const { body, reply } = request;
    const isApart = apartFields.some((field) => body[field] !== undefined);
    if (isApart || isOtherwise(body) || !Array.isArray(body.messages) || this.#isDoubted) return;
    const isOurs = this.#options.way.isOurs === true;
    // What we render needs the engine's count; what the engine renders was shown before it.
    if (isOurs ? usage === undefined : usage !== undefined && reply === undefined) return;
    this.#waiting.push({ request, usage });
    if (this.#waiting.length > waitingMax) this.#waiting.shift();
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      // An engine that does not answer, or is gone, tells nothing of this prompt.
      await this.#learn(next).catch((thrown: unknown) => {
        if (thrown instanceof Disagrees) this.#doubt(thrown.message);
      });
    }
    this.#isBusy = false;
  }

  /** Blocks that the engine's events named. */
  changed({ isCleared, held, gone }: BlockChanges): void {
    if (isCleared) this.#confirmed.cleared();
    for (const block of gone) this.#confirmed.gone(block);
    for (const block of held) this.#confirmed.held(block);
    const { blockTokens } = this.#options.blocks;
    if (blockTokens !== undefined && this.#unplaced.length > 0) {
      const unplaced = this.#unplaced;
      this.#unplaced = [];
      for (const prompt of unplaced) this.#place(prompt, blockTokens);
    }
    this.#options.onChange();
  }

  async #learn({ request, usage }: Seen): Promise<void> {
    const { reply, ...asked } = request;
    if (this.#options.way.isOurs === true) {
      const shown = await this.#show(asked);
      if (shown === undefined || !this.#isCounted(shown, usage)) return;
      this.#align(asked, shown, true);
      if (reply === undefined) return;
    }
    const shown = await this.#show(request);
    if (shown !== undefined) this.#align(request, shown, false);
    this.#options.onChange();
  }

  #show(request: PromptRequest): Promise<ShownPrompt | undefined> {
    const { ask, served, way } = this.#options;
    return way.show(ask, served, bodyToRender(request));
  }

  #isCounted({ tokens }: ShownPrompt, usage: Usage | undefined): boolean {
    const ours = tokens.ids.length;
    const wrong = usage && this.#check.counted(ours, usage.promptTokens);
    if (wrong !== undefined) this.#doubt(wrong);
    return usage?.promptTokens === ours;
  }

  #doubt(why: string): void {
    if (this.#isDoubted) return;
    this.#isDoubted = true;
    this.#waiting.length = 0;
    this.#options.onDoubt(why);
  }

  /** `isOurs`: its blocks shall be among the engine's. */
  #align(request: PromptRequest, { text, tokens }: ShownPrompt, isOurs: boolean): void {
    const needs = this.#needsOf(request, text, tokens.ends);
    const { blocks, chain } = this.#options;
    const { blockTokens } = blocks;
    const digests = digestsOf(prefixChain(request, chain).digests);
    const prompt = { digests, needs: needs ?? new Int32Array(), ids: tokens.ids };
    if (blockTokens === undefined) this.#unplaced = [...this.#unplaced, prompt].slice(-waitingMax);
    const [first] = blockTokens === undefined ? [] : this.#place(prompt, blockTokens);
    if (!isOurs || (first === undefined && blockTokens !== undefined)) return;
    // Of an engine that tells nothing at all no block is any prompt's.
    const wrong = this.#check.expects(first ?? noBlock);
    if (wrong !== undefined) this.#doubt(wrong);
  }

  /** The prompt's token blocks. */
  #place({ digests, needs, ids }: Unplaced, blockTokens: number): BigUint64Array {
    const chainOfTokens = tokenChain(ids, blockTokens);
    for (const [at, digest] of digests.entries()) {
      const needed = needs[at];
      const block = needed === undefined ? undefined : chainOfTokens[Math.ceil(needed / blockTokens) - 1];
      if (block === undefined) break;
      this.#confirmed.learn(digest, block);
    }
    return chainOfTokens;
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
