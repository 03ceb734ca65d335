/**
 * The fields about choosing the next token, the same for chats and completions, and the readonly request
 * that the generator works from. No HTTP here and no model.
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

const stop: f.Reader<readonly string[]> = (value, name) => {
  const stops = value === undefined ? [] : Array.isArray(value) ? value : [value];
  if (stops.length > limits.stopsMax) {
    throw invalid(name, `"${name}" takes at most ${limits.stopsMax} strings.`);
  }
  return stops.map((entry) => {
    if (typeof entry === 'string' && entry !== '' && entry.length <= limits.stopCharsMax) return entry;
    throw invalid(name, `"${name}" must hold strings of 1 to ${limits.stopCharsMax} characters.`);
  });
};

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

const streamOptions: f.Reader<{ includeUsage: boolean }> = (value, name) => {
  const fields = f.readFields(
    { include_usage: f.boolean, include_obfuscation: f.refused('not offered', false) },
    f.object(value, name) ?? {},
    `${name}.`,
  );
  return { includeUsage: fields.include_usage ?? false };
};

/** Fields that chats and completions share. */
export const sharedFields = {
  model: f.required(f.string),
  stream: f.withDefault(f.boolean, false),
  stream_options: streamOptions,
  temperature: f.withDefault(f.number(0, 2), 1),
  top_p: f.withDefault(f.number(0, 1), 1),
  top_k: f.withDefault(f.integer(-1, 1_000_000), 0),
  min_p: f.withDefault(f.number(0, 1), 0),
  seed: f.integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  max_tokens: f.integer(1, limits.contextTokensMax),
  stop,
  frequency_penalty: f.withDefault(f.number(-2, 2), 0),
  presence_penalty: f.withDefault(f.number(-2, 2), 0),
  logit_bias: logitBias,
  n: f.withDefault(f.integer(1, limits.choicesMax), 1),
  cache_salt: f.withDefault(f.string, ''),
  user: f.metadata,
} as const;

export type SharedFields = f.Fields<typeof sharedFields>;

export function samplingOf(fields: SharedFields): Sampling {
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

/** `stream_options` without `stream` is a mistake that OpenAI's API refuses too. */
export function checkStreamOptions(fields: SharedFields, body: f.JsonObject): void {
  if (!fields.stream && (body.stream_options ?? null) !== null) {
    throw invalid('stream_options', '"stream_options" needs "stream": true.');
  }
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
