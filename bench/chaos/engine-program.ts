/**
 * A fake engine in a process of its own, to be killed: vLLM's server as its bytes are documented, on
 * `/v1/chat/completions` and `/v1/completions`, with answers that are a function of prompt and emitted text
 * (`spoken-text.ts`). `continue_final_message` opens the last message instead of beginning a new one; together with
 * `add_generation_prompt`, which is on unless it is switched off, it is refused. Imports nothing of the product.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { metricsPage } from '../../test/fakes/engines/shapes.ts';
import { parseBody, sendJson, sseHeaders } from '../../test/fakes/fake-engine.ts';
import { vllmError } from '../../test/fakes/vllm.ts';
import type { EngineMessage, EngineNote, EngineStart } from './engine-messages.ts';
import { answerMark, type Message, promptOf, Speaker, tokensOf } from './spoken-text.ts';

type Fields = Readonly<Record<string, unknown>>;

const { port, model, wordMs } = JSON.parse(process.argv[2] ?? '') as EngineStart;
const prefillMs = 40;
/** Of a completion that names no limit. */
const completionTokens = 16;
let live = 0;
let isGone = false;

const tell = (message: EngineMessage): void => {
  if (!isGone) process.send?.(message);
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Asked {
  readonly prompt: string;
  /** Of the answer, brought along. */
  readonly emitted: string;
  readonly tokensMax: number;
  readonly includesUsage: boolean;
}

/** What vLLM says of a request that it can't serve. */
class Refusal extends Error {}

const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

const readChat = (fields: Fields): Pick<Asked, 'prompt' | 'emitted'> => {
  const messages = (Array.isArray(fields.messages) ? fields.messages : []) as readonly Message[];
  const opensLast = fields.continue_final_message === true;
  if (opensLast && fields.add_generation_prompt !== false) {
    throw new Refusal('Cannot set both `continue_final_message` and `add_generation_prompt` to True.');
  }
  const last = messages.at(-1);
  if (!opensLast || last === undefined) return { prompt: promptOf(messages), emitted: '' };
  return { prompt: promptOf(messages.slice(0, -1)), emitted: String(last.content) };
};

const readCompletion = ({ prompt }: Fields): Pick<Asked, 'prompt' | 'emitted'> => {
  const text = String(prompt);
  const at = text.indexOf(answerMark);
  const end = at < 0 ? text.length : at + answerMark.length;
  return { prompt: text.slice(0, end), emitted: text.slice(end) };
};

const readAsked = (isChat: boolean, fields: Fields): Asked => {
  const max = fields.max_completion_tokens ?? fields.max_tokens;
  if (typeof max === 'number' && max < 1) throw new Refusal(`max_tokens must be at least 1, got ${max}.`);
  return {
    ...(isChat ? readChat(fields) : readCompletion(fields)),
    tokensMax: typeof max === 'number' ? max : isChat ? Number.POSITIVE_INFINITY : completionTokens,
    includesUsage: isRecord(fields.stream_options) && fields.stream_options.include_usage === true,
  };
};

/** The events of one answer, in vLLM's words. */
const dialect = (isChat: boolean) => {
  const head = {
    id: `${isChat ? 'chatcmpl' : 'cmpl'}-${randomBytes(16).toString('hex')}`,
    object: isChat ? 'chat.completion.chunk' : 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model,
  };
  const choice = (content: string, finish: string | null): object => ({
    index: 0,
    ...(isChat ? { delta: { content } } : { text: content }),
    logprobs: null,
    finish_reason: finish,
    ...(finish === null ? {} : { stop_reason: null }),
    token_ids: null,
  });
  const event = (choices: readonly object[], more: object = isChat ? {} : { usage: null }): string =>
    `data: ${JSON.stringify({ ...head, choices, ...more })}\n\n`;
  const role = { index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null };
  return {
    begin: isChat ? event([role]) : '',
    word: (text: string, finish: string | null): string => event([choice(text, finish)]),
    usage: (promptTokens: number, completionTokens: number): string =>
      event([], {
        usage: {
          prompt_tokens: promptTokens,
          total_tokens: promptTokens + completionTokens,
          completion_tokens: completionTokens,
        },
      }),
  };
};

const stream = async (asked: Asked, isChat: boolean, response: ServerResponse): Promise<void> => {
  const { prompt, emitted, tokensMax, includesUsage } = asked;
  const say = dialect(isChat);
  const speaker = new Speaker(prompt, emitted);
  await pause(prefillMs);
  if (response.destroyed) return;
  response.writeHead(200, sseHeaders);
  response.write(say.begin);
  let said = 0;
  for (;;) {
    const word = speaker.next();
    // What ends an answer has no text; a limit is told with the last word.
    if (word === undefined) response.write(say.word('', 'stop'));
    else {
      said += 1;
      response.write(say.word(word, said >= tokensMax ? 'length' : null));
    }
    if (word === undefined || said >= tokensMax) break;
    await pause(wordMs);
    if (response.destroyed) return;
  }
  if (includesUsage) response.write(say.usage(tokensOf(prompt, emitted), said));
  response.end('data: [DONE]\n\n');
};

const infer = async (incoming: IncomingMessage, response: ServerResponse, isChat: boolean): Promise<void> => {
  const parts: Buffer[] = [];
  for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
  const requestId = String(incoming.headers['x-request-id'] ?? '');
  const note = (kind: EngineNote['kind'], emittedWords = 0): void => {
    if (requestId !== '') tell({ kind, requestId, emittedWords });
  };
  try {
    const asked = readAsked(isChat, parseBody(Buffer.concat(parts)) ?? {});
    note('begun', tokensOf('', asked.emitted));
    live += 1;
    response.once('close', () => {
      live -= 1;
      note(response.writableFinished ? 'whole' : 'broken off');
    });
    await stream(asked, isChat, response);
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    note('refused');
    sendJson(response, 400, vllmError(thrown.message, 'BadRequestError', 400));
  }
};

const figures = (): string =>
  metricsPage({
    'vllm:num_requests_running': live,
    'vllm:num_requests_waiting': 0,
    'vllm:kv_cache_usage_perc': 0.1,
  });

const models = JSON.stringify({
  object: 'list',
  data: [{ id: model, object: 'model', created: 1_761_000_000, owned_by: 'vllm', root: model, parent: null }],
});

const server = createServer((incoming, response) => {
  const [path = ''] = (incoming.url ?? '').split('?', 1);
  if (path === '/v1/models') sendJson(response, 200, models);
  else if (path === '/health') response.end();
  else if (path === '/metrics') response.end(figures());
  else if (path === '/v1/chat/completions' || path === '/v1/completions') {
    infer(incoming, response, path === '/v1/chat/completions').catch(() => response.destroy());
  } else sendJson(response, 404, '{"detail":"Not Found"}');
});
// An agent's pool must be the one that closes idle connections.
server.keepAliveTimeout = 60_000;
process.on('message', () => tell({ kind: 'running', live }));
process.once('disconnect', () => {
  isGone = true;
  process.exit();
});
server.listen(port, '127.0.0.1', () =>
  tell({ kind: 'listening', port: (server.address() as AddressInfo).port }),
);
