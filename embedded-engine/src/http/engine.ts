/** What the routes work with: the loaded model and everything around it, once it is there. */
import type { Clock } from '../clock.ts';
import type { GeneratorParts } from '../generation/generate.ts';
import type { PromptInput } from '../openai/completion-request.ts';
import { contextExceeded, invalid, modelNotFound } from '../openai/errors.ts';
import type { GenerationRequest } from '../openai/generation-request.ts';

export interface Engine extends GeneratorParts {
  readonly servedName: string;
  readonly toy: boolean;
  readonly clock: Clock;
  readonly startedUnixSeconds: number;
  /** Tokens to generate when a chat names no limit and the context would allow more. */
  readonly chatTokensDefault: number;
  /** Where slots are saved; undefined: nowhere. */
  readonly slotSavePath: string | undefined;
}

export function checkModel(engine: Engine, asked: string): void {
  if (asked !== engine.servedName) throw modelNotFound(asked, engine.servedName);
}

/** The slots of llama-server are our sequences. */
export function checkSlot(engine: Engine, slot: number): number {
  const slots = engine.loaded.sequences.length;
  if (slot >= slots) throw invalid('id_slot', `There is no slot ${slot}: this engine has ${slots}.`);
  return slot;
}

/** The sequence that a request asks for. */
export function sequenceFor(engine: Engine, { slot }: GenerationRequest): number | undefined {
  return slot === undefined ? undefined : checkSlot(engine, slot);
}

/** Token ids of a prompt or embedding input, checked to be in the vocabulary. */
export function promptTokens(engine: Engine, input: PromptInput, name: string): readonly number[] {
  const { loaded } = engine;
  const tokens = typeof input === 'string' ? loaded.tokenize(input, true) : input;
  if (tokens.length === 0) throw invalid(name, `"${name}" must not be empty.`);
  const wrong = tokens.find((token) => token >= loaded.vocabulary.size);
  if (wrong !== undefined) throw invalid(name, `Token ${wrong} is not in the vocabulary.`);
  if (tokens.length >= loaded.contextTokens) throw contextExceeded(tokens.length, loaded.contextTokens);
  return tokens;
}

/** The limit on generated tokens: what was asked for, or the default, but never more than fits. */
export function tokensMaxFor(engine: Engine, asked: number, prompt: readonly number[]): number {
  return Math.min(asked, engine.loaded.contextTokens - prompt.length);
}
