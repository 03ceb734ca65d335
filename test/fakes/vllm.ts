/**
 * vLLM's OpenAI server, as its bytes are documented: a role delta, content deltas, a finish, a usage event with
 * `choices: []` only when asked, compact JSON without escapes for Unicode, errors as `{"error":{...,"code":400}}`. Ids
 * and times are fixed, so that two answers to one question are the same bytes.
 */
import { createHash } from 'node:crypto';
import { type Answer, type Exchange, FakeEngine, parseBody, sendEvents, sendJson } from './fake-engine.ts';
import { type Asked, readAsked } from './openai-request.ts';

const created = 1_761_000_000;
const chatId = 'chatcmpl-6b1f0c2d9a7e4c53b8d2f1a0e9c87d65';
const promptTokens = 23;
/** Tokens as an engine cuts them: one inside a family of emoji, some with JSON's own characters. */
export const defaultTokens = [
  'Grüße',
  ' aus',
  ' "Köln"',
  '\n\t',
  '👩',
  '\u200d',
  '🚀',
  ' \\o/',
  ' 你好',
  '!',
];
const thoughts = ['The user', ' greets', ' me.'];
const schemaTokens = ['{"city":', ' "Paris",', ' "population":', ' 2102650}'];

export interface VllmOptions {
  readonly models: readonly string[];
  /** Sent with every stream though nobody asked (`--enable-force-include-usage`). */
  readonly volunteersUsage?: boolean;
}

const usageOf = (completion: number): object => ({
  prompt_tokens: promptTokens,
  total_tokens: promptTokens + completion,
  completion_tokens: completion,
  prompt_tokens_details: { cached_tokens: 16 },
});

const logprobOf = (token: string, top: number): object => ({
  token,
  logprob: -0.125,
  bytes: [...Buffer.from(token, 'utf8')],
  top_logprobs: Array.from({ length: top }, (_, rank) => ({
    token: rank === 0 ? token : `alternative ${rank}`,
    logprob: -0.125 - rank,
    bytes: [...Buffer.from(rank === 0 ? token : `alternative ${rank}`, 'utf8')],
  })),
});

const tokensFor = (asked: Asked): readonly string[] => {
  if (asked.jsonSchema) return schemaTokens;
  const digests = asked.images.map((url) => createHash('sha256').update(url).digest('hex').slice(0, 12));
  const tokens = digests.length > 0 ? ['I', ' see', ` ${digests.join(' ')}`, '.'] : defaultTokens;
  return tokens.slice(0, asked.maxTokens ?? tokens.length);
};

const callId = (index: number): string => `chatcmpl-tool-00000000000000000000000000${index}`;
const argumentsOf = (index: number, argument: string): readonly string[] => [
  `{"${argument}": "`,
  index === 0 ? 'Zürich' : 'Tōkyō',
  '"}',
];

const toolDeltas = (asked: Asked): object[] =>
  asked.tools.flatMap(({ name, argument }, index) => [
    { tool_calls: [{ id: callId(index), type: 'function', index, function: { name } }] },
    ...argumentsOf(index, argument).map((piece) => ({
      tool_calls: [{ index, function: { arguments: piece } }],
    })),
  ]);

interface Step {
  readonly delta: object;
  readonly token?: string;
}

const stepsFor = (asked: Asked): readonly Step[] => {
  if (asked.tools.length > 0) return toolDeltas(asked).map((delta) => ({ delta }));
  const reasoning = asked.thinks ? thoughts.map((token) => ({ delta: { reasoning: token }, token })) : [];
  return [...reasoning, ...tokensFor(asked).map((token) => ({ delta: { content: token }, token }))];
};

const chatEvents = (asked: Asked, volunteers: boolean): readonly string[] => {
  const head = { id: chatId, object: 'chat.completion.chunk', created, model: asked.model };
  const events: object[] = [];
  const say = (choice: object, tokens: number): void => {
    const usage = asked.continuousUsage ? { usage: usageOf(tokens) } : {};
    events.push({ ...head, choices: [choice], ...usage });
  };
  const indexes = Array.from({ length: asked.choices }, (_, index) => index);
  for (const index of indexes) {
    say({ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }, 0);
  }
  const steps = stepsFor(asked);
  for (const [at, { delta, token }] of steps.entries()) {
    const content = token === undefined || !asked.logprobs ? null : [logprobOf(token, asked.topLogprobs)];
    const logprobs = content === null ? null : { content };
    for (const index of indexes)
      say({ index, delta, logprobs, finish_reason: null, token_ids: null }, at + 1);
  }
  const reason = asked.tools.length > 0 ? 'tool_calls' : 'stop';
  for (const index of indexes) {
    const rest = { logprobs: null, finish_reason: reason, stop_reason: null, token_ids: null };
    say({ index, delta: { content: '' }, ...rest }, steps.length);
  }
  if (asked.includesUsage || volunteers) {
    events.push({ ...head, choices: [], usage: usageOf(steps.length * asked.choices) });
  }
  return events.map((event) => JSON.stringify(event));
};

const chatMessage = (asked: Asked): object => {
  const calls = asked.tools.map(({ name, argument }, index) => ({
    id: callId(index),
    type: 'function',
    function: { name, arguments: argumentsOf(index, argument).join('') },
  }));
  return {
    role: 'assistant',
    content: calls.length > 0 ? null : tokensFor(asked).join(''),
    refusal: null,
    annotations: null,
    audio: null,
    function_call: null,
    tool_calls: calls,
    reasoning: asked.thinks ? thoughts.join('') : null,
  };
};

const chatBody = (asked: Asked): string => {
  const content = asked.logprobs
    ? tokensFor(asked).map((token) => logprobOf(token, asked.topLogprobs))
    : null;
  const choices = Array.from({ length: asked.choices }, (_, index) => ({
    index,
    message: chatMessage(asked),
    logprobs: content === null ? null : { content },
    finish_reason: asked.tools.length > 0 ? 'tool_calls' : 'stop',
    stop_reason: null,
    token_ids: null,
  }));
  return JSON.stringify({
    id: chatId,
    object: 'chat.completion',
    created,
    model: asked.model,
    choices,
    service_tier: null,
    system_fingerprint: null,
    usage: usageOf(stepsFor(asked).length * asked.choices),
    prompt_logprobs: null,
    prompt_token_ids: null,
    kv_transfer_params: null,
  });
};

const completionHead = (asked: Asked) => ({
  id: 'cmpl-2f8c1d7e6b5a4938',
  object: 'text_completion',
  created,
  model: asked.model,
});

/** Unlike chat, completions write every field they have: `"usage":null` though nobody asked. */
const completionEvents = (asked: Asked, volunteers: boolean): readonly string[] => {
  const tokens = tokensFor(asked);
  const events: object[] = tokens.map((text, at) => ({
    ...completionHead(asked),
    choices: [
      {
        index: 0,
        text,
        logprobs: null,
        finish_reason: at + 1 === tokens.length ? 'stop' : null,
        stop_reason: null,
        prompt_token_ids: null,
        token_ids: null,
      },
    ],
    usage: asked.continuousUsage ? usageOf(at + 1) : null,
  }));
  if (asked.includesUsage || volunteers) {
    events.push({ ...completionHead(asked), choices: [], usage: usageOf(tokens.length) });
  }
  return events.map((event) => JSON.stringify(event));
};

const completionBody = (asked: Asked): string =>
  JSON.stringify({
    ...completionHead(asked),
    choices: [
      {
        index: 0,
        text: tokensFor(asked).join(''),
        logprobs: null,
        finish_reason: 'stop',
        stop_reason: null,
        prompt_logprobs: null,
      },
    ],
    usage: usageOf(tokensFor(asked).length),
    kv_transfer_params: null,
  });

/** Eight numbers that depend on the text alone, and survive single precision. */
export const vectorOf = (text: string): readonly number[] =>
  [...createHash('sha256').update(text).digest().subarray(0, 8)].map((byte) => byte / 256 - 0.5);

const embeddingBody = (fields: Readonly<Record<string, unknown>>): string => {
  const texts = Array.isArray(fields.input) ? fields.input.map(String) : [String(fields.input)];
  const asBase64 = fields.encoding_format === 'base64';
  return JSON.stringify({
    id: 'embd-7c6d5e4f3a2b1908',
    object: 'list',
    created,
    model: fields.model,
    data: texts.map((text, index) => {
      const vector = vectorOf(text);
      const base64 = (): string => Buffer.from(new Float32Array(vector).buffer).toString('base64');
      return { index, object: 'embedding', embedding: asBase64 ? base64() : vector };
    }),
    usage: { prompt_tokens: 7, total_tokens: 7, completion_tokens: 0, prompt_tokens_details: null },
  });
};

const modelList = (models: readonly string[]): string =>
  JSON.stringify({
    object: 'list',
    data: models.map((id) => ({
      id,
      object: 'model',
      created,
      owned_by: 'vllm',
      root: id,
      parent: null,
      max_model_len: 32_768,
      permission: [],
    })),
  });

export const vllmError = (message: string, type: string, code: number): string =>
  JSON.stringify({ error: { message, type, param: null, code } });

const chat = ({ response }: Exchange, asked: Asked, volunteers: boolean): void => {
  if (asked.stream) sendEvents(response, chatEvents(asked, volunteers));
  else sendJson(response, 200, chatBody(asked));
};

const completions = ({ response }: Exchange, asked: Asked, volunteers: boolean): void => {
  if (asked.stream) sendEvents(response, completionEvents(asked, volunteers));
  else sendJson(response, 200, completionBody(asked));
};

export const vllmAnswer = ({ models, volunteersUsage = false }: VllmOptions): Answer => {
  const unknownModel = (name: string): string =>
    vllmError(`The model \`${name}\` does not exist.`, 'NotFoundError', 404);
  return (exchange) => {
    const { received, response } = exchange;
    if (received.path === '/health') return void response.end();
    if (received.path === '/v1/models') return sendJson(response, 200, modelList(models));
    const fields = parseBody(received.body);
    if (fields === undefined)
      return sendJson(response, 400, vllmError('Invalid JSON', 'BadRequestError', 400));
    const asked = readAsked(fields);
    if (!models.includes(asked.model)) return sendJson(response, 404, unknownModel(asked.model));
    if (received.path === '/v1/chat/completions') return chat(exchange, asked, volunteersUsage);
    if (received.path === '/v1/completions') return completions(exchange, asked, volunteersUsage);
    if (received.path === '/v1/embeddings') return sendJson(response, 200, embeddingBody(fields));
    return sendJson(response, 404, JSON.stringify({ detail: 'Not Found' }));
  };
};

export const startVllm = (options: VllmOptions): Promise<FakeEngine> =>
  new FakeEngine(vllmAnswer(options)).start();
