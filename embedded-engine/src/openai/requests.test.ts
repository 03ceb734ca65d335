import { describe, expect, it } from 'vitest';
import { parseChatRequest } from './chat-request.ts';
import { parseCompletionRequest } from './completion-request.ts';
import { parseEmbeddingRequest } from './embedding-request.ts';
import { ApiError } from './errors.ts';
import { type JsonObject, parseBody } from './fields.ts';

const chat = (fields: JsonObject) =>
  parseChatRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...fields });

function refusal(run: () => unknown): { status: number; code: string | null; param: string | null } {
  try {
    run();
  } catch (error) {
    if (error instanceof ApiError) return { status: error.status, code: error.code, param: error.param };
    throw error;
  }
  throw new Error('it was accepted');
}

const unsupported = (param: string) => ({ status: 400, code: 'unsupported', param });
const invalid = (param: string) => ({ status: 400, code: 'invalid_value', param });

describe('a chat request', () => {
  it("has OpenAI's defaults", () => {
    expect(chat({})).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
      isBegun: false,
      stream: false,
      includeUsage: false,
      sampling: {
        temperature: 1,
        topP: 1,
        topK: 0,
        minP: 0,
        seed: undefined,
        frequencyPenalty: 0,
        presencePenalty: 0,
        logitBias: new Map(),
      },
      maxTokens: undefined,
      stops: [],
      choices: 1,
      topLogprobs: undefined,
      format: { kind: 'text' },
      salt: '',
    });
  });

  it('may end with the beginning of the answer, if it says so', () => {
    const messages = [
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'Well' },
    ];
    expect(chat({ messages }).isBegun).toBe(false);
    expect(chat({ messages, continue_final_message: true }).isBegun).toBe(true);
    const flags = { continue_final_message: true, add_generation_prompt: false };
    expect(chat({ messages, ...flags }).isBegun).toBe(true);
    const both = { messages, continue_final_message: true, add_generation_prompt: true };
    expect(refusal(() => chat(both))).toEqual(invalid('continue_final_message'));
    expect(refusal(() => chat(flags))).toEqual(invalid('continue_final_message'));
    expect(refusal(() => chat({ add_generation_prompt: false }))).toEqual(
      unsupported('add_generation_prompt'),
    );
  });

  it('accepts fields that ask for nothing', () => {
    const harmless: JsonObject = {
      user: 'u',
      metadata: { a: 'b' },
      store: false,
      service_tier: 'auto',
      safety_identifier: 's',
      prompt_cache_key: 'k',
      parallel_tool_calls: true,
      add_generation_prompt: true,
      continue_final_message: false,
      tools: [],
      tool_choice: 'none',
      modalities: ['text'],
      response_format: { type: 'text' },
      stop: null,
      seed: null,
    };
    expect(chat(harmless)).toEqual(chat({}));
  });

  it.each([
    ['tools', [{ type: 'function' }]],
    ['tool_choice', 'required'],
    ['functions', [{}]],
    ['audio', {}],
    ['modalities', ['text', 'audio']],
    ['store', true],
    ['service_tier', 'flex'],
    ['prediction', {}],
    ['web_search_options', {}],
    ['reasoning_effort', 'high'],
    ['ignore_eos', true],
    ['__proto__x', 1],
  ])('refuses %s, which it can not do, by name', (name, value) => {
    expect(refusal(() => chat({ [name]: value as never }))).toEqual(unsupported(name));
  });

  it('refuses what is not text in messages', () => {
    const image = [{ type: 'image_url', image_url: { url: 'data:' } }];
    expect(refusal(() => chat({ messages: [{ role: 'user', content: image }] }))).toEqual(
      unsupported('messages'),
    );
    expect(refusal(() => chat({ messages: [{ role: 'tool', content: 'x' }] }))).toEqual(
      unsupported('messages'),
    );
    const call = { role: 'assistant', content: null, tool_calls: [{ id: 'x' }] };
    expect(refusal(() => chat({ messages: [call] }))).toMatchObject({ code: 'unsupported' });
    expect(refusal(() => chat({ messages: [{ role: 'king', content: 'x' }] }))).toEqual(invalid('messages'));
    expect(refusal(() => chat({ messages: [] }))).toEqual(invalid('messages'));
  });

  it('joins text parts and reads developer as system', () => {
    const parts = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(chat({ messages: [{ role: 'developer', content: parts }] }).messages).toEqual([
      { role: 'system', content: 'ab' },
    ]);
  });

  it.each([
    ['temperature', 2.1],
    ['temperature', 'hot'],
    ['top_p', -0.1],
    ['n', 0],
    ['n', 9],
    ['max_tokens', 0],
    ['max_tokens', 1.5],
    ['stop', ['a', 'b', 'c', 'd', 'e']],
    ['stop', ''],
    ['logit_bias', { x: 1 }],
    ['logit_bias', { 5: 101 }],
    ['stream', 'yes'],
    ['stream_options', { include_usage: true }],
    ['top_logprobs', 2],
  ])('refuses %s = %j', (name, value) => {
    expect(refusal(() => chat({ [name]: value as never }))).toEqual(invalid(name));
  });

  it('takes every whole seed that JSON keeps exactly, and -1 for none', () => {
    for (const seed of [0, -2, 2 ** 32 + 7, Number.MAX_SAFE_INTEGER]) {
      expect(chat({ seed }).sampling.seed).toBe(seed);
    }
    expect(chat({ seed: -1 }).sampling.seed).toBeUndefined();
    for (const seed of [2 ** 53, 1.5, '7']) expect(refusal(() => chat({ seed }))).toEqual(invalid('seed'));
  });

  it('needs model and messages', () => {
    expect(refusal(() => parseChatRequest({ messages: [{ role: 'user', content: 'x' }] }))).toEqual(
      invalid('model'),
    );
    expect(refusal(() => parseChatRequest({ model: 'm' }))).toEqual(invalid('messages'));
  });

  it('takes one limit on tokens, under either name', () => {
    expect(chat({ max_completion_tokens: 5 }).maxTokens).toBe(5);
    expect(chat({ max_tokens: 5, max_completion_tokens: 5 }).maxTokens).toBe(5);
    expect(refusal(() => chat({ max_tokens: 4, max_completion_tokens: 5 }))).toEqual(invalid('max_tokens'));
  });
});

describe('response_format', () => {
  const schema = (value: JsonObject) =>
    chat({
      response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema: value } },
    }).format;

  it('accepts schemas that the grammar enforces in full', () => {
    const value: JsonObject = {
      type: 'object',
      title: 'T',
      properties: {
        a: { anyOf: [{ type: 'string', maxLength: 3 }, { $ref: '#/$defs/d' }] },
        b: { enum: [1, null] },
      },
      required: ['a', 'b'],
      additionalProperties: false,
      $defs: { d: { type: 'array', items: { type: ['integer', 'null'] } } },
    };
    expect(schema(value)).toMatchObject({
      kind: 'schema',
      schema: { properties: { a: { oneOf: [{ type: 'string' }, { $ref: '#/$defs/d' }] } } },
    });
    expect(chat({ response_format: { type: 'json_object' } }).format).toEqual({ kind: 'json' });
  });

  it.each([
    [{ type: 'string', pattern: 'a+' }],
    [{ type: 'integer', minimum: 3 }],
    [{ type: 'object', patternProperties: {} }],
    [{ type: 'array', items: { type: 'string', format: 'email' } }],
    [{ $ref: '#/$defs/missing' }],
    [{ type: 'string', maxLength: 2001 }],
    [{ not: {} }],
    [{}],
  ])('refuses %j, whose promise it could not keep', (value) => {
    expect(refusal(() => schema(value as JsonObject))).toEqual(unsupported('response_format'));
  });

  it('refuses a schema nested without end', () => {
    let deep: JsonObject = { type: 'string' };
    for (let depth = 0; depth < 50; depth++) deep = { type: 'array', items: deep };
    expect(refusal(() => schema(deep))).toEqual(invalid('response_format'));
  });
});

describe('a completion request', () => {
  const complete = (fields: JsonObject) => parseCompletionRequest({ model: 'm', prompt: 'p', ...fields });

  it('takes a text, texts, token ids, or lists of token ids', () => {
    expect(complete({}).prompts).toEqual(['p']);
    expect(complete({ prompt: ['a', 'b'] }).prompts).toEqual(['a', 'b']);
    expect(complete({ prompt: [1, 2] }).prompts).toEqual([[1, 2]]);
    expect(complete({ prompt: [[1], [2, 3]] }).prompts).toEqual([[1], [2, 3]]);
    expect(refusal(() => complete({ prompt: [1, 'a'] }))).toEqual(invalid('prompt'));
    expect(refusal(() => complete({ prompt: [-1] }))).toEqual(invalid('prompt'));
    expect(refusal(() => complete({ prompt: [] }))).toEqual(invalid('prompt'));
  });

  it('refuses what it can not do', () => {
    expect(refusal(() => complete({ suffix: 'x' }))).toEqual(unsupported('suffix'));
    expect(refusal(() => complete({ best_of: 3 }))).toEqual(unsupported('best_of'));
    expect(refusal(() => complete({ echo: true, logprobs: 1 }))).toEqual(unsupported('logprobs'));
    expect(refusal(() => complete({ messages: [] }))).toEqual(unsupported('messages'));
  });
});

describe('an embedding request', () => {
  it('knows both encodings and nothing else', () => {
    expect(parseEmbeddingRequest({ model: 'm', input: 'a' }).format).toBe('float');
    expect(parseEmbeddingRequest({ model: 'm', input: 'a', encoding_format: 'base64' }).format).toBe(
      'base64',
    );
    expect(refusal(() => parseEmbeddingRequest({ model: 'm', input: 'a', encoding_format: 'hex' }))).toEqual(
      invalid('encoding_format'),
    );
  });
});

describe('a request body', () => {
  it('must be a JSON object', () => {
    for (const text of ['', '{', '[]', 'null', '"x"']) {
      expect(refusal(() => parseBody(text))).toEqual({ status: 400, code: 'invalid_json', param: null });
    }
  });
});
