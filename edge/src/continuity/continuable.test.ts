import { expect, test } from 'vitest';
import { type RequestBlocker, requestBlockerOf } from './continuable.ts';

const chat = '/v1/chat/completions';
const completions = '/v1/completions';
const messages = [{ role: 'user', content: 'Hi' }];
const prompt = { prompt: 'Hi', max_tokens: 20 };

test.each<[what: string, more: object]>([
  ['nothing else', {}],
  ['one answer', { n: 1, best_of: 1 }],
  ['no logprobs', { logprobs: false, top_logprobs: 0, prompt_logprobs: null }],
  ['text as its format', { response_format: { type: 'text' } }],
  ['no format', { response_format: null, structured_outputs: null, grammar: '', json_schema: null }],
  ['tools to choose from', { tools: [{}], tool_choice: 'auto', function_call: 'none' }],
  ['text alone', { modalities: ['text'] }],
  ['stop sequences, a seed, what nobody has invented yet', { stop: ['END'], seed: 3, x_new: { n: 2 } }],
])('a chat with %s can be continued', (_, more) => {
  expect(requestBlockerOf(chat, { messages, ...more })).toBeUndefined();
});

test.each<[blocker: RequestBlocker, more: object]>([
  ['choices', { n: 2 }],
  ['choices', { best_of: 3 }],
  ['choices', { use_beam_search: true }],
  ['logprobs', { logprobs: true }],
  ['logprobs', { logprobs: 0 }],
  ['logprobs', { top_logprobs: 2 }],
  ['logprobs', { prompt_logprobs: 0 }],
  ['logprobs', { n_probs: 1 }],
  ['token_ids', { return_token_ids: true }],
  ['structured_output', { response_format: { type: 'json_object' } }],
  ['structured_output', { response_format: { type: 'json_schema', json_schema: {} } }],
  ['structured_output', { response_format: 'text' }],
  ['structured_output', { structured_outputs: { choice: ['a'] } }],
  ['structured_output', { guided_json: {} }],
  ['structured_output', { guided_regex: 'a' }],
  ['structured_output', { guided_choice: ['a'] }],
  ['structured_output', { guided_grammar: 'a' }],
  ['structured_output', { json_schema: {} }],
  ['structured_output', { grammar: 'root ::= "a"' }],
  ['structured_output', { regex: 'a' }],
  ['structured_output', { ebnf: 'a' }],
  ['tool_choice', { tool_choice: 'required' }],
  ['tool_choice', { tool_choice: { type: 'function', function: { name: 'f' } } }],
  ['tool_choice', { function_call: { name: 'f' } }],
  ['echo', { echo: true }],
  ['suffix', { suffix: 'end' }],
  ['audio', { modalities: ['text', 'audio'] }],
  ['audio', { audio: { voice: 'a' } }],
  ['prompt', { prompt_embeds: 'x' }],
  ['prompt', { prompt_token_ids: [1] }],
  ['prompt', { input_ids: [1] }],
  ['prompt', { truncate_prompt_tokens: 5 }],
])('%s keeps it from that: %j', (blocker, more) => {
  expect(requestBlockerOf(chat, { messages, ...more })).toBe(blocker);
  expect(requestBlockerOf(completions, { ...prompt, ...more })).toBe(blocker);
});

const began = [...messages, { role: 'assistant', content: 'Well' }];

test.each<[what: string, body: object, blocker: RequestBlocker | undefined]>([
  [
    'an answer that the client began, and says so',
    { messages: began, continue_final_message: true },
    undefined,
  ],
  ['one of which it does not say whether it is whole', { messages: began }, 'prompt'],
  ['one to be continued where there is none', { messages, continue_final_message: true }, 'prompt'],
  [
    'one in parts',
    {
      messages: [{ role: 'assistant', content: [{ type: 'text', text: 'a' }] }],
      continue_final_message: true,
    },
    'prompt',
  ],
  ['a prompt that does not lead to an answer', { messages, add_generation_prompt: false }, 'prompt'],
  ['no messages', { messages: [] }, 'prompt'],
  ['a text in their place', { messages: 'Hi' }, 'prompt'],
])('of a chat with %s', (_, body, blocker) => {
  expect(requestBlockerOf(chat, { ...body })).toBe(blocker);
});

test.each<[what: string, body: object, blocker: RequestBlocker | undefined]>([
  ['one prompt', prompt, undefined],
  ['a list of one', { ...prompt, prompt: ['Hi'] }, undefined],
  ['a list of two', { ...prompt, prompt: ['Hi', 'Ho'] }, 'prompt'],
  ['token ids', { ...prompt, prompt: [1, 2] }, 'prompt'],
  ['a list of token ids', { ...prompt, prompt: [[1, 2]] }, 'prompt'],
  ['no prompt', { max_tokens: 5 }, 'prompt'],
  ['no limit: engines stop at 16 tokens, or never', { prompt: 'Hi' }, 'no_limit'],
  ["llama.cpp's own name for it", { prompt: 'Hi', n_predict: -1 }, undefined],
])('of a completion of %s', (_, body, blocker) => {
  expect(requestBlockerOf(completions, { ...body })).toBe(blocker);
});

test('an embedding is no answer that goes on', () => {
  expect(requestBlockerOf('/v1/embeddings', { input: 'Hi' })).toBe('endpoint');
});
