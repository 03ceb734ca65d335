/**
 * Bodies far larger than any frame or window, both ways: they arrive whole, byte for byte, edited or not, and leave
 * nothing behind that the next one would trip on.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type FakeEngine, sseHeaders } from '../fakes/fake-engine.ts';
import { startVllm } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, type RawAnswer, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
const mib = 1024 * 1024;

/** A request of just that many bytes, incompressible, with the name of the model at its very end. */
const requestOf = (bytes: number, model: string): Buffer => {
  const tail = `"}],"model":"${model}"}`;
  const head = '{"messages":[{"content":"';
  const filler = randomBytes(Math.ceil((bytes * 3) / 4)).toString('base64');
  return Buffer.from(head + filler.slice(0, bytes - head.length - tail.length) + tail);
};

/** Writes as fast as whoever reads allows. */
const writeAll =
  (headers: Record<string, string>, pieces: readonly Buffer[]): Answer =>
  async ({ response }) => {
    response.writeHead(200, headers);
    for (const piece of pieces) {
      if (!response.write(piece)) await new Promise((resolve) => response.once('drain', resolve));
    }
    response.end();
  };

describe.each(layouts)('large bodies, layout %s', (layout) => {
  let engine: FakeEngine;
  beforeAll(async () => {
    engine = await startVllm({ models: ['plain', 'served'] });
  });
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({
    layout,
    agents: [{ name: 'gpu', engines: [engine.url], aliases: { 'public-name': 'served' } }],
  }));
  const ask = (body: Buffer | string, id: string): Promise<RawAnswer> =>
    send(fixture.cluster.url + chatPath, {
      body,
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id },
    });
  const askScripted = (body: string, answer: Answer): Promise<RawAnswer> => {
    const id = freshId();
    engine.script(id, answer);
    return ask(body, id);
  };

  test.each([1, 8, 31])('a request of %d MiB', async (size) => {
    const id = freshId();
    const body = requestOf(size * mib, 'plain');
    expect(body.length).toBe(size * mib);
    const answer = await ask(body, id);
    expect(answer.status).toBe(200);
    expect(engine.byId(id).body.equals(body)).toBe(true);
    expect(engine.byId(id).headers['content-length']).toBe(String(body.length));
  });

  test('a request of 8 MiB without a length, and an empty one', async () => {
    const id = freshId();
    const body = requestOf(8 * mib, 'plain');
    const headers = { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id };
    const url = fixture.cluster.url + chatPath;
    expect((await send(url, { body, headers, chunked: true })).status).toBe(200);
    expect(engine.byId(id).body.equals(body)).toBe(true);
    expect((await send(url, { body: '', headers, chunked: true })).status).toBe(400);
  });

  test('a request of 8 MiB with the model edited', async () => {
    const id = freshId();
    const body = requestOf(8 * mib, 'public-name');
    expect((await ask(body, id)).status).toBe(200);
    const wanted = Buffer.concat([
      body.subarray(0, body.lastIndexOf('"public-name"')),
      Buffer.from('"served"}'),
    ]);
    expect(engine.byId(id).body.equals(wanted)).toBe(true);
  });

  test('many large requests at once', async () => {
    const bodies = Array.from({ length: 6 }, () => ({ id: freshId(), body: requestOf(3 * mib, 'plain') }));
    const answers = await Promise.all(bodies.map(({ id, body }) => ask(body, id)));
    expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 200));
    for (const { id, body } of bodies) expect(engine.byId(id).body.equals(body)).toBe(true);
  });

  test.each([
    ['JSON', 'application/json'],
    ['binary', 'application/octet-stream'],
  ])('an answer of 20 MiB of %s without a length', async (_, type) => {
    const pieces = Array.from({ length: 160 }, () => randomBytes(128 * 1024));
    const answer = await askScripted('{"model":"plain"}', writeAll({ 'content-type': type }, pieces));
    expect([answer.status, answer.isWhole, answer.body.length]).toEqual([200, true, 20 * mib]);
    expect(answer.body.equals(Buffer.concat(pieces))).toBe(true);
  });

  test('a long answer with the model edited, at its end and nowhere else', async () => {
    const filler = randomBytes(3 * mib).toString('base64');
    const json = (model: string): string =>
      `{"choices":[{"model":"served","text":"\\"model\\":\\"served\\" ${filler}"}], "model" : "${model}","usage":{}}`;
    const whole = Buffer.from(json('served'));
    const pieces = Array.from({ length: Math.ceil(whole.length / 65_521) }, (_, at) =>
      whole.subarray(at * 65_521, (at + 1) * 65_521),
    );
    const answer = await askScripted(
      '{"model":"public-name"}',
      writeAll({ 'content-type': 'application/json' }, pieces),
    );
    expect(answer.body.equals(Buffer.from(json('public-name')))).toBe(true);
  });

  test('a stream with events of every size, cut anywhere, with both edits', async () => {
    const sizes = [1, 100, 32 * 1024, 64 * 1024 - 7, 300_000, 900_000];
    const json = (model: string, size: number): string =>
      `data: {"model":"${model}","choices":[{"index":0,"delta":{"content":"${'é'.repeat(size / 2)}"}}]}\n\n`;
    const stream = (model: string, usage: string): Buffer =>
      Buffer.from([...sizes.map((size) => json(model, size)), usage, 'data: [DONE]\n\n'].join(''));
    const usage =
      'data: {"model":"served","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n';
    const bytes = stream('served', usage);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 9973) }, (_, at) =>
      bytes.subarray(at * 9973, (at + 1) * 9973),
    );
    const answer = await askScripted('{"model":"public-name","stream":true}', writeAll(sseHeaders, pieces));
    expect(answer.body.equals(stream('public-name', ''))).toBe(true);
  });

  test('nothing is left of them', async () => {
    const left = await until('the last stream to end', async () => {
      const regions = await fixture.cluster.regions();
      return regions.every(({ streams }) => streams === 0) ? regions : undefined;
    });
    expect(left.flatMap(({ nodes }) => nodes.map(({ live }) => live))).toEqual([0]);
  });
});
