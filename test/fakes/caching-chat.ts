/**
 * What engines with a prefix cache and real prompts have in common here: a chat is written by the template of
 * `chatml.ts`, tokenised, looked up and stored, and answered as a stream or whole in OpenAI's shape with its usage. How
 * its cache tells of itself is each engine's own.
 */
import { join } from 'node:path';
import { pause } from '../harness/until.ts';
import { ByteLevelBpe } from './byte-level-bpe.ts';
import { type Chat, chatmlFolder, chatmlPrompt, type ToolParts } from './chatml.ts';
import { type Exchange, parseBody, sendEvents, sendJson } from './fake-engine.ts';
import { type CacheChange, PrefixCache } from './prefix-cache.ts';

const reply = 'So it is.';
/** What is not cached takes time, as it does in engines: to whom a cache saves nothing, it is all one. */
const computeMsPerToken = 0.5;
const head = { id: 'chatcmpl-1', created: 1 };

export interface CachingChatOptions {
  readonly model: string;
  readonly blocksMax: number;
  readonly blockTokens: number;
  readonly toolParts: ToolParts;
  /** The last token of a prompt and its answer is in no block. */
  readonly keepsLast: boolean;
  readonly onChange: (change: CacheChange) => Promise<void>;
}

export class CachingChat {
  readonly tokenizer = new ByteLevelBpe(join(chatmlFolder, 'tokenizer.json'));
  /** Added to what it counts, which is a lie then. */
  countsMore = 0;
  readonly #options: CachingChatOptions;
  readonly #cache: PrefixCache;

  constructor(options: CachingChatOptions) {
    this.#options = options;
    this.#cache = new PrefixCache(options.blocksMax, options.blockTokens);
  }

  async answer({ received, response }: Exchange): Promise<void> {
    const body = parseBody(received.body) ?? {};
    const { model, toolParts, keepsLast, onChange } = this.#options;
    const prompt = this.tokenizer.encode(chatmlPrompt(body as unknown as Chat, toolParts));
    const said = this.tokenizer.encode(`${reply}<|im_end|>`);
    const cached = this.#cache.cachedTokens(prompt);
    await pause((prompt.length - cached) * computeMsPerToken);
    const computed = [...prompt, ...said];
    await onChange(this.#cache.store(keepsLast ? computed : computed.slice(0, -1)));
    const promptTokens = prompt.length + this.countsMore;
    const usage = {
      ...{ prompt_tokens: promptTokens, total_tokens: promptTokens + said.length },
      ...{ completion_tokens: said.length, prompt_tokens_details: { cached_tokens: cached } },
    };
    const message = { role: 'assistant', content: reply };
    const choice = { index: 0, logprobs: null, finish_reason: 'stop' };
    if (body.stream !== true) {
      const whole = { ...head, object: 'chat.completion', model, choices: [{ ...choice, message }], usage };
      sendJson(response, 200, JSON.stringify(whole));
      return;
    }
    const chunk = { ...head, object: 'chat.completion.chunk', model };
    sendEvents(response, [
      JSON.stringify({ ...chunk, choices: [{ ...choice, delta: message }], usage: null }),
      JSON.stringify({ ...chunk, choices: [], usage }),
    ]);
  }
}
