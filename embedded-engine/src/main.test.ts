import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Unpackr } from 'msgpackr';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dealer, Subscriber } from 'zeromq';
import { type BlockHash, blockHash } from './kv-events/chain.ts';
import { schemaRepetitionsMax } from './limits.ts';
import { buildTiny } from './models/tiny.ts';
import { freePorts } from './testing/free-ports.ts';
import {
  at,
  type Client,
  createClient,
  endPrograms,
  type Program,
  startProgram,
  until,
} from './testing/program.ts';

/** The real program, started once for all tests below; those that end it start their own. */

let models = '';
let program: Program;
let client: Client;
let subscriber: Subscriber;
const published: { sequence: bigint; payload: Buffer }[] = [];
let eventsEndpoint = '';
let replayEndpoint = '';

beforeAll(async () => {
  const [eventsPort, replayPort] = await freePorts();
  eventsEndpoint = `tcp://127.0.0.1:${eventsPort}`;
  replayEndpoint = `tcp://127.0.0.1:${replayPort}`;
  models = await mkdtemp(path.join(tmpdir(), 'engine-'));
  subscriber = new Subscriber({ linger: 0 });
  subscriber.connect(eventsEndpoint);
  subscriber.subscribe('kv-events');
  program = startProgram([
    ...[
      '--model',
      'tiny',
      '--models-dir',
      models,
      '--progress-json',
      '--sequences',
      '4',
      '--context',
      '2048',
    ],
    ...['--kv-events', eventsEndpoint, '--kv-events-replay', replayEndpoint],
  ]);
  client = createClient((await program.line).url);
  readEvents().catch(() => undefined);
}, 30_000);

afterAll(async () => {
  subscriber?.close();
  await endPrograms();
  await rm(models, { recursive: true, force: true });
});

async function readEvents(): Promise<void> {
  for await (const [topic, sequence, payload] of subscriber) {
    expect(topic?.toString()).toBe('kv-events');
    if (sequence && payload) published.push({ sequence: sequence.readBigUInt64BE(), payload });
  }
}

/** Greedy text goes on up to its limit; sampled text ends by itself, now and then after a few words. */
const endless = { temperature: 0, stream: true };

const user = (content: string) => [{ role: 'user', content }];
const chat = (fields: Record<string, unknown>) =>
  client.post('/v1/chat/completions', {
    model: 'tiny',
    messages: user('Hello there'),
    max_tokens: 12,
    ...fields,
  });

describe('the program', () => {
  it('says on stdout where it listens and on stderr that this is a toy', async () => {
    expect(await program.line).toEqual({ event: 'listening', url: client.url, model: 'tiny', toy: true });
    const events = program
      .stderr()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.map((event) => event.event)).toEqual(
      expect.arrayContaining(['open', 'generate', 'load', 'ready']),
    );
    expect(events.some((event) => /TOY/.test(event.message))).toBe(true);
    expect(await (await fetch(`${client.url}/health`)).json()).toEqual({ status: 'ok' });
    const list = (await (await fetch(`${client.url}/v1/models`)).json()) as { data: object[] };
    expect(list.data[0]).toMatchObject({ id: 'tiny', object: 'model', max_model_len: 2048 });
  });

  it('ends with 0 on SIGTERM in the middle of an answer', async () => {
    const own = startProgram(['--model', 'tiny', '--models-dir', models]);
    const { url: address } = await own.line;
    const body = { model: 'tiny', messages: user('x'), max_tokens: 3000, ...endless };
    const response = await fetch(`${address}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    await response.body?.getReader().read();
    own.child.kill('SIGTERM');
    expect(await own.exit).toBe(0);
  });

  it('ends when its parent does', async () => {
    const own = startProgram(['--model', 'tiny', '--models-dir', models], { COGNITORA_PARENT_PIPE: '1' });
    await own.line;
    own.child.stdin?.end();
    expect(await own.exit).toBe(0);
  });

  it('explains wrong arguments and ends with 2', async () => {
    const own = startProgram(['--model', 'nowhere.gguf']);
    expect(await own.exit).toBe(2);
    expect(own.stderr()).toMatch(/no file "nowhere.gguf".*tiny/);
    const other = startProgram(['--sequences', 'many', '--model', 'tiny']);
    expect(await other.exit).toBe(2);
    expect(other.stderr()).toContain('--sequences');
  });

  it('ends with 2 for a file that is no model, as another start would', async () => {
    const broken = path.join(models, 'broken.gguf');
    const whole = buildTiny();
    await writeFile(broken, whole.subarray(0, whole.length / 2));
    const [noModel, cut] = [import.meta.filename, broken].map((file) => startProgram(['--model', file]));
    expect([await noModel?.exit, await cut?.exit]).toEqual([2, 2]);
    expect(noModel?.stderr()).toContain('is not a GGUF file');
    expect(cut?.stderr()).toContain('cannot be loaded');
  });
});

describe('chat completions', () => {
  it('answer in the shape of OpenAI, with usage', async () => {
    const { status, body } = await chat({ messages: user('What is a shape?') });
    expect(status).toBe(200);
    expect(body).toMatchObject({ object: 'chat.completion', model: 'tiny' });
    expect(body.id).toMatch(/^chatcmpl-/);
    expect(body.choices).toHaveLength(1);
    expect(at(body.choices).message).toMatchObject({
      role: 'assistant',
      content: expect.stringMatching(/\w/),
    });
    expect(['stop', 'length']).toContain(at(body.choices).finish_reason);
    const { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total } = body.usage;
    expect([prompt > 10, completion <= 12, total]).toEqual([true, true, prompt + completion]);
  });

  it('stream the same text: role first, then content, then the reason, usage and [DONE]', async () => {
    const request = { model: 'tiny', messages: user('Stream this'), max_tokens: 9, temperature: 0 };
    const whole = await chat(request);
    const events = await client.chunks('/v1/chat/completions', {
      ...request,
      stream_options: { include_usage: true },
    });
    expect(at(at(events).choices).delta).toEqual({ role: 'assistant', content: '' });
    const usage = at(events.splice(-1));
    expect(usage.choices).toEqual([]);
    expect(usage.usage).toMatchObject({ completion_tokens: whole.body.usage.completion_tokens });
    expect(at(at(events, -1).choices)).toMatchObject({ delta: {}, finish_reason: 'length' });
    const text = events.map((event) => at(event.choices).delta.content ?? '').join('');
    expect(text).toBe(at(whole.body.choices).message.content);
    expect(new Set(events.map((event) => `${event.id} ${event.object}`)).size).toBe(1);
    for (const event of events) expect(event.usage).toBeNull();
    const plain = await client.chunks('/v1/chat/completions', request);
    expect(plain.some((event) => 'usage' in event)).toBe(false);
  });

  it('report how much of a prompt came from the cache, and give the same text either way', async () => {
    const long = user(`Repeat after me: ${'the river of small words '.repeat(40)}`);
    const salted = { messages: long, temperature: 0, cache_salt: 'cold' };
    const cold = await chat({ messages: long, temperature: 0, max_tokens: 60 });
    const warm = await chat({ messages: long, temperature: 0, max_tokens: 60 });
    const tokens = cold.body.usage.prompt_tokens;
    expect(cold.body.usage.prompt_tokens_details.cached_tokens).toBeLessThan(16);
    expect(warm.body.usage.prompt_tokens_details.cached_tokens).toBe(tokens - 1);
    expect(at(warm.body.choices).message.content).toBe(at(cold.body.choices).message.content);
    // A longer conversation goes on where the shorter one ended.
    const reply = { role: 'assistant', content: at(cold.body.choices).message.content };
    const next = await chat({ messages: [...long, reply, ...user('and?')], temperature: 0 });
    expect(next.body.usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(tokens);
    // Another salt shares nothing.
    const other = await chat(salted);
    expect(other.body.usage.prompt_tokens_details.cached_tokens).toBe(0);
    const again = await chat(salted);
    expect(again.body.usage.prompt_tokens_details.cached_tokens).toBe(tokens - 1);
  });

  it('are repeated by a seed, changed by another, and the likeliest at temperature 0', async () => {
    const text = async (fields: Record<string, unknown>): Promise<string> =>
      at((await chat({ max_tokens: 24, ...fields })).body.choices).message.content;
    expect(await text({ seed: 7 })).toBe(await text({ seed: 7 }));
    expect(await text({ seed: 7 })).not.toBe(await text({ seed: 8 }));
    // Beyond the 32 bits of llama.cpp's sampler, and the one value that it takes for none.
    for (const seed of [7 + 2 ** 32, 2 ** 32 - 1]) {
      expect(await text({ seed })).toBe(await text({ seed }));
      expect(await text({ seed })).not.toBe(await text({ seed: 7 }));
    }
    expect(await text({ seed: 7, logprobs: true })).toBe(await text({ seed: 7 }));
    expect(await text({ temperature: 0 })).toBe(await text({ temperature: 0, seed: 9 }));
    // One candidate is left: the same as greedy.
    expect(await text({ temperature: 1, top_k: 1 })).toBe(await text({ temperature: 0 }));
  });

  it('give n choices with their indices, whole and streamed', async () => {
    const { body } = await chat({ n: 2, seed: 3 });
    expect(body.choices.map((choice) => choice.index)).toEqual([0, 1]);
    expect(at(body.choices).message.content).not.toBe(at(body.choices, 1).message.content);
    const events = await client.chunks('/v1/chat/completions', {
      model: 'tiny',
      messages: user('Hello there'),
      max_tokens: 12,
      n: 2,
      seed: 3,
    });
    const texts = ['', ''];
    for (const { choices } of events) {
      const { delta, index } = at(choices);
      texts[index] += delta.content ?? '';
    }
    expect(texts).toEqual(body.choices.map((choice) => choice.message.content));
  });

  it('give log-probabilities that fit the text', async () => {
    const { body } = await chat({ logprobs: true, top_logprobs: 3, temperature: 0 });
    const { content } = at(body.choices).logprobs;
    expect(content.map((entry) => entry.token).join('')).toBe(at(body.choices).message.content);
    for (const entry of content) {
      expect(entry.logprob).toBeLessThanOrEqual(0);
      expect(entry.top_logprobs).toHaveLength(3);
      // Greedy: the chosen token leads the list.
      expect(entry.top_logprobs[0]).toEqual({
        token: entry.token,
        logprob: entry.logprob,
        bytes: entry.bytes,
      });
      expect(Buffer.from(entry.bytes).toString()).toBe(entry.token);
    }
  });

  it('go on from the beginning of an answer as a completion of the same prompt does', async () => {
    const begun = { role: 'assistant', content: 'Once there' };
    const flags = { continue_final_message: true, add_generation_prompt: false };
    const greedy = { max_tokens: 12, temperature: 0 };
    const { body } = await chat({ ...greedy, ...flags, messages: [...user('Tell me'), begun] });
    const { prompt } = (await client.post('/apply-template', { messages: user('Tell me') })).body;
    const raw = { model: 'tiny', prompt: prompt + begun.content, ...greedy };
    const completion = (await client.post('/v1/completions', raw)).body;
    expect(at(body.choices).message.content).toBe(at(completion.choices).text);
    expect(body.usage.prompt_tokens).toBe(completion.usage.prompt_tokens);
  });

  it('end before a stop string', async () => {
    const full = at((await chat({ temperature: 0, max_tokens: 30 })).body.choices).message.content;
    const stop = full.split(' ')[5] as string;
    const { body } = await chat({
      temperature: 0,
      max_tokens: 30,
      stop: [stop, 'never seen'],
      logprobs: true,
    });
    expect(at(body.choices).message.content).toBe(full.slice(0, full.indexOf(stop)));
    expect(at(body.choices).finish_reason).toBe('stop');
  });

  it('keep to a JSON schema', async () => {
    const schema = {
      type: 'object',
      properties: { ok: { type: 'boolean' }, kind: { enum: ['a', 'b'] } },
      required: ['ok', 'kind'],
      additionalProperties: false,
    };
    const { body } = await chat({
      max_tokens: 200,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    });
    const value = JSON.parse(at(body.choices).message.content);
    expect(Object.keys(value)).toEqual(['ok', 'kind']);
    expect([typeof value.ok, ['a', 'b'].includes(value.kind)]).toEqual(['boolean', true]);
    const json = await chat({ response_format: { type: 'json_object' } });
    expect(at(json.body.choices).message.content).toMatch(/^\{/);
    const statusOf = async (schema: unknown): Promise<number> =>
      (await chat({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } })).status;
    expect(await statusOf({ type: 'string', maxLength: schemaRepetitionsMax })).toBe(200);
    // Nothing but itself: llama.cpp builds no grammar of it. Refused, not ignored.
    const itself = { $ref: '#/$defs/a' };
    expect(await statusOf({ ...itself, $defs: { a: itself } })).toBe(400);
  });

  it('obey penalties and biases', async () => {
    const greedy = { temperature: 0, max_tokens: 40 };
    const words = async (fields: Record<string, unknown>): Promise<number> => {
      const { body } = await chat({ ...greedy, ...fields });
      return new Set((at(body.choices).message.content as string).split(' ')).size;
    };
    expect(await words({ frequency_penalty: 2, presence_penalty: 2 })).toBeGreaterThan(await words({}));
    // Only the first half of a character comes out: it is never sent.
    const broken = await chat({ ...greedy, max_tokens: 1, logit_bias: { 195: 100 } });
    expect(at(broken.body.choices).message.content).toBe('');
    expect(broken.body.usage.completion_tokens).toBe(1);
  });

  it('give each of twelve clients at once, on four sequences, what it gets alone', async () => {
    const ask = async (who: number) => {
      const messages = user(`Client ${who}`);
      const probabilities = { logprobs: true, top_logprobs: 2 };
      const { status, body } = await chat({ messages, temperature: 0, max_tokens: 50, ...probabilities });
      expect(status).toBe(200);
      return at(body.choices).logprobs.content;
    };
    const clients = Array.from({ length: 12 }, (_, who) => who);
    const together = await Promise.all(clients.map(ask));
    // What else is in a batch moves a log-probability by some 0.000003. A neighbour's logits move it by far more,
    // even where the likeliest token stays the same.
    const rounding = 0.0001;
    for (const who of clients) {
      const alone = await ask(who);
      const shared = at(together, who);
      expect(shared.map(({ token }) => token)).toEqual(alone.map(({ token }) => token));
      for (const [step, { logprob, top_logprobs: top }] of alone.entries()) {
        // Without near ties greedy text does not depend on rounding, so that the same text may be asked for.
        expect(at(top).logprob - at(top, 1).logprob).toBeGreaterThan(rounding);
        expect(Math.abs(at(shared, step).logprob - logprob)).toBeLessThan(rounding);
      }
    }
  });

  it('stop and free the sequence when the client leaves', async () => {
    const before = await client.metric('aborted_requests_total');
    const gone = new AbortController();
    const response = await fetch(`${client.url}/v1/chat/completions`, {
      method: 'POST',
      signal: gone.signal,
      body: JSON.stringify({ model: 'tiny', messages: user('Go on'), max_tokens: 2000, ...endless }),
    });
    await response.body?.getReader().read();
    expect(await client.metric('requests_running')).toBe(1);
    gone.abort();
    await until(async () => (await client.metric('requests_running')) === 0);
    expect(await client.metric('aborted_requests_total')).toBe(before + 1);
    expect((await chat({})).status).toBe(200);
  });
});

describe('requests that can not be served', () => {
  const error = async (route: string, body: unknown) => {
    const answer = await client.post(route, body);
    return { status: answer.status, ...answer.body.error };
  };
  const base = { model: 'tiny', messages: user('x') };
  const route = '/v1/chat/completions';

  it('are refused with the name of the field', async () => {
    const refusal = { status: 400, type: 'invalid_request_error', code: 'unsupported' };
    const tools = [{ type: 'function', function: { name: 'f' } }];
    const image = [{ type: 'image_url', image_url: { url: 'data:image/png;base64,' } }];
    const messages = [{ role: 'user', content: image }];
    expect(await error(route, { ...base, unheard_of: 1 })).toMatchObject({ ...refusal, param: 'unheard_of' });
    expect(await error(route, { ...base, tools })).toMatchObject({ ...refusal, param: 'tools' });
    expect(await error(route, { ...base, messages })).toMatchObject({ ...refusal, param: 'messages' });
    // The toy's template does not tell the model names.
    const named = [{ role: 'user', content: 'x', name: 'ann' }];
    expect(await error(route, { ...base, messages: named })).toMatchObject({ ...refusal, param: 'messages' });
  });

  it('get the status that fits', async () => {
    expect(await error(route, '{"model":')).toMatchObject({ status: 400, code: 'invalid_json' });
    expect(await error(route, { ...base, model: 'gpt' })).toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
    expect(await error('/v2', base)).toMatchObject({ status: 404 });
    expect((await fetch(client.url + route)).status).toBe(405);
    const long = { ...base, messages: user('word '.repeat(3000)) };
    expect(await error(route, long)).toMatchObject({ status: 400, code: 'context_length_exceeded' });
    const enormous = { ...base, messages: user('x'.repeat(2_000_000)) };
    expect(await error(route, enormous)).toMatchObject({ status: 400, code: 'context_length_exceeded' });
    expect(await error('/v1/completions', { model: 'tiny', prompt: [999_999] })).toMatchObject({
      status: 400,
    });
    const response = await fetch(client.url + route, {
      method: 'POST',
      body: Buffer.alloc(33 * 1024 * 1024, 32),
    });
    expect(response.status).toBe(413);
  });
});

describe('completions', () => {
  const complete = (fields: Record<string, unknown>) =>
    client.post('/v1/completions', {
      model: 'tiny',
      prompt: 'once upon a time',
      max_tokens: 6,
      temperature: 0,
      ...fields,
    });

  it('take several prompts, as text or tokens, and can echo them', async () => {
    const { body: tokenized } = await client.post('/tokenize', { content: 'once upon a time' });
    const { body } = await complete({ prompt: ['once upon a time', 'another'], echo: true });
    expect(body.object).toBe('text_completion');
    expect(body.choices.map((choice) => choice.index)).toEqual([0, 1]);
    expect(at(body.choices).text).toMatch(/^once upon a time /);
    expect(at(body.choices, 1).text).toMatch(/^another /);
    const fromTokens = await complete({ prompt: tokenized.tokens, echo: true });
    expect(at(fromTokens.body.choices).text).toBe(at(body.choices).text);
  });

  it('stream, and give legacy log-probabilities', async () => {
    const { body } = await complete({ logprobs: 2 });
    const { logprobs, text } = at(body.choices);
    expect(logprobs.tokens.join('')).toBe(text);
    expect(logprobs.text_offset).toEqual(
      logprobs.tokens.map((_, index) => logprobs.tokens.slice(0, index).join('').length),
    );
    expect(Object.keys(at(logprobs.top_logprobs))).toContain(logprobs.tokens[0]);
    const events = await client.chunks('/v1/completions', {
      model: 'tiny',
      prompt: 'once upon a time',
      max_tokens: 6,
      temperature: 0,
      stream_options: { include_usage: true },
    });
    expect(at(events.splice(-1)).usage.completion_tokens).toBe(6);
    expect(events.map((event) => at(event.choices).text).join('')).toBe(text);
    expect(at(at(events, -1).choices).finish_reason).toBe('length');
  });
});

describe('embeddings', () => {
  it('have length one, are the same in both encodings, and differ between texts', async () => {
    const request = { model: 'tiny', input: ['a river', 'a house'] };
    const floats = (await client.post('/v1/embeddings', request)).body;
    const encoded = (await client.post('/v1/embeddings', { ...request, encoding_format: 'base64' })).body;
    const [first = [], second = []] = floats.data.map((entry) => entry.embedding as number[]);
    expect(Math.hypot(...first)).toBeCloseTo(1, 5);
    expect(first).not.toEqual(second);
    for (const [which, { embedding }] of encoded.data.entries()) {
      const bytes = Buffer.from(String(embedding), 'base64');
      const vector = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
      expect(vector).toEqual(at(floats.data, which).embedding);
    }
    expect(floats.usage.prompt_tokens).toBeGreaterThan(1);
    const wrong = await client.post('/v1/embeddings', { ...request, dimensions: 7 });
    expect([wrong.status, wrong.body.error.param]).toEqual([400, 'dimensions']);
  });
});

describe('tokens and templates', () => {
  it('fit together: the rendered template has as many tokens as a chat reports', async () => {
    const messages = user('Count me: é 🦙');
    const { prompt } = (await client.post('/apply-template', { messages })).body;
    const answer = await client.post('/tokenize', { content: prompt, with_pieces: true, add_special: true });
    const pieces = answer.body.tokens as unknown as { id: number; piece: string | number[] }[];
    const bytes = pieces.map(({ piece }) =>
      typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece),
    );
    expect(Buffer.concat(bytes).toString()).toBe(prompt);
    const ids = pieces.map(({ id }) => id);
    expect((await client.post('/detokenize', { tokens: ids })).body.content).toBe(prompt);
    expect((await chat({ messages })).body.usage.prompt_tokens).toBe(pieces.length);
  });
});

describe('KV events', () => {
  type Name = number | bigint;
  type ExtraKeys = readonly (readonly string[] | null)[];
  type KvEvent = [
    ...[type: string, hashes: Name[], parent: Name | null, tokens: number[], size: number],
    ...[loraId: null, medium: string, loraName: null, extraKeys: ExtraKeys],
  ];
  const unpackr = new Unpackr({ int64AsType: 'bigint', useRecords: false });

  /** What a subscriber believes after all events so far. */
  function believed(): Map<bigint, { parent: bigint | null; tokens: number[]; salt: string }> {
    const blocks = new Map<bigint, { parent: bigint | null; tokens: number[]; salt: string }>();
    for (const [index, { payload, sequence }] of published.entries()) {
      if (index > 0) expect(sequence).toBe(at(published, index - 1).sequence + 1n);
      const [time, events] = unpackr.unpack(payload) as [number, KvEvent[]];
      expect(time).toBeGreaterThan(1.7e9);
      for (const [type, hashes, parent, tokens, size, , , , extraKeys] of events) {
        if (type === 'AllBlocksCleared') blocks.clear();
        if (type === 'BlockRemoved')
          for (const hash of hashes) expect(blocks.delete(BigInt(hash))).toBe(true);
        if (type !== 'BlockStored') continue;
        expect(size).toBe(16);
        let before: bigint | null = parent === null ? null : BigInt(parent);
        for (const [index, hash] of hashes.entries()) {
          const salt = extraKeys[index]?.join() ?? '';
          const block = { parent: before, tokens: tokens.slice(index * 16, index * 16 + 16), salt };
          blocks.set(BigInt(hash), block);
          before = BigInt(hash);
        }
      }
    }
    return blocks;
  }

  it('name the blocks of what was really evaluated, and agree with the metrics', async () => {
    const messages = user(`Publish this: ${'small house of light '.repeat(20)}`);
    const { body } = await chat({ messages, max_tokens: 40, temperature: 0 });
    const { prompt } = (await client.post('/apply-template', { messages })).body;
    const { tokens } = (await client.post('/tokenize', { content: prompt })).body;
    const answer = (await client.post('/tokenize', { content: at(body.choices).message.content })).body
      .tokens;
    // The last generated token was never evaluated.
    const resident = [...tokens, ...answer].slice(0, tokens.length + body.usage.completion_tokens - 1);
    const inUse = await client.metric('kv_blocks_in_use');
    await until(() => believed().size === inUse);
    const blocks = believed();
    let parent: BlockHash | undefined;
    for (let at = 0; at + 16 <= resident.length; at += 16) {
      const block = resident.slice(at, at + 16);
      const name = blockHash(parent, block, '');
      expect(blocks.get(name)).toEqual({ parent: parent ?? null, tokens: block, salt: '' });
      parent = name;
    }
  });

  it('say the salt that a name depends on, with the first block of the chain', async () => {
    const messages = user(`Keep this apart: ${'small house of light '.repeat(20)}`);
    await chat({ messages, max_tokens: 1, temperature: 0, cache_salt: 'tenant-a' });
    const { prompt } = (await client.post('/apply-template', { messages })).body;
    const { tokens } = (await client.post('/tokenize', { content: prompt })).body;
    const inUse = await client.metric('kv_blocks_in_use');
    await until(() => believed().size === inUse);
    const blocks = believed();
    const first = blockHash(undefined, tokens.slice(0, 16), 'tenant-a');
    const second = blockHash(first, tokens.slice(16, 32), '');
    expect(blocks.get(first)).toEqual({ parent: null, tokens: tokens.slice(0, 16), salt: 'tenant-a' });
    expect(blocks.get(second)).toEqual({ parent: first, tokens: tokens.slice(16, 32), salt: '' });
  });

  it('can be replayed from any point', async () => {
    const newest = published.at(-1);
    expect(newest).toBeDefined();
    const first = Buffer.alloc(8);
    const from = (newest?.sequence ?? 0n) - 2n;
    first.writeBigUInt64BE(from);
    // What a REQ socket sends, on a socket that can read more than one answer.
    const client = new Dealer({ linger: 0, receiveTimeout: 5000 });
    client.connect(replayEndpoint);
    await client.send(['', first]);
    const steps: { sequence: bigint; payload: Buffer }[] = [];
    for await (const [, sequence, payload] of client) {
      if (!sequence || !payload || sequence.readBigInt64BE() === -1n) {
        expect(payload?.length).toBe(0);
        break;
      }
      steps.push({ sequence: sequence.readBigUInt64BE(), payload });
    }
    client.close();
    const hex = (list: typeof steps) =>
      list.map((step) => `${step.sequence} ${step.payload.toString('hex')}`);
    expect(steps).toHaveLength(3);
    expect(hex(steps)).toEqual(hex(published.filter((step) => step.sequence >= from)));
  });
});
