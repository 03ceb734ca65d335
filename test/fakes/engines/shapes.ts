/** What most engines write alike: lists of models, chats and completions in OpenAI's shape, a page of metrics. */
import { type Answer, parseBody, sendEvents, sendJson } from '../fake-engine.ts';
import { type Asked, readAsked } from '../openai-request.ts';
import type { Serving } from './fake.ts';

export const created = 1_761_000_003;

export interface Dialect {
  readonly id: string;
  /** Behind `model` in each event and body. */
  readonly extra: object;
  readonly tokens: readonly string[];
  /** `delta` of an event, from what changes. */
  readonly delta: (change: object) => object;
  /** Beside `index`, `delta` or `message`, and `finish_reason` in each choice. */
  readonly choice: (finish: string | null) => object;
  /** `usage` of events that say nothing of it; undefined: left out. */
  readonly noUsage: null | undefined;
  readonly usage: object;
}

const headOf = ({ id, extra }: Dialect, object: string, asked: Asked): object => ({
  ...{ id, object, created, model: asked.model },
  ...extra,
});
const quiet = ({ noUsage }: Dialect): object => (noUsage === undefined ? {} : { usage: noUsage });

const events = (dialect: Dialect, asked: Asked, isChat: boolean): readonly string[] => {
  const head = headOf(dialect, isChat ? 'chat.completion.chunk' : 'text_completion', asked);
  const { delta, choice, tokens } = dialect;
  const changes = [{ role: 'assistant', content: '' }, ...tokens.map((content) => ({ content })), {}];
  const chat = changes.map((change, at) => {
    const finish = at === changes.length - 1 ? 'stop' : null;
    return { index: 0, delta: delta(change), ...choice(finish), finish_reason: finish };
  });
  const plain = [...tokens, ''].map((text, at) => {
    const finish = at === tokens.length ? 'stop' : null;
    return { index: 0, text, ...choice(finish), finish_reason: finish };
  });
  const said: object[] = (isChat ? chat : plain).map((one) => ({
    ...head,
    choices: [one],
    ...quiet(dialect),
  }));
  if (asked.includesUsage) said.push({ ...head, choices: [], usage: dialect.usage });
  return said.map((one) => JSON.stringify(one));
};

const body = (dialect: Dialect, asked: Asked, isChat: boolean): string => {
  const text = dialect.tokens.join('');
  const said = isChat ? { message: { role: 'assistant', content: text } } : { text };
  const choice = { index: 0, ...said, ...dialect.choice('stop'), finish_reason: 'stop' };
  const head = headOf(dialect, isChat ? 'chat.completion' : 'text_completion', asked);
  return JSON.stringify({ ...head, choices: [choice], usage: dialect.usage });
};

/** Answers chats and completions in this dialect. */
export const speak =
  (dialect: Dialect, unknownModel: (name: string) => string) =>
  ({ models }: Serving): Answer =>
  ({ received, response }) => {
    const asked = readAsked(parseBody(received.body) ?? {});
    const isChat = received.path === '/v1/chat/completions';
    if (!models.includes(asked.model)) sendJson(response, 404, unknownModel(asked.model));
    else if (asked.stream) sendEvents(response, events(dialect, asked, isChat));
    else sendJson(response, 200, body(dialect, asked, isChat));
  };

export const modelList = (models: readonly string[], ownedBy: string, more: object = {}): string =>
  JSON.stringify({
    object: 'list',
    data: models.map((id) => ({ id, object: 'model', created, owned_by: ownedBy, ...more })),
  });

/** Prometheus text: name with its labels -> value. */
export const metricsPage = (figures: Readonly<Record<string, number>>): string => {
  const lines = Object.entries(figures).flatMap(([series, value]) => {
    const name = series.replace(/\{.*/, '');
    return [`# HELP ${name} As documented.`, `# TYPE ${name} gauge`, `${series} ${value}`];
  });
  return `${lines.join('\n')}\n`;
};

export type Routes = Readonly<Record<string, Answer>>;

export const text =
  (page: () => string, type = 'text/plain; version=0.0.4; charset=utf-8'): Answer =>
  ({ response }) => {
    response.writeHead(200, { 'content-type': type });
    response.end(page());
  };
export const empty: Answer = ({ response }) => {
  response.writeHead(200, { 'content-length': '0' });
  response.end();
};
export const json =
  (page: () => string): Answer =>
  ({ response }) =>
    sendJson(response, 200, page());

/** By path; what is on none of them gets `otherwise`. */
export const routed =
  (routes: Routes, otherwise: Answer): Answer =>
  (exchange) =>
    (routes[exchange.received.path] ?? otherwise)(exchange);

/** As FastAPI says it. */
export const notFound: Answer = ({ response }) =>
  sendJson(response, 404, JSON.stringify({ detail: 'Not Found' }));
