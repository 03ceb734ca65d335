/** `POST /v1/chat/completions`: the table of its fields, and the readonly request it becomes. */
import * as limits from '../limits.ts';
import { invalid, unsupported } from './errors.ts';
import * as f from './fields.ts';
import { type GenerationRequest, generationFields, generationRequest } from './generation-request.ts';
import { type ChatMessage, messages } from './messages.ts';
import { type OutputFormat, responseFormat } from './response-format.ts';

export interface ChatRequest extends GenerationRequest {
  readonly messages: readonly ChatMessage[];
  /** The last message is the beginning of the answer. */
  readonly isBegun: boolean;
  /** Alternatives to report per token; `undefined` means no log-probabilities at all. */
  readonly topLogprobs: number | undefined;
  readonly format: OutputFormat;
}

const noTools = 'this engine does not call tools.';
const textOnly = 'this engine reads and writes text only.';

const chatFields = {
  ...generationFields,
  messages: f.required(messages),
  add_generation_prompt: f.boolean,
  continue_final_message: f.withDefault(f.boolean, false),
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
    isBegun: isBegun(fields),
    maxTokens: newer ?? older,
    topLogprobs: fields.logprobs ? (fields.top_logprobs ?? 0) : undefined,
    format: fields.response_format,
  };
}

/** As in vLLM: a message that is continued leads to the answer itself. */
function isBegun(fields: f.Fields<typeof chatFields>): boolean {
  const { add_generation_prompt: leadsOn, continue_final_message: isContinued, messages } = fields;
  const last = messages.at(-1);
  if (isContinued && leadsOn === true) {
    throw invalid(
      'continue_final_message',
      '"continue_final_message" and "add_generation_prompt" can not both be true.',
    );
  }
  if (!isContinued && leadsOn === false) {
    throw unsupported(
      'add_generation_prompt',
      '"add_generation_prompt": false needs "continue_final_message": true.',
    );
  }
  if (isContinued && last?.role !== 'assistant') {
    throw invalid('continue_final_message', "the last message is not the assistant's.");
  }
  return isContinued;
}
