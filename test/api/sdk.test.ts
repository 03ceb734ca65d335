/**
 * What a client of the official SDK sees through the edge, in front of an engine that speaks as vLLM does: every
 * feature the engine has arrives whole, because nothing between them reads it.
 */
import { createHash } from 'node:crypto';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FakeEngine } from '../fakes/fake-engine.ts';
import { defaultTokens, startVllm, vectorOf } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';

type Chunk = OpenAI.Chat.Completions.ChatCompletionChunk;
type Streamed = OpenAI.Chat.Completions.ChatCompletionCreateParamsStreaming;

const model = 'served-chat';
const embedder = 'served-embedder';
const text = defaultTokens.join('');
const messages = [{ role: 'user' as const, content: 'Grüß mich' }];
const tools = ['get_weather', 'get_time'].map((name) => ({
  type: 'function' as const,
  function: { name, parameters: { type: 'object', properties: { city: { type: 'string' } } } },
}));

const chunksOf = async (stream: AsyncIterable<Chunk>): Promise<Chunk[]> => {
  const chunks: Chunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
};

/** The text of one choice of a stream. */
const textOf = (chunks: readonly Chunk[], index = 0): string =>
  chunks
    .flatMap(({ choices }) => choices.filter((choice) => choice.index === index))
    .map((choice) => choice.delta.content ?? '')
    .join('');

/** Tool calls put together from their deltas, as a client does. */
const callsOf = (chunks: readonly Chunk[]): { name: string; arguments: string; id: string }[] => {
  const calls: { name: string; arguments: string; id: string }[] = [];
  for (const { choices } of chunks) {
    for (const delta of choices[0]?.delta.tool_calls ?? []) {
      calls[delta.index] ??= { name: '', arguments: '', id: '' };
      const call = calls[delta.index];
      if (call === undefined) continue;
      call.id += delta.id ?? '';
      call.name += delta.function?.name ?? '';
      call.arguments += delta.function?.arguments ?? '';
    }
  }
  return calls;
};

describe.each(layouts)('the official SDK, layout %s', (layout) => {
  let engine: FakeEngine;
  beforeAll(async () => {
    engine = await startVllm({ models: [model, embedder] });
  });
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));
  const sdk = (): OpenAI => fixture.cluster.sdk();
  const stream = async (extra: Partial<Streamed> = {}): Promise<Chunk[]> =>
    chunksOf(await sdk().chat.completions.create({ model, messages, stream: true, ...extra }));

  test('a chat completion, whole and streamed', async () => {
    const whole = await sdk().chat.completions.create({ model, messages });
    expect(whole.choices[0]?.message.content).toBe(text);
    expect(whole.usage).toMatchObject({ prompt_tokens: 23, prompt_tokens_details: { cached_tokens: 16 } });
    const chunks = await stream();
    expect(textOf(chunks)).toBe(text);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' });
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
    expect(chunks).toHaveLength(defaultTokens.length + 2);
    expect(chunks.some((chunk) => chunk.usage !== undefined)).toBe(false);
  });

  test('usage in a stream, when it is asked for', async () => {
    const chunks = await stream({ stream_options: { include_usage: true } });
    expect(chunks.at(-1)?.choices).toEqual([]);
    expect(chunks.at(-1)?.usage).toMatchObject({
      prompt_tokens: 23,
      completion_tokens: defaultTokens.length,
    });
    expect(textOf(chunks)).toBe(text);
  });

  test('a text completion, whole and streamed', async () => {
    const whole = await sdk().completions.create({ model, prompt: 'Once' });
    expect(whole.choices[0]?.text).toBe(text);
    let streamed = '';
    for await (const chunk of await sdk().completions.create({ model, prompt: 'Once', stream: true })) {
      streamed += chunk.choices[0]?.text;
    }
    expect(streamed).toBe(text);
  });

  test('embeddings, as floats and as the base64 that the SDK asks for', async () => {
    const input = ['ein Text', 'noch einer'];
    for (const format of [{}, { encoding_format: 'float' as const }]) {
      const { data } = await sdk().embeddings.create({ model: embedder, input, ...format });
      expect(data.map(({ embedding }) => embedding)).toEqual(input.map((one) => [...vectorOf(one)]));
    }
  });

  test('the list of models, and one of them', async () => {
    const listed: string[] = [];
    for await (const { id } of sdk().models.list()) listed.push(id);
    expect(listed).toEqual([model, embedder]);
    expect(await sdk().models.retrieve(model)).toMatchObject({
      id: model,
      object: 'model',
      owned_by: 'vllm',
    });
    await expect(sdk().models.retrieve('nobody')).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
  });

  test('one tool call and parallel ones, whole and streamed', async () => {
    const wanted = [
      { name: 'get_weather', arguments: '{"city": "Zürich"}' },
      { name: 'get_time', arguments: '{"city": "Tōkyō"}' },
    ];
    for (const parallel of [true, false]) {
      const asked = { model, messages, tools, parallel_tool_calls: parallel };
      const whole = await sdk().chat.completions.create(asked);
      const calls = (whole.choices[0]?.message.tool_calls ?? []).map((call) =>
        'function' in call ? call.function : {},
      );
      expect(calls).toEqual(wanted.slice(0, parallel ? 2 : 1));
      expect(whole.choices[0]?.finish_reason).toBe('tool_calls');
      const chunks = await stream({ tools, parallel_tool_calls: parallel });
      expect(callsOf(chunks)).toMatchObject(wanted.slice(0, parallel ? 2 : 1));
      expect(new Set(callsOf(chunks).map(({ id }) => id)).size).toBe(parallel ? 2 : 1);
      expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('tool_calls');
    }
  });

  test('a JSON schema as response format', async () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } };
    const asked = { type: 'json_schema' as const, json_schema: { name: 'city', strict: true, schema } };
    const { choices } = await sdk().chat.completions.create({ model, messages, response_format: asked });
    expect(JSON.parse(choices[0]?.message.content ?? '')).toEqual({ city: 'Paris', population: 2_102_650 });
    expect(JSON.parse(textOf(await stream({ response_format: asked })))).toHaveProperty('city', 'Paris');
  });

  test('log-probabilities with their bytes, whole and streamed', async () => {
    const asked = { logprobs: true, top_logprobs: 2 };
    const whole = await sdk().chat.completions.create({ model, messages, ...asked });
    const content = whole.choices[0]?.logprobs?.content ?? [];
    expect(content.map(({ token }) => token)).toEqual(defaultTokens);
    expect(content[4]?.top_logprobs).toHaveLength(2);
    expect(Buffer.from(content[4]?.bytes ?? []).toString('utf8')).toBe(defaultTokens[4]);
    const streamed = (await stream(asked)).flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? []);
    expect(streamed).toEqual(content);
  });

  test('two choices, whole and streamed', async () => {
    const { choices } = await sdk().chat.completions.create({ model, messages, n: 2 });
    expect(choices.map(({ index, message }) => [index, message.content])).toEqual([
      [0, text],
      [1, text],
    ]);
    const chunks = await stream({ n: 2 });
    expect([textOf(chunks, 0), textOf(chunks, 1)]).toEqual([text, text]);
  });

  test('images in content parts reach the engine', async () => {
    const url = `data:image/png;base64,${Buffer.alloc(70_000, 7).toString('base64')}`;
    const digest = createHash('sha256').update(url).digest('hex').slice(0, 12);
    const content = [
      { type: 'text' as const, text: 'What is this?' },
      { type: 'image_url' as const, image_url: { url, detail: 'low' as const } },
    ];
    const asked = { messages: [{ role: 'user' as const, content }] };
    const whole = await sdk().chat.completions.create({ model, ...asked });
    expect(whole.choices[0]?.message.content).toBe(`I see ${digest}.`);
    expect(textOf(await stream(asked))).toBe(`I see ${digest}.`);
  });

  test('fields the SDK does not know, both ways', async () => {
    const asked = { chat_template_kwargs: { enable_thinking: true }, top_k: 20 };
    const whole = await sdk().chat.completions.create({ model, messages, ...asked });
    expect(whole.choices[0]?.message).toHaveProperty('reasoning', 'The user greets me.');
    const chunks = await stream(asked as Partial<Streamed>);
    const thoughts = chunks.map(
      (chunk) => (chunk.choices[0]?.delta as { reasoning?: string } | undefined)?.reasoning ?? '',
    );
    expect(thoughts.join('')).toBe('The user greets me.');
  });

  test('a request id of the client is kept both ways; else one is made', async () => {
    const id = freshId();
    const own = await sdk().chat.completions.create({ model, messages }, { headers: { 'x-request-id': id } });
    expect(own._request_id).toBe(id);
    expect(engine.byId(id).path).toBe('/v1/chat/completions');
    const made = await sdk().chat.completions.create({ model, messages });
    expect(made._request_id).toMatch(/^req_[0-9a-f]{32}$/);
    expect(engine.byId(made._request_id ?? '').path).toBe('/v1/chat/completions');
    const odd = await sdk().chat.completions.create(
      { model, messages },
      { headers: { 'x-request-id': 'not an id; drop' } },
    );
    expect(odd._request_id).toMatch(/^req_[0-9a-f]{32}$/);
  });

  test('the trace context reaches the engine, the client’s key does not', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const headers = { traceparent, tracestate: 'vendor=1', 'x-request-id': freshId() };
    await sdk().chat.completions.create({ model, messages }, { headers });
    const received = engine.byId(headers['x-request-id']);
    expect(received.headers).toMatchObject({ traceparent, tracestate: 'vendor=1' });
    expect(received.headers.authorization).toBeUndefined();
    expect(received.rawHeaders.join('\n')).not.toContain(fixture.cluster.apiKey);
  });
});
