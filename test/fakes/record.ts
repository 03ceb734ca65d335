/**
 * Records what a real engine answers, for `recorded.ts` to play: byte for byte, from the status line to the last chunk,
 * beside the request that it answers. Not a test: run it by hand against an engine on loopback, then write down in the
 * folder's README.md what that engine was.
 *
 *   node test/fakes/record.ts http://127.0.0.1:8000 MODEL test/fakes/recordings/ENGINE
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { isWholeAnswer } from './raw-http.ts';

const messages = [{ role: 'user', content: 'Once upon a time' }];
const base = { messages, max_tokens: 8, temperature: 0, seed: 7 };
const two = { n: 2, temperature: 0.8 };
const usage = { stream: true, stream_options: { include_usage: true } };
const text = { prompt: 'Once upon a time', max_tokens: 8, temperature: 0, seed: 7 };
const tool = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather of a city.',
    parameters: {
      type: 'object',
      properties: { city: { enum: ['Zürich', 'Tōkyō'] } },
      required: ['city'],
      additionalProperties: false,
    },
  },
};
const tools = { tools: [tool], tool_choice: 'required', max_tokens: 64 };
const logprobs = { logprobs: true, top_logprobs: 2 };
const schema = {
  type: 'json_schema',
  json_schema: { name: 'sea', strict: true, schema: tool.function.parameters },
};
const noSchema = { type: 'json_schema', json_schema: { name: 'sea', schema: { type: 'sea' } } };

const chat = '/v1/chat/completions';
const completions = '/v1/completions';
type Case = readonly [name: string, path: string, fields: Readonly<Record<string, unknown>>];
const cases: readonly Case[] = [
  ['chat', chat, base],
  ['chat-stream', chat, { ...base, stream: true }],
  ['chat-stream-usage', chat, { ...base, ...usage }],
  ['chat-two', chat, { ...base, ...two }],
  ['chat-two-stream', chat, { ...base, ...two, stream: true }],
  ['chat-two-stream-usage', chat, { ...base, ...two, ...usage }],
  ['logprobs', chat, { ...base, ...logprobs }],
  ['logprobs-stream', chat, { ...base, ...logprobs, stream: true }],
  ['logprobs-stream-usage', chat, { ...base, ...logprobs, ...usage }],
  ['tools', chat, { ...base, ...tools }],
  ['tools-stream', chat, { ...base, ...tools, stream: true }],
  ['tools-stream-usage', chat, { ...base, ...tools, ...usage }],
  ['format', chat, { ...base, max_tokens: 100, response_format: schema }],
  ['completion', completions, text],
  ['completion-stream', completions, { ...text, stream: true }],
  ['completion-stream-usage', completions, { ...text, ...usage }],
  ['embedding', '/v1/embeddings', { input: 'Once upon a time' }],
  ['error-too-long', chat, { ...base, messages: [{ role: 'user', content: 'far '.repeat(1200) }] }],
  ['error-type', chat, { ...base, stream: true, messages: 'none' }],
  ['error-schema', chat, { ...base, stream: true, response_format: noSchema }],
];

/** Sends a request and collects the answer as it stands on the wire. */
const exchange = (url: URL, method: string, path: string, body: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect(Number(url.port), url.hostname);
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      const answer = Buffer.concat(parts);
      if (!isWholeAnswer(answer)) return;
      socket.end();
      resolve(answer);
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`${path}: the connection ended within the answer`)));
    const head = [`${method} ${path} HTTP/1.1`, `host: ${url.host}`, 'content-type: application/json'];
    socket.write(`${head.join('\r\n')}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  });

const [address = '', model = '', folder = ''] = process.argv.slice(2);
const url = new URL(address);
mkdirSync(folder, { recursive: true });

const ask = (path: string, fields: object): Promise<Buffer> =>
  exchange(url, 'POST', path, JSON.stringify({ model, ...fields }));
const keep = (name: string, answer: Buffer): void => {
  const line = answer.toString('latin1', 0, answer.indexOf('\r'));
  process.stdout.write(`${name}: ${line}, ${answer.length} bytes\n`);
  writeFileSync(join(folder, `${name}.http`), answer);
};
/** Which choice each event is of; usage events are of none. */
const choicesOf = (answer: Buffer): string =>
  (answer.toString('latin1').match(/"index":\d+/g) ?? []).join(' ');

/**
 * A busy engine puts several tokens into one event, and several choices come in any order: a stream and its twin with
 * usage are kept from two like runs.
 */
const likeRuns = async (one: Case, twin: Case): Promise<readonly [Buffer, Buffer]> => {
  for (let tries = 0; tries < 30; tries += 1) {
    const answers = [await ask(one[1], one[2]), await ask(twin[1], twin[2])] as const;
    if (choicesOf(answers[0]) === choicesOf(answers[1])) return answers;
  }
  throw new Error(`${one[0]}: no two runs were cut alike`);
};

keep('models', await exchange(url, 'GET', '/v1/models', ''));
// Once before anything is kept: the recordings are those of a warm engine.
for (const [, path, fields] of cases) await ask(path, fields);
for (const one of cases) {
  const [name, path, fields] = one;
  writeFileSync(join(folder, `${name}.request`), `${path}\n${JSON.stringify({ model, ...fields })}`);
  const twin = cases.find(([other]) => other === `${name}-usage`);
  if (name.endsWith('-usage')) continue;
  const answers = twin === undefined ? [await ask(path, fields)] : await likeRuns(one, twin);
  for (const [at, answer] of answers.entries()) keep(at === 0 ? name : `${name}-usage`, answer);
}
