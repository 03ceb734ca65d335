/** `POST /v1/completions`: the table of its fields, and the readonly request it becomes. */
import * as limits from '../limits.ts';
import { invalid, unsupported } from './errors.ts';
import * as f from './fields.ts';
import { type GenerationRequest, generationFields, generationRequest } from './generation-request.ts';

export type PromptInput = string | readonly number[];

export interface CompletionRequest extends GenerationRequest {
  readonly prompts: readonly PromptInput[];
  /** Alternatives to report per token; `undefined` means no log-probabilities at all. */
  readonly topLogprobs: number | undefined;
  readonly echo: boolean;
}

function isTokens(value: f.Json): value is readonly number[] {
  return Array.isArray(value) && value.every((entry) => Number.isInteger(entry) && Number(entry) >= 0);
}

/**
 * A text, one prompt as token ids, or several of either: the shapes that prompts and embedding inputs share.
 */
export function readInputs(max: number): f.Reader<readonly PromptInput[] | undefined> {
  return (value, name) => {
    if (value === undefined) return undefined;
    if (typeof value === 'string') return [value];
    if (!Array.isArray(value) || value.length === 0) {
      throw invalid(name, `"${name}" must be a string, an array of strings, or arrays of token ids.`);
    }
    if (typeof value[0] === 'number' && isTokens(value)) return [value];
    if (value.length > max) throw invalid(name, `"${name}" takes at most ${max} entries.`);
    return value.map((entry: f.Json) => {
      if (typeof entry === 'string') return entry;
      if (isTokens(entry)) return entry;
      throw invalid(name, `"${name}" must hold strings or arrays of token ids.`);
    });
  };
}

const completionFields = {
  ...generationFields,
  prompt: f.required(readInputs(limits.promptsMax)),
  logprobs: f.integer(0, limits.legacyLogprobsMax),
  echo: f.withDefault(f.boolean, false),
  suffix: f.refused('this engine does not fill in the middle.', ''),
  best_of: f.integer(1, limits.choicesMax),
} as const;

export function parseCompletionRequest(body: f.JsonObject): CompletionRequest {
  const fields = f.readFields(completionFields, body);
  const request = generationRequest(fields, body);
  if (fields.best_of !== undefined && fields.best_of !== fields.n) {
    throw unsupported('best_of', '"best_of" other than "n" is not supported.');
  }
  if (fields.echo && fields.logprobs !== undefined) {
    throw unsupported(
      'logprobs',
      'log-probabilities of the prompt ("echo" with "logprobs") are not supported.',
    );
  }
  return {
    ...request,
    prompts: fields.prompt,
    topLogprobs: fields.logprobs,
    echo: fields.echo,
  };
}
