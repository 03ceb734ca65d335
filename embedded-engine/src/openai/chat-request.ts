/** `POST /v1/chat/completions`: the table of its fields, and the readonly request it becomes. */
import * as limits from '../limits.ts';
import { invalid } from './errors.ts';
import * as f from './fields.ts';
import { type GenerationRequest, generationFields, generationRequest } from './generation-request.ts';
import { type ChatMessage, messages } from './messages.ts';
import { type OutputFormat, responseFormat } from './response-format.ts';

export interface ChatRequest extends GenerationRequest {
  readonly messages: readonly ChatMessage[];
  /** Alternatives to report per token; `undefined` means no log-probabilities at all. */
  readonly topLogprobs: number | undefined;
  readonly format: OutputFormat;
}

const noTools = 'this engine does not call tools.';
const textOnly = 'this engine reads and writes text only.';

const chatFields = {
  ...generationFields,
  messages: f.required(messages),
  max_completion_tokens: f.integer(1, limits.contextTokensMax),
  logprobs: f.withDefault(f.boolean, false),
  top_logprobs: f.integer(0, limits.topLogprobsMax),
  response_format: responseFormat,
  tools: f.refused(noTools, []),
  tool_choice: f.refused(noTools, 'none', 'auto'),
  functions: f.refused(noTools, []),
  function_call: f.refused(noTools, 'none', 'auto'),
  parallel_tool_calls: f.metadata,
  modalities: f.refused(textOnly, ['text']),
  audio: f.refused(textOnly),
  prediction: f.refused('predicted outputs are not supported.'),
  reasoning_effort: f.refused('this model does not reason.', 'none'),
  verbosity: f.refused('verbosity can not be set.', 'medium'),
  web_search_options: f.refused('there is no web search.'),
  metadata: f.metadata,
  store: f.refused('completions are not stored.', false),
  service_tier: f.refused('there is one tier.', 'auto', 'default'),
  safety_identifier: f.metadata,
  prompt_cache_key: f.metadata,
  prompt_cache_retention: f.refused('the cache keeps what fits.', 'in_memory', 'in-memory'),
} as const;

export function parseChatRequest(body: f.JsonObject): ChatRequest {
  const fields = f.readFields(chatFields, body);
  const request = generationRequest(fields, body);
  if (fields.top_logprobs !== undefined && !fields.logprobs) {
    throw invalid('top_logprobs', '"top_logprobs" needs "logprobs": true.');
  }
  const { max_tokens: older, max_completion_tokens: newer } = fields;
  if (older !== undefined && newer !== undefined && older !== newer) {
    throw invalid('max_tokens', '"max_tokens" and "max_completion_tokens" differ; give one.');
  }
  return {
    ...request,
    messages: fields.messages,
    maxTokens: newer ?? older,
    topLogprobs: fields.logprobs ? (fields.top_logprobs ?? 0) : undefined,
    format: fields.response_format,
  };
}
