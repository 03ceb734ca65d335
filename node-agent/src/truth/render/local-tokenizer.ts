/**
 * The agent renders and tokenises a chat itself, for engines that do neither, with the model's own files where this
 * host has them. What it shows is a guess until the engine agrees: with the numbers of its own `/tokenize`, where it
 * has one that takes prompts, and for each prompt with the tokens that it counts (`events/render-check.ts`).
 */
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import type { TokenizerHint } from '../../engines/tokenizer-hint.ts';
import { findTokenizer } from './local/find-tokenizer.ts';
import type { PromptQuestion } from './local/prompt-thread.ts';
import type { TokenizerThread, TokenizerThreads } from './local/tokenizer-threads.ts';
import { Disagrees, NoSuchWay, NotAsked, outcomeOf } from './outcome.ts';
import type { PromptTokens } from './pieces.ts';
import type { RenderWay, ShownPrompt } from './render.ts';

/** Prompts whose tokens the engine is asked for, where it tells them. */
const comparedMax = 8;

export interface LocalTokenizerOptions extends TokenizerHint {
  readonly threads: TokenizerThreads;
  /** The files that are used, or that none were found for. */
  readonly onFound: (found: { readonly directory: string } | { readonly sought: readonly string[] }) => void;
}

/** What the engine itself says of its model's place. */
export const namesFromEngine = async (ask: Ask, served: string): Promise<readonly string[]> => {
  for (const path of ['/model_info', '/get_model_info']) {
    const answer = await ask(path).catch((thrown: unknown) => {
      throw new NotAsked(String(thrown));
    });
    const { tokenizer_path: tokenizer, model_path: model } = answer.record ?? {};
    const names = [tokenizer, model].filter((name) => typeof name === 'string');
    if (answer.status === 200 && names.length > 0) return names;
  }
  // Many engines call a model as the hub does.
  return [served];
};

const isSame = (ours: readonly number[], theirs: readonly unknown[]): boolean =>
  ours.length === theirs.length && ours.every((id, at) => id === theirs[at]);

class LocalTokenizer {
  readonly #options: LocalTokenizerOptions;
  #place: Promise<string> | undefined;
  /** The first model that is asked for: another one of the same engine may have another tokenizer. */
  #served: string | undefined;
  #taken: string | undefined;
  #isClosed = false;
  #compared = 0;

  constructor(options: LocalTokenizerOptions) {
    this.#options = options;
  }

  async render(ask: Ask, served: string, body: JsonRecord): Promise<string | undefined> {
    return (await this.#prompt(ask, served, body, false)).text;
  }

  async show(ask: Ask, served: string, body: JsonRecord): Promise<ShownPrompt | undefined> {
    const { text, ids, ends } = await this.#prompt(ask, served, body, true);
    if (text === undefined || ids === undefined || ends === undefined) return undefined;
    const tokens: PromptTokens = { ids, ends };
    if (this.#compared < comparedMax) await this.#compare(ask, served, text, ids);
    return { text, tokens };
  }

  close(): void {
    this.#isClosed = true;
    if (this.#taken !== undefined) this.#options.threads.giveBack(this.#taken);
    this.#taken = undefined;
  }

  async #prompt(ask: Ask, served: string, body: JsonRecord, withTokens: boolean) {
    const question: PromptQuestion = { body, input: this.#options.input, withTokens };
    return (await this.#thread(ask, served)).ask(question);
  }

  async #thread(ask: Ask, served: string): Promise<TokenizerThread> {
    this.#served ??= served;
    if (served !== this.#served) throw new NoSuchWay('another model of this engine is rendered here');
    this.#place ??= this.#find(ask, served);
    const directory = await this.#place;
    if (this.#isClosed) throw new NoSuchWay('closed');
    const { threads } = this.#options;
    const thread = this.#taken === undefined ? threads.take(directory) : threads.taken(directory);
    if (thread === undefined) throw new NoSuchWay('too many models are tokenised on this host');
    this.#taken = directory;
    return thread;
  }

  async #find(ask: Ask, served: string): Promise<string> {
    const { name, environment, onFound } = this.#options;
    try {
      const sought = name === undefined ? await namesFromEngine(ask, served) : [name];
      const directory = sought
        .map((one) => findTokenizer(one, environment))
        .find((found) => found !== undefined);
      onFound(directory === undefined ? { sought } : { directory });
      if (directory !== undefined) return directory;
      throw new NoSuchWay(`no tokenizer of ${sought.join(', ')} is on this host`);
    } catch (thrown) {
      // Who could not be asked may be asked again.
      if (thrown instanceof NotAsked) this.#place = undefined;
      throw thrown;
    }
  }

  /** Engines without such a route, or with another one of that name, tell nothing. */
  async #compare(ask: Ask, served: string, text: string, ids: readonly number[]): Promise<void> {
    this.#compared += 1;
    const question = { model: served, prompt: text, add_special_tokens: false };
    const answer = await outcomeOf(ask, '/tokenize', question).catch((thrown: unknown) => {
      if (thrown instanceof NoSuchWay) this.#compared = comparedMax;
      return undefined;
    });
    const theirs: unknown = isRecord(answer) ? answer.tokens : undefined;
    if (!Array.isArray(theirs) || isSame(ids, theirs)) return;
    const at = ids.findIndex((id, index) => id !== theirs[index]);
    throw new Disagrees(
      `/tokenize gives ${theirs.length} tokens where ours are ${ids.length}, the first other one at ${at}`,
    );
  }
}

/** For one start of an engine. */
export const localTokenizer = (options: LocalTokenizerOptions): RenderWay => {
  const local = new LocalTokenizer(options);
  return {
    // Of other options it is not known how each release of an engine takes them.
    showsOptions: false,
    isOurs: true,
    render: (...asked) => local.render(...asked),
    show: (...asked) => local.show(...asked),
    close: () => local.close(),
  };
};
