/**
 * What in a request keeps another engine from going on with its answer, by the names that OpenAI's API, vLLM, SGLang,
 * llama.cpp and TensorRT-LLM give it: several answers, numbers that would not fit together, text by a grammar whose
 * state is lost, a prompt that text cannot be put behind. What is in no table passes.
 */
import type { InferencePath } from '@cognitora/protocol/openai';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';

export type RequestBlocker =
  /** No endpoint that writes text. */
  | 'endpoint'
  /** More than one answer. */
  | 'choices'
  | 'logprobs'
  | 'token_ids'
  /** Text by a grammar or a schema. */
  | 'structured_output'
  /** A tool call that is not the model's choice, which engines write by a grammar, too. */
  | 'tool_choice'
  | 'echo'
  | 'suffix'
  | 'audio'
  /** A prompt, or messages, that text cannot be put behind. */
  | 'prompt'
  /** The engine's own limit of tokens counts: some write on to the end of their context, others stop at 16. */
  | 'no_limit';

type Asks = (value: unknown) => boolean;

const isGiven: Asks = (value) => value !== undefined && value !== null;
const isTrue: Asks = (value) => value === true;
const isSeveral: Asks = (value) => typeof value === 'number' && value > 1;
/** Some names are a switch, others a count, of which 0 is one in a completion. */
const isCounted: Asks = (value) => value === true || typeof value === 'number';
const isPositive: Asks = (value) => typeof value === 'number' && value > 0;
const isFilled: Asks = (value) => isGiven(value) && value !== '';
const isForced: Asks = (value) => isGiven(value) && value !== 'auto' && value !== 'none';
const isNoText: Asks = (value) => isGiven(value) && !(isRecord(value) && value.type === 'text');
const isNotOnlyText: Asks = (value) => Array.isArray(value) && value.some((item) => item !== 'text');

const blockedMembers: readonly (readonly [name: string, asks: Asks, blocker: RequestBlocker])[] = [
  ['n', isSeveral, 'choices'],
  ['best_of', isSeveral, 'choices'],
  ['use_beam_search', isTrue, 'choices'],
  ['logprobs', isCounted, 'logprobs'],
  ['top_logprobs', isPositive, 'logprobs'],
  ['prompt_logprobs', isGiven, 'logprobs'],
  ['n_probs', isPositive, 'logprobs'],
  ['return_token_ids', isTrue, 'token_ids'],
  ['return_prompt_token_ids', isTrue, 'token_ids'],
  ['return_tokens', isTrue, 'token_ids'],
  ['response_format', isNoText, 'structured_output'],
  ['structured_outputs', isGiven, 'structured_output'],
  ['guided_json', isGiven, 'structured_output'],
  ['guided_regex', isGiven, 'structured_output'],
  ['guided_choice', isGiven, 'structured_output'],
  ['guided_grammar', isGiven, 'structured_output'],
  ['structural_tag', isGiven, 'structured_output'],
  ['json_schema', isGiven, 'structured_output'],
  ['grammar', isFilled, 'structured_output'],
  ['regex', isGiven, 'structured_output'],
  ['ebnf', isGiven, 'structured_output'],
  ['tool_choice', isForced, 'tool_choice'],
  ['function_call', isForced, 'tool_choice'],
  ['echo', isTrue, 'echo'],
  ['suffix', isFilled, 'suffix'],
  ['modalities', isNotOnlyText, 'audio'],
  ['audio', isGiven, 'audio'],
  ['prompt_embeds', isGiven, 'prompt'],
  ['prompt_token_ids', isGiven, 'prompt'],
  ['input_ids', isGiven, 'prompt'],
  ['truncate_prompt_tokens', isGiven, 'prompt'],
];

/** What bounds an answer's tokens. */
export const limitNames = ['max_tokens', 'max_completion_tokens', 'n_predict'] as const;

/**
 * A message of the assistant at the end is closed by some engines and continued by others, unless the request says
 * that it is to be continued.
 */
const takesMessage = ({ messages, continue_final_message: isContinued, ...body }: JsonRecord): boolean => {
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  if (!isRecord(last)) return false;
  if (isContinued === true) return last.role === 'assistant' && typeof last.content === 'string';
  return last.role !== 'assistant' && body.add_generation_prompt !== false;
};

const takesText = ({ prompt }: JsonRecord): boolean =>
  typeof (Array.isArray(prompt) && prompt.length === 1 ? prompt[0] : prompt) === 'string';

/** Why an answer to this request cannot be continued; undefined: nothing in the request keeps it from that. */
export const requestBlockerOf = (path: InferencePath, body: JsonRecord): RequestBlocker | undefined => {
  if (path === '/v1/embeddings') return 'endpoint';
  const blocked = blockedMembers.find(([name, asks]) => asks(body[name]));
  if (blocked !== undefined) return blocked[2];
  if (path === '/v1/chat/completions') return takesMessage(body) ? undefined : 'prompt';
  if (!takesText(body)) return 'prompt';
  return limitNames.some((name) => isGiven(body[name])) ? undefined : 'no_limit';
};

/** A text, or the numbers of one. */
const isOnePrompt = (prompt: unknown): boolean =>
  !Array.isArray(prompt) || prompt.length <= 1 || prompt.every((item) => typeof item === 'number');

/** Whether the answer is over when one choice has ended: others may be to come otherwise. */
export const asksOneAnswer = (body: JsonRecord): boolean => {
  const isSeveralAsked = blockedMembers.some(
    ([name, asks, blocker]) => blocker === 'choices' && asks(body[name]),
  );
  return !isSeveralAsked && isOnePrompt(body.prompt);
};
