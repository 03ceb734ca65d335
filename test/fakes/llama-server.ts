/**
 * llama-server (llama.cpp) as observed and as its source writes: response headers only with the first token, `choices`
 * before `created`, a role delta with `content: null`, `timings` on whichever event comes last, 503 while the model
 * loads, 400 `exceed_context_size_error`, `usage` on every last event of `/v1/completions`.
 */
import { type Answer, type Exchange, FakeEngine, parseBody, sendEvents, sendJson } from './fake-engine.ts';
import { type Asked, readAsked } from './openai-request.ts';

const created = 1_761_000_001;
const chatId = 'chatcmpl-Qw3rTy7uIoP9aSdF5gHjK1lZ';
const fingerprint = 'b9021-6f1d3b7a2';
const tokens = ['Once', ' upon', ' a', ' time', ' — «fin»'];
const contextTokens = 4096;

const usage = {
  completion_tokens: tokens.length,
  prompt_tokens: 31,
  total_tokens: 31 + tokens.length,
  prompt_tokens_details: { cached_tokens: 30 },
};
export const llamaTimings = {
  cache_n: 30,
  prompt_n: 1,
  prompt_ms: 4.25,
  prompt_per_token_ms: 4.25,
  prompt_per_second: 235.29411764705884,
  predicted_n: tokens.length,
  predicted_ms: 20.5,
  predicted_per_token_ms: 4.1,
  predicted_per_second: 243.90243902439025,
};

const promptTokens = usage.prompt_tokens;
/** Of a stream that asks for it: once the prompt has a slot, then behind each batch. */
const progress = [0, 20, promptTokens].map((processed) => ({
  prompt_progress: { total: promptTokens, cache: 0, processed, time_ms: processed },
}));

export interface LlamaServerOptions {
  readonly models: readonly string[];
  /** Answers 503 to everything until this resolves. */
  readonly loaded?: Promise<void>;
}

const chatEvents = (asked: Asked): readonly string[] => {
  const tail = {
    created,
    id: chatId,
    model: asked.model,
    system_fingerprint: fingerprint,
    object: 'chat.completion.chunk',
  };
  const choice = (delta: object, finish: string | null) => [{ finish_reason: finish, index: 0, delta }];
  const first = { choices: choice({ role: 'assistant', content: null }, null), ...tail };
  const events: object[] = [
    ...(asked.tellsProgress ? progress.map((told) => ({ ...first, ...told })) : []),
    first,
    ...tokens.map((content) => ({ choices: choice({ content }, null), ...tail })),
    { choices: choice({}, 'stop'), ...tail },
  ];
  if (asked.includesUsage) events.push({ choices: [], ...tail, usage });
  const last = events.length - 1;
  return events.map((event, at) => JSON.stringify(at === last ? { ...event, timings: llamaTimings } : event));
};

const completionEvents = (asked: Asked): readonly string[] =>
  [...tokens, ''].map((text, at) => {
    const isLast = at === tokens.length;
    return JSON.stringify({
      choices: [{ text, index: 0, logprobs: null, finish_reason: isLast ? 'stop' : null }],
      created,
      model: asked.model,
      system_fingerprint: fingerprint,
      object: 'text_completion',
      ...(isLast ? { usage } : {}),
      id: chatId,
      ...(isLast ? { timings: llamaTimings } : {}),
    });
  });

const chatBody = (asked: Asked): string =>
  JSON.stringify({
    choices: [{ finish_reason: 'stop', index: 0, message: { role: 'assistant', content: tokens.join('') } }],
    created,
    model: asked.model,
    system_fingerprint: fingerprint,
    object: 'chat.completion',
    usage,
    id: chatId,
    timings: llamaTimings,
  });

export const llamaError = (code: number, message: string, type: string, extra: object = {}): string =>
  JSON.stringify({ error: { code, message, type, ...extra } });

export const tooLongError = (promptTokens: number): string =>
  llamaError(
    400,
    `request (${promptTokens} tokens) exceeds the available context size (${contextTokens} tokens), try increasing it`,
    'exceed_context_size_error',
    { n_prompt_tokens: promptTokens, n_ctx: contextTokens },
  );

const complete = ({ received, response }: Exchange): void => {
  const fields = parseBody(received.body) ?? {};
  const asked = readAsked(fields);
  const promptTokens = Math.ceil(received.body.length / 4);
  const isChat = received.path === '/v1/chat/completions';
  if (promptTokens > contextTokens) sendJson(response, 400, tooLongError(promptTokens));
  else if (!asked.stream) sendJson(response, 200, chatBody(asked));
  else sendEvents(response, isChat ? chatEvents(asked) : completionEvents(asked));
};

export const llamaServerAnswer = ({ models, loaded = Promise.resolve() }: LlamaServerOptions): Answer => {
  let isLoaded = false;
  loaded.then(
    () => {
      isLoaded = true;
    },
    () => {},
  );
  return (exchange) => {
    const { received, response } = exchange;
    if (!isLoaded) {
      return sendJson(response, 503, llamaError(503, 'Loading model', 'unavailable_error'));
    }
    if (received.path === '/v1/models') {
      const data = models.map((id) => ({ id, object: 'model', created, owned_by: 'llamacpp' }));
      return sendJson(response, 200, JSON.stringify({ object: 'list', data }));
    }
    if (received.path === '/v1/embeddings') {
      const message = 'This server does not support embeddings. Start it with `--embeddings`';
      return sendJson(response, 501, llamaError(501, message, 'not_supported_error'));
    }
    return complete(exchange);
  };
};

export const startLlamaServer = (options: LlamaServerOptions): Promise<FakeEngine> =>
  new FakeEngine(llamaServerAnswer(options)).start();
