/**
 * The hot path: a prompt gets a sequence, reuses the KV that is there, evaluates the rest in chunks, and
 * each choice is generated token by token. After every evaluation the block ledger is told, so that KV
 * events are true. The abort signal is looked at between chunks and between tokens. No HTTP here.
 *
 * Choices of one prompt run one after another on its sequence: each goes back to the prompt's last token,
 * which is evaluated anew for every choice. So at least one prompt token is always computed, cached or not.
 */
import { randomInt } from 'node:crypto';
import {
  type LlamaContextSequence,
  type LlamaGrammarEvaluationState,
  type SequenceEvaluateOptions,
  type Token,
  TokenBias,
} from 'node-llama-cpp';
import type { Clock } from '../clock.ts';
import type { BlockEvent, BlockLedger } from '../kv-events/blocks.ts';
import { prefillChunkTokens } from '../limits.ts';
import type { Counters } from '../metrics.ts';
import { Aborted } from '../openai/errors.ts';
import type { Sampling } from '../openai/sampling.ts';
import type { ContextChanges } from './context-changes.ts';
import { type TokenLogprob, tokenLogprob } from './logprobs.ts';
import type { LoadedModel } from './model.ts';
import type { SequencePool } from './pool.ts';
import { TextStream } from './text-stream.ts';

export interface Prompt {
  readonly tokens: readonly number[];
  /** Prompts of different salts never share KV. */
  readonly salt: string;
  /** The only sequence that will do; `undefined`: any. */
  readonly sequence: number | undefined;
}

export interface ChoiceOptions {
  readonly sampling: Sampling;
  /** As `nativeSeed` makes it; `undefined`: another one each time. */
  readonly seed: number | undefined;
  readonly tokensMax: number;
  readonly stops: readonly string[];
  /** Alternatives to report per token; `undefined`: no log-probabilities. */
  readonly topLogprobs: number | undefined;
  readonly grammar: LlamaGrammarEvaluationState | undefined;
}

/** Text that may be sent, and the log-probabilities of the tokens that began in it. */
export interface Delta {
  readonly text: string;
  readonly logprobs: readonly PlacedLogprob[];
}

export interface PlacedLogprob extends TokenLogprob {
  /** Where the token's text begins in the choice's text, in characters. */
  readonly textOffset: number;
}

export interface ChoiceResult {
  readonly finishReason: 'stop' | 'length';
  readonly completionTokens: number;
}

export interface Session {
  /** Prompt tokens whose KV was reused for this request. */
  readonly cachedTokens: number;
  choice(options: ChoiceOptions, onDelta: (delta: Delta) => void): Promise<ChoiceResult>;
}

export interface GeneratorParts {
  readonly loaded: LoadedModel;
  readonly pool: SequencePool;
  readonly ledger: BlockLedger;
  readonly changes: ContextChanges;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly publish: (events: readonly BlockEvent[]) => void;
}

/**
 * Runs `work` with a sequence that holds the prompt but for its last token; gives the sequence back in any
 * case.
 */
export async function withSequence<T>(
  parts: GeneratorParts,
  prompt: Prompt,
  signal: AbortSignal,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { ledger, pool } = parts;
  const match = (sequence: number) =>
    prompt.sequence === undefined || prompt.sequence === sequence
      ? { commonPrefix: ledger.commonPrefix(sequence, prompt.tokens, prompt.salt) }
      : undefined;
  const index = await pool.acquire(match, signal);
  const run = new SequenceRun(parts, index, prompt, signal);
  try {
    const cachedTokens = await run.fill();
    parts.counters.promptTokens += prompt.tokens.length;
    parts.counters.cachedPromptTokens += cachedTokens;
    return await work({ cachedTokens, choice: (options, onDelta) => run.choice(options, onDelta) });
  } catch (error) {
    // After a failure inside llama.cpp nobody knows what the sequence holds: forget it.
    if (!(error instanceof Aborted)) await run.forget();
    throw error;
  } finally {
    pool.release(index);
  }
}

class SequenceRun {
  readonly #parts: GeneratorParts;
  readonly #index: number;
  readonly #sequence: LlamaContextSequence;
  readonly #prompt: Prompt;
  readonly #signal: AbortSignal;

  constructor(parts: GeneratorParts, index: number, prompt: Prompt, signal: AbortSignal) {
    const sequence = parts.loaded.sequences[index];
    if (!sequence) throw new Error(`no sequence ${index}`);
    this.#parts = parts;
    this.#index = index;
    this.#sequence = sequence;
    this.#prompt = prompt;
    this.#signal = signal;
  }

  /**
   * Makes the sequence hold the prompt without its last token; returns how many tokens were there already.
   */
  async fill(): Promise<number> {
    const { clock, counters, ledger } = this.#parts;
    const { tokens, salt } = this.#prompt;
    const started = clock.monotonicMs();
    const target = tokens.length - 1;
    const common = Math.min(target, ledger.commonPrefix(this.#index, tokens, salt));
    const kept = await this.#cutTo(common);
    if (kept === 0) ledger.setSalt(this.#index, salt);
    try {
      for (let at = kept; at < target; at += prefillChunkTokens) {
        this.#throwIfAborted();
        const chunk = tokens.slice(at, Math.min(target, at + prefillChunkTokens));
        await this.#parts.changes.settled();
        await this.#sequence.evaluateWithoutGeneratingNewTokens(chunk as Token[]);
        this.#evaluated(chunk);
      }
    } finally {
      counters.prefillSeconds += (clock.monotonicMs() - started) / 1000;
    }
    return kept;
  }

  async choice(options: ChoiceOptions, onDelta: (delta: Delta) => void): Promise<ChoiceResult> {
    await this.fill();
    const { clock, counters } = this.#parts;
    const started = clock.monotonicMs();
    const stream = new TextStream(options.stops);
    const logprobs = new HeldLogprobs();
    const generated: Token[] = [];
    let finishReason: ChoiceResult['finishReason'] = 'length';
    try {
      for await (const step of this.#steps(options, generated)) {
        generated.push(step.token);
        counters.generatedTokens += 1;
        if (this.#parts.loaded.isEnd(step.token)) {
          finishReason = 'stop';
          break;
        }
        if (step.probabilities && options.topLogprobs !== undefined) {
          const { temperature } = options.sampling;
          const top = options.topLogprobs;
          const logprob = tokenLogprob(step.token, step.probabilities, { temperature, top });
          logprobs.hold({ ...logprob, textOffset: stream.decodedChars });
        }
        const text = stream.push(this.#parts.loaded.vocabulary.textBytes(step.token));
        if (text !== '') onDelta({ text, logprobs: logprobs.release(stream.sentChars) });
        if (stream.stopped) {
          finishReason = 'stop';
          break;
        }
        if (generated.length >= options.tokensMax) break;
        this.#throwIfAborted();
      }
    } finally {
      counters.decodeSeconds += (clock.monotonicMs() - started) / 1000;
    }
    const rest = stream.end();
    const held = logprobs.release(stream.stopped ? stream.sentChars : Number.POSITIVE_INFINITY);
    if (rest !== '' || held.length > 0) onDelta({ text: rest, logprobs: held });
    return { finishReason, completionTokens: generated.length };
  }

  /** One entry per generated token. A token is evaluated, and so resident, when the next one is asked for. */
  async *#steps(
    options: ChoiceOptions,
    generated: readonly Token[],
  ): AsyncGenerator<{ token: Token; probabilities?: ReadonlyMap<Token, number> }> {
    const native = nativeOptions(options, this.#parts.loaded, generated);
    const last = this.#prompt.tokens.slice(-1) as Token[];
    const wanted = { probabilities: options.topLogprobs !== undefined };
    const iterator = this.#sequence.evaluateWithMetadata(last, wanted, native);
    let evaluating: readonly number[] = last;
    try {
      for (;;) {
        await this.#parts.changes.settled();
        const { value: step, done } = await iterator.next();
        if (done) break;
        this.#evaluated(evaluating);
        yield step;
        evaluating = [step.token];
      }
    } finally {
      await iterator.return();
    }
  }

  /** Empties the sequence and what is known about it. */
  async forget(): Promise<void> {
    this.#publish(this.#parts.ledger.truncate(this.#index, 0));
    await this.#parts.changes.make(() => this.#sequence.clearHistory()).catch(() => undefined);
  }

  #evaluated(tokens: readonly number[]): void {
    this.#publish(this.#parts.ledger.extend(this.#index, tokens));
  }

  /** Cuts the sequence back to `length` tokens, or to none if it can't; returns what is left. */
  async #cutTo(length: number): Promise<number> {
    const { ledger, loaded } = this.#parts;
    const resident = ledger.residentTokens(this.#index).length;
    const consistent = this.#sequence.nextTokenIndex === resident;
    if (consistent && resident === length) return length;
    const kept = consistent && loaded.canTrim ? length : 0;
    // Announced before it happens: a router may believe too little for a moment, never too much.
    this.#publish(ledger.truncate(this.#index, kept));
    const range = { start: kept, end: this.#sequence.nextTokenIndex };
    await this.#parts.changes.make(() => this.#sequence.eraseContextTokenRanges([range]));
    return kept;
  }

  #publish(events: readonly BlockEvent[]): void {
    if (events.length > 0) this.#parts.publish(events);
  }

  #throwIfAborted(): void {
    if (this.#signal.aborted) throw new Aborted();
  }
}

/**
 * Log-probabilities wait here until the text of their token is sent; what a stop string cuts off never is.
 */
class HeldLogprobs {
  #held: PlacedLogprob[] = [];

  hold(logprob: PlacedLogprob): void {
    this.#held.push(logprob);
  }

  release(sentChars: number): PlacedLogprob[] {
    const count = this.#held.findIndex((entry) => entry.textOffset >= sentChars);
    return this.#held.splice(0, count < 0 ? this.#held.length : count);
  }
}

function nativeOptions(
  options: ChoiceOptions,
  loaded: LoadedModel,
  generated: readonly Token[],
): SequenceEvaluateOptions {
  const { sampling } = options;
  const penalised = sampling.frequencyPenalty !== 0 || sampling.presencePenalty !== 0;
  const bias = new TokenBias(loaded.model.tokenizer);
  for (const [token, logit] of sampling.logitBias) bias.set(token as Token, { logit });
  return {
    temperature: sampling.temperature,
    topK: sampling.topK,
    topP: sampling.topP,
    minP: sampling.minP,
    seed: options.seed ?? randomInt(2 ** 32 - 1),
    yieldEogToken: true,
    ...(sampling.logitBias.size > 0 ? { tokenBias: bias } : {}),
    ...(options.grammar ? { grammarEvaluationState: options.grammar } : {}),
    ...(penalised
      ? {
          repeatPenalty: {
            punishTokens: () => generated.slice(),
            maxPunishTokens: options.tokensMax,
            penalty: 1,
            frequencyPenalty: sampling.frequencyPenalty,
            presencePenalty: sampling.presencePenalty,
          },
        }
      : {}),
  };
}
