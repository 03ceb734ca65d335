/** `POST /v1/embeddings`: the table of its fields, and the readonly request it becomes. */
import * as limits from '../limits.ts';
import { type PromptInput, readInputs } from './completion-request.ts';
import { invalid } from './errors.ts';
import * as f from './fields.ts';

export interface EmbeddingRequest {
  readonly model: string;
  readonly inputs: readonly PromptInput[];
  readonly format: 'float' | 'base64';
  readonly dimensions: number | undefined;
}

const encodingFormat: f.Reader<'float' | 'base64'> = (value, name) => {
  if (value === undefined || value === 'float') return 'float';
  if (value === 'base64') return 'base64';
  throw invalid(name, `"${name}" must be "float" or "base64".`);
};

const embeddingFields = {
  model: f.required(f.string),
  input: f.required(readInputs(limits.embeddingInputsMax)),
  encoding_format: encodingFormat,
  dimensions: f.integer(1, 1_000_000),
  user: f.metadata,
} as const;

export function parseEmbeddingRequest(body: f.JsonObject): EmbeddingRequest {
  const fields = f.readFields(embeddingFields, body);
  return {
    model: fields.model,
    inputs: fields.input,
    format: fields.encoding_format,
    dimensions: fields.dimensions,
  };
}
