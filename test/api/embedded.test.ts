/**
 * The main job on a real engine: the official SDK through edge, link and agent to llama.cpp and back, with the toy
 * model that the embedded engine makes itself. What this engine can't do comes back as its own 400.
 */
import OpenAI from 'openai';
import { beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { type ErrorBody, jsonOf, send } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';

const model = 'tiny';
const messages = [{ role: 'user' as const, content: 'Tell me about the sea.' }];
const short = { model, messages, max_tokens: 12, temperature: 0, seed: 7 };

describe.each(layouts)('the embedded engine, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout }));
  let engineUrl = '';
  beforeAll(async () => {
    engineUrl = (await startEmbedded(fixture.cluster, 'engine')).url;
    await fixture.cluster.startAgent({ name: 'gpu', engines: [engineUrl] });
  });
  const sdk = (): OpenAI => fixture.cluster.sdk();

  test('the stream says the same as the whole answer, and as the engine itself', async () => {
    const whole = await sdk().chat.completions.create(short);
    const text = whole.choices[0]?.message.content ?? '';
    expect(text.length).toBeGreaterThan(3);
    expect(whole.usage?.completion_tokens).toBe(12);
    for (const client of [sdk(), new OpenAI({ baseURL: `${engineUrl}/v1`, apiKey: 'none' })]) {
      let streamed = '';
      let chunks = 0;
      const stream = await client.chat.completions.create({ ...short, stream: true });
      for await (const chunk of stream) {
        chunks += 1;
        expect(chunk.usage ?? undefined).toBeUndefined();
        streamed += chunk.choices[0]?.delta.content ?? '';
      }
      expect(streamed).toBe(text);
      expect(chunks).toBeGreaterThan(2);
    }
  });

  test('usage in a stream, and the cached prefix in it', async () => {
    const question = [
      { role: 'user' as const, content: `${'The same long story again. '.repeat(20)}${layout}` },
    ];
    const cached: (number | undefined)[] = [];
    for (const _ of ['cold', 'warm']) {
      const stream = await sdk().chat.completions.create({
        ...short,
        messages: question,
        stream: true,
        stream_options: { include_usage: true },
      });
      const chunks: OpenAI.Chat.Completions.ChatCompletionChunk[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      expect(chunks.at(-1)?.choices).toEqual([]);
      expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: 12 });
      cached.push(chunks.at(-1)?.usage?.prompt_tokens_details?.cached_tokens);
    }
    expect(cached[1]).toBeGreaterThan(cached[0] ?? 0);
  });

  test('text completions', async () => {
    const whole = await sdk().completions.create({
      model,
      prompt: 'Once upon',
      max_tokens: 8,
      temperature: 0,
    });
    let streamed = '';
    const asked = { model, prompt: 'Once upon', max_tokens: 8, temperature: 0, stream: true as const };
    for await (const chunk of await sdk().completions.create(asked)) streamed += chunk.choices[0]?.text ?? '';
    expect(streamed).toBe(whole.choices[0]?.text);
    expect(streamed.length).toBeGreaterThan(0);
  });

  test('embeddings tell texts apart', async () => {
    const { data } = await sdk().embeddings.create({ model, input: ['the sea', 'the sea', 'a stone'] });
    const [sea, again, stone] = data.map(({ embedding }) => embedding);
    expect(sea?.length).toBeGreaterThan(8);
    expect(again).toEqual(sea);
    expect(stone).not.toEqual(sea);
  });

  test('models', async () => {
    const ids: string[] = [];
    for await (const { id } of sdk().models.list()) ids.push(id);
    expect(ids).toEqual([model]);
    expect(await sdk().models.retrieve(model)).toMatchObject({ id: model, object: 'model' });
  });

  test('log-probabilities and two choices', async () => {
    const asked = { ...short, n: 2, logprobs: true, top_logprobs: 3 };
    const { choices } = await sdk().chat.completions.create(asked);
    expect(choices.map(({ index }) => index)).toEqual([0, 1]);
    for (const { logprobs } of choices) {
      expect(logprobs?.content?.length).toBeGreaterThan(5);
      for (const { logprob, top_logprobs } of logprobs?.content ?? []) {
        expect(logprob).toBeLessThanOrEqual(0);
        expect(top_logprobs).toHaveLength(3);
      }
    }
  });

  test('two choices and log-probabilities in a stream', async () => {
    const asked = { ...short, temperature: 1, n: 2, logprobs: true, top_logprobs: 2 };
    const whole = await sdk().chat.completions.create(asked);
    const texts = ['', ''];
    const tokens = ['', ''];
    const ends: (string | null)[] = [];
    for await (const { choices } of await sdk().chat.completions.create({ ...asked, stream: true })) {
      for (const { index, delta, logprobs, finish_reason: end } of choices) {
        texts[index] += delta.content ?? '';
        for (const { token, logprob, top_logprobs: top } of logprobs?.content ?? []) {
          tokens[index] += token;
          expect([logprob <= 0, top.length]).toEqual([true, 2]);
        }
        if (end !== null) ends[index] = end;
      }
    }
    expect(texts).toEqual(whole.choices.map(({ message }) => message.content));
    expect(tokens).toEqual(texts);
    expect(ends).toEqual(whole.choices.map((choice) => choice.finish_reason));
    expect(texts[0]).not.toBe(texts[1]);
  });

  test('a response format is kept to, streamed or not', async () => {
    const schema = {
      type: 'object',
      properties: { sea: { enum: ['calm', 'rough'] }, deep: { type: 'boolean' } },
      required: ['sea', 'deep'],
      additionalProperties: false,
    };
    const asked = {
      ...short,
      max_tokens: 100,
      response_format: { type: 'json_schema' as const, json_schema: { name: 'sea', strict: true, schema } },
    };
    const whole = (await sdk().chat.completions.create(asked)).choices[0]?.message.content ?? '';
    let streamed = '';
    for await (const chunk of await sdk().chat.completions.create({ ...asked, stream: true })) {
      streamed += chunk.choices[0]?.delta.content ?? '';
    }
    for (const text of [whole, streamed]) {
      const answer = JSON.parse(text) as Record<string, unknown>;
      expect(Object.keys(answer)).toEqual(['sea', 'deep']);
      expect([['calm', 'rough'].includes(String(answer.sea)), typeof answer.deep]).toEqual([true, 'boolean']);
    }
  });

  test('several at once', async () => {
    const asked = Array.from({ length: 8 }, (_, index) => [
      { role: 'user' as const, content: `Number ${index}` },
    ]);
    const answers = await Promise.all(
      asked.map((question) => sdk().chat.completions.create({ ...short, messages: question })),
    );
    for (const { usage } of answers) expect(usage?.completion_tokens).toBe(12);
  });

  test('what it can’t do comes back as the engine’s own 400, streaming or not', async () => {
    const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }];
    const image = [
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }] },
    ];
    const named = [{ role: 'user', content: 'Hi', name: 'ann' }];
    const unknown = { a_field_of_tomorrow: { x: 1 } };
    for (const extra of [{ tools }, { messages: image }, { messages: named }, unknown]) {
      for (const stream of [false, true]) {
        const body = JSON.stringify({ ...short, ...extra, stream });
        const headers = {
          authorization: `Bearer ${fixture.cluster.apiKey}`,
          'content-type': 'application/json',
        };
        const through = await send(`${fixture.cluster.url}/v1/chat/completions`, { body, headers });
        const direct = await send(`${engineUrl}/v1/chat/completions`, { body, headers });
        expect([through.status, through.body.toString()]).toEqual([400, direct.body.toString()]);
        expect(jsonOf<ErrorBody>(through).error.code).toBe('unsupported');
      }
    }
  });
});
