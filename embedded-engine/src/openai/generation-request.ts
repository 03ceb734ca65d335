/**
 * What chats and completions have in common: the table of those fields, and the part of the readonly request that they
 * become. No HTTP here and no model.
 */
import * as limits from '../limits.ts';
import { invalid } from './errors.ts';
import * as f from './fields.ts';
import { type Sampling, samplingFields, samplingOf } from './sampling.ts';

export interface GenerationRequest {
  readonly model: string;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly sampling: Sampling;
  readonly maxTokens: number | undefined;
  readonly stops: readonly string[];
  readonly choices: number;
  readonly salt: string;
  /** The slot that the request is for; `undefined`: whichever suits. */
  readonly slot: number | undefined;
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

const streamOptions: f.Reader<{ includeUsage: boolean }> = (value, name) => {
  const fields = f.readFields(
    { include_usage: f.boolean, include_obfuscation: f.refused('not offered', false) },
    f.object(value, name) ?? {},
    `${name}.`,
  );
  return { includeUsage: fields.include_usage ?? false };
};

export const generationFields = {
  model: f.required(f.string),
  stream: f.withDefault(f.boolean, false),
  stream_options: streamOptions,
  ...samplingFields,
  max_tokens: f.integer(1, limits.contextTokensMax),
  stop,
  n: f.withDefault(f.integer(1, limits.choicesMax), 1),
  cache_salt: f.withDefault(f.string, ''),
  id_slot: f.integer(-1, limits.sequencesMax - 1),
  user: f.metadata,
} as const;

export function generationRequest(
  fields: f.Fields<typeof generationFields>,
  body: f.JsonObject,
): GenerationRequest {
  // Without "stream" it is a mistake that OpenAI's API refuses too.
  if (!fields.stream && (body.stream_options ?? null) !== null) {
    throw invalid('stream_options', '"stream_options" needs "stream": true.');
  }
  return {
    model: fields.model,
    stream: fields.stream,
    includeUsage: fields.stream_options.includeUsage,
    sampling: samplingOf(fields),
    maxTokens: fields.max_tokens,
    stops: fields.stop,
    choices: fields.n,
    salt: fields.cache_salt,
    slot: fields.id_slot === -1 ? undefined : fields.id_slot,
  };
}
