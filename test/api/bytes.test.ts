/**
 * Byte equality with the engine called directly, where nothing has to be edited: whatever the request's JSON looks
 * like reaches the engine as it is, and whatever the engine answers reaches the client as it is.
 */
import { createGzip, gunzipSync, gzipSync } from 'node:zlib';
import { queryCharsMax } from '@cognitora/protocol/limits';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type FakeEngine, sendJson } from '../fakes/fake-engine.ts';
import { startVllm } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { compare } from '../harness/compare.ts';
import { freshId, type RawAnswer, send } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
const model = 'plain-chat';
const wholeBody = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hi' }] });

/** Bodies that a parse and a restringify would change. */
const oddBodies: Record<string, string | Buffer> = {
  'white space everywhere': `\r\n { \t"messages" :[ ] ,\n\n"model"\t:\r"${model}"\n}  \n`,
  'unknown fields and key order': `{"zeta":{"b":1,"a":[{}]},"model":"${model}","Model":"x","alpha":null}`,
  'raw and escaped Unicode': `{"messages":["é\\u00e9👩‍🚀\\ud83d\\ude80\\ud800"],"model":"${model}","ключ":"值"}`,
  'numbers no double holds': `{"seed":12345678901234567890,"x":1e400,"y":-0.0,"z":1.10,"model":"${model}"}`,
  'escapes that need not be': `{"model":"${model}","messages":[{"content":"\\/\\u0041\\b\\f"}]}`,
  'the name of the model again and again': `{"messages":[{"model":"other"}],"x":"\\"model\\":1","model":"${model}"}`,
  'a name twice': `{"model":"nobody","model":"${model}","stream":true,"stream":false}`,
  'a stream that asks for usage': `{"stream":true, "stream_options":{"include_usage":true},"model":"${model}"}`,
  'stream: null': `{"stream":null,"model":"${model}"}`,
  'a deep nest': `{"x":${'['.repeat(500)}${']'.repeat(500)},"model":"${model}"}`,
};

/** Answers that are none of the usual. */
const oddAnswers: Record<string, Answer> = {
  'JSON in pieces without a length': async ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
    for (const piece of [
      '{"model":"plain',
      '-chat","us',
      'age":{"prompt_tokens":1',
      ',"completion_tokens":2}}',
    ]) {
      response.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  },
  'an empty body': ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '0' });
    response.end();
  },
  'no content': ({ response }) => {
    response.writeHead(204);
    response.end();
  },
  'plain text': ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end('not JSON: {"model":');
  },
  'an answer without a type': ({ response }) => {
    response.writeHead(200);
    response.end('{"model":"plain-chat"}');
  },
  'JSON that is none': ({ response }) => sendJson(response, 200, '{"model":"plain-chat", oh no'),
  'every byte there is': ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    response.end(Buffer.from(Array.from({ length: 4096 }, (_, at) => at % 256)));
  },
  'every byte there is, called a stream': ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(Buffer.from(Array.from({ length: 4096 }, (_, at) => at % 256)));
  },
  'a stream that ends inside an event': ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end('data: {"choices":[]}\n\ndata: [DO');
  },
  'gzip though nobody asked': ({ response }) => {
    const bytes = gzipSync('{"model":"plain-chat"}'.repeat(100));
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.end(bytes);
  },
  'gzip in two pieces': async ({ response }) => {
    const bytes = gzipSync('{"model":"plain-chat"}'.repeat(100));
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.write(bytes.subarray(0, 15));
    await new Promise((resolve) => setTimeout(resolve, 100));
    response.end(bytes.subarray(15));
  },
  'an error in gzip, in two pieces': async ({ response }) => {
    const bytes = gzipSync('{"error":{"message":"no"}}');
    response.writeHead(503, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.write(bytes.subarray(0, 15));
    await new Promise((resolve) => setTimeout(resolve, 100));
    response.end(bytes.subarray(15));
  },
  'called gzip, and none': ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' });
    response.end('data: {"choices":[]}\n\ndata: [DONE]\n\n');
  },
  'a redirect': ({ response }) => {
    response.writeHead(307, { location: 'http://127.0.0.1:9/elsewhere', 'content-type': 'text/plain' });
    response.end('over there');
  },
  'an unusual status': ({ response }) => {
    response.writeHead(299, { 'content-type': 'text/plain' });
    response.end('fine, almost');
  },
};

describe.each(layouts)('bytes with no edit, layout %s', (layout) => {
  let engine: FakeEngine;
  beforeAll(async () => {
    engine = await startVllm({ models: [model] });
  });
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  const sendThrough = (id: string, headers: Record<string, string> = {}): Promise<RawAnswer> =>
    send(fixture.cluster.url + chatPath, {
      body: wholeBody,
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${fixture.cluster.apiKey}`,
        'x-request-id': id,
        ...headers,
      },
    });

  test.each(Object.entries(oddBodies))('a request with %s', async (_, body) => {
    const { cluster } = fixture;
    const { through, direct, received } = await compare({ cluster, engine, path: chatPath, body });
    expect(received.body).toEqual(Buffer.from(body));
    expect(received.headers['content-length']).toBe(String(Buffer.byteLength(body)));
    expect(through.body).toEqual(direct.body);
    expect(through.status).toBe(200);
    expect(through.headers['content-type']).toBe(direct.headers['content-type']);
    expect(direct.body.length).toBeGreaterThan(100);
  });

  test.each([
    ['?api-version=2024-10-21', '?api-version=2024-10-21'],
    ['?a=%C3%A9%20+b&a=%00&&c==', '?a=%C3%A9%20+b&a=%00&&c=='],
    ["?it's<new>", '?it%27s%3Cnew%3E'],
    ['?', ''],
  ])('a request with the query %s', async (query, received) => {
    const id = freshId();
    const headers = { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id };
    const answer = await send(`${fixture.cluster.url}${chatPath}${query}`, { body: wholeBody, headers });
    expect(answer.status).toBe(200);
    expect(engine.byId(id)).toMatchObject({ path: chatPath, query: received });
  });

  test('a query as long as its bound arrives, a longer one is refused', async () => {
    const id = freshId();
    const headers = { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id };
    const longest = `?${'x'.repeat(queryCharsMax - 1)}`;
    const url = fixture.cluster.url + chatPath + longest;
    expect((await send(url, { body: wholeBody, headers })).status).toBe(200);
    expect(engine.byId(id).query).toBe(longest);
    const answer = await send(`${url}x`, { body: wholeBody, headers });
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body.toString()).error.message).toContain(`${queryCharsMax} characters`);
  });

  test('a request without content-length', async () => {
    const id = freshId();
    const headers = { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id };
    const answer = await send(fixture.cluster.url + chatPath, { body: wholeBody, chunked: true, headers });
    expect(answer.status).toBe(200);
    expect(engine.byId(id).body.toString()).toBe(wholeBody);
  });

  test.each(Object.entries(oddAnswers))('an answer: %s', async (_, answer) => {
    const id = freshId();
    engine.script(id, answer);
    const through = await sendThrough(id);
    const directId = freshId();
    engine.script(directId, answer);
    const direct = await send(engine.url + chatPath, { body: '{}', headers: { 'x-request-id': directId } });
    expect(through.status).toBe(direct.status);
    expect(through.body).toEqual(direct.body);
    expect(through.isWhole).toBe(true);
    for (const name of ['content-type', 'content-encoding', 'location']) {
      expect([name, through.headers[name]]).toEqual([name, direct.headers[name]]);
    }
  });

  test('a header that HTTP allows in no request stays behind and spoils nothing', async () => {
    const id = freshId();
    const answer = await sendThrough(id, { tracestate: 'caf\u00e9', traceparent: 'kept' });
    expect(answer.status).toBe(200);
    expect(engine.byId(id).headers).toMatchObject({ traceparent: 'kept' });
    expect(engine.byId(id).headers.tracestate).toBeUndefined();
  });

  test('compression is not asked of the engine, and not made on the way', async () => {
    const id = freshId();
    const answer = await sendThrough(id, { 'accept-encoding': 'gzip, br' });
    expect(engine.byId(id).headers['accept-encoding']).toBe('identity');
    expect(answer.headers['content-encoding']).toBeUndefined();
    expect(JSON.parse(answer.body.toString())).toHaveProperty('model', model);
  });

  test('a stream that the engine compressed arrives as it is, and as it comes', async () => {
    const id = freshId();
    const events = Array.from({ length: 10 }, (_, at) => `data: {"choices":[{"text":"${at}"}]}\n\n`);
    engine.script(id, async ({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' });
      const zip = createGzip();
      zip.pipe(response);
      for (const event of events) {
        zip.write(event);
        await new Promise<void>((resolve) => zip.flush(resolve));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      zip.end();
    });
    const answer = await send(fixture.cluster.url + chatPath, {
      body: JSON.stringify({ model, messages: [], stream: true }),
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id },
    });
    expect([answer.status, answer.isWhole, answer.headers['content-encoding']]).toEqual([200, true, 'gzip']);
    expect(gunzipSync(answer.body).toString()).toBe(events.join(''));
    const [first, last] = [answer.pieces[0], answer.pieces.at(-1)];
    expect((last?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(200);
    // Asked once: nothing of it was taken for a failure.
    expect(engine.byId(id).headers['accept-encoding']).toBe('identity');
  });

  test('headers of the engine arrive, those of one hop and of ours do not', async () => {
    const id = freshId();
    engine.script(id, ({ response }) => {
      const own = { 'x-engine': 'yes', 'x-request-id': 'engine-own', 'x-cognitora-node': 'forged' };
      response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': ['a=1', 'b=2'], ...own });
      response.end('{}');
    });
    const { headers } = await sendThrough(id);
    expect(headers).toMatchObject({ 'x-engine': 'yes', 'set-cookie': ['a=1', 'b=2'], 'x-request-id': id });
    expect(headers['x-cognitora-region']).toBe('weur');
    expect(headers['x-cognitora-node']).toMatch(/^n[a-z2-7]{26}$/);
  });
});
