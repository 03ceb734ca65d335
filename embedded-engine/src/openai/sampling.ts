/**
 * The fields about choosing the next token, the same for chats and completions, and the readonly part of the
 * request that the generator works from. No HTTP here and no model.
 */
import * as limits from '../limits.ts';
import { invalid, unsupported } from './errors.ts';
import * as f from './fields.ts';

export interface Sampling {
  /** 0 is greedy: always the most likely token. */
  readonly temperature: number;
  readonly topP: number;
  /** 0 keeps all tokens. */
  readonly topK: number;
  readonly minP: number;
  /** `undefined`: another one each time. */
  readonly seed: number | undefined;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
}

const logitBias: f.Reader<ReadonlyMap<number, number>> = (value, name) => {
  const entries = Object.entries(f.object(value, name) ?? {});
  if (entries.length > limits.logitBiasEntriesMax) {
    throw invalid(name, `"${name}" takes at most ${limits.logitBiasEntriesMax} tokens.`);
  }
  return new Map(
    entries.map(([token, bias]) => {
      if (/^\d+$/.test(token) && typeof bias === 'number' && bias >= -100 && bias <= 100) {
        return [Number(token), bias];
      }
      throw invalid(name, `"${name}" maps token ids to numbers from -100 to 100.`);
    }),
  );
};

export const samplingFields = {
  temperature: f.withDefault(f.number(0, 2), 1),
  top_p: f.withDefault(f.number(0, 1), 1),
  top_k: f.withDefault(f.integer(-1, 1_000_000), 0),
  min_p: f.withDefault(f.number(0, 1), 0),
  seed: f.integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  frequency_penalty: f.withDefault(f.number(-2, 2), 0),
  presence_penalty: f.withDefault(f.number(-2, 2), 0),
  logit_bias: logitBias,
} as const;

export function samplingOf(fields: f.Fields<typeof samplingFields>): Sampling {
  return {
    temperature: fields.temperature,
    topP: fields.top_p,
    topK: Math.max(0, fields.top_k),
    minP: fields.min_p,
    // What clients of llama.cpp and vLLM write for "no seed".
    seed: fields.seed === -1 ? undefined : fields.seed,
    frequencyPenalty: fields.frequency_penalty,
    presencePenalty: fields.presence_penalty,
    logitBias: fields.logit_bias,
  };
}

/** What of the request depends on the model's vocabulary. */
export function checkTokens(
  sampling: Sampling,
  vocabulary: { readonly size: number; isEnd(token: number): boolean },
): void {
  for (const token of sampling.logitBias.keys()) {
    if (token >= vocabulary.size) throw invalid('logit_bias', `Token ${token} is not in the vocabulary.`);
    if (vocabulary.isEnd(token)) {
      throw unsupported('logit_bias', `Token ${token} ends the text; its bias can't be changed.`);
    }
  }
}
