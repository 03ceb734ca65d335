/**
 * Every refusal that is the edge's own: OpenAI-shaped JSON, the right status, and nothing of the request at an engine.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FakeEngine } from '../fakes/fake-engine.ts';
import { startVllm } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { type ErrorBody, freshId, jsonOf, type RawAnswer, type SendOptions, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
const model = 'chat';
const goodBody = `{"model":"${model}","messages":[]}`;
const bodyBytesMax = 32 * 1024 * 1024;

interface Wanted {
  readonly status: number;
  readonly code: string;
  readonly type?: string;
  readonly param?: string | null;
}

const expectError = (answer: RawAnswer, wanted: Wanted): void => {
  expect([answer.status, answer.body.toString()]).toEqual([wanted.status, expect.stringMatching(/^\{/)]);
  expect(answer.headers['content-type']).toBe('application/json');
  const { error } = jsonOf<ErrorBody>(answer);
  expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code']);
  const { status: _, ...fields } = wanted;
  expect(error).toMatchObject({ type: 'invalid_request_error', param: null, ...fields });
  expect(error.message).toMatch(/^.{15,}\.$/s);
};

describe.each(layouts)('refusals, layout %s', (layout) => {
  let engine: FakeEngine;
  beforeAll(async () => {
    engine = await startVllm({ models: [model] });
  });
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  /** Sends with a good key and a good body unless told otherwise. */
  const ask = (path: string, options: SendOptions = {}): Promise<RawAnswer> =>
    send(fixture.cluster.url + path, {
      ...options,
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}`, ...options.headers },
    });
  const askWith = (authorization: string, path = chatPath): Promise<RawAnswer> =>
    ask(path, { body: goodBody, headers: { authorization } });

  test.each([
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['half of it', goodBody.slice(0, -1)],
    ['two of it', goodBody + goodBody],
    ['a string', '"model"'],
    ['a list', `[${goodBody}]`],
    ['null', 'null'],
    [
      'bytes that are no UTF-8',
      Buffer.concat([Buffer.from('{"model":"chat","x":"'), Buffer.from([0xff, 0x22, 0x7d])]),
    ],
  ])('400 for a body that is %s', async (_, body) => {
    expectError(await ask(chatPath, { body }), { status: 400, code: 'bad_json' });
  });

  test.each([
    ['is missing', '{"messages":[]}'],
    ['is null', '{"model":null}'],
    ['is a number', '{"model":3}'],
    ['is empty', '{"model":""}'],
  ])('400 when the model %s', async (_, body) => {
    expectError(await ask(chatPath, { body }), { status: 400, code: 'invalid_request', param: 'model' });
  });

  test('400 when "stream" is no boolean', async () => {
    const answer = await ask(chatPath, { body: `{"model":"${model}","stream":"yes"}` });
    expectError(answer, { status: 400, code: 'invalid_request', param: 'stream' });
  });

  test.each([chatPath, '/v1/completions', '/v1/embeddings'])(
    '404 for an unknown model at %s',
    async (path) => {
      for (const stream of [false, true]) {
        const answer = await ask(path, { body: JSON.stringify({ model: 'nobody', stream }) });
        expectError(answer, { status: 404, code: 'model_not_found', param: 'model' });
        expect(answer.headers['retry-after']).toBeUndefined();
        expect(answer.headers['x-cognitora-route']).toBe(
          'region=weur; code=model_not_found; replicas=0, region=enam; code=no_nodes; replicas=0',
        );
      }
    },
  );

  test('401 without a key', async () => {
    const answer = await send(fixture.cluster.url + chatPath, { body: goodBody });
    expectError(answer, { status: 401, code: 'missing_key', type: 'authentication_error' });
    expect(answer.headers['www-authenticate']).toBe('Bearer');
    expectError(await send(`${fixture.cluster.url}/v1/models`), {
      status: 401,
      code: 'missing_key',
      type: 'authentication_error',
    });
  });

  test('401 for a wrong key, a forged one, and a header that is no bearer', async () => {
    const { apiKey } = fixture.cluster;
    const flipped = apiKey.slice(0, -1) + (apiKey.endsWith('A') ? 'B' : 'A');
    const another = `cgk_${Buffer.alloc(32, 1).toString('base64url')}`;
    const wrong = [`Bearer ${flipped}`, `Bearer ${another}`, 'Bearer sk-0123456789abcdef', `Basic ${apiKey}`];
    for (const header of [...wrong, apiKey, 'Bearer', `Bearer ${apiKey} ${apiKey}`]) {
      const type = 'authentication_error';
      expectError(await askWith(header), { status: 401, code: 'invalid_key', type });
    }
  });

  test('403 for a key without the scope', async () => {
    const { cluster } = fixture;
    const embedder = (await cluster.createKey(['embeddings'])).key;
    const chatter = (await cluster.createKey(['chat'])).key;
    const wanted = { status: 403, code: 'wrong_scope', type: 'permission_error' };
    expectError(await askWith(`Bearer ${embedder}`), wanted);
    expectError(await askWith(`Bearer ${cluster.adminKey}`), wanted);
    expectError(await askWith(`Bearer ${chatter}`, '/v1/embeddings'), wanted);
    expectError(await ask('/admin/nodes'), wanted);
    expect((await askWith(`Bearer ${chatter}`)).status).toBe(200);
  });

  test('401 once a key has expired', async () => {
    const { key } = await fixture.cluster.createKey(['chat'], { expiresInSeconds: 1 });
    expect((await askWith(`Bearer ${key}`)).status).toBe(200);
    const refused = await until('the key to expire', async () => {
      const answer = await askWith(`Bearer ${key}`);
      return answer.status === 200 ? undefined : answer;
    });
    expectError(refused, { status: 401, code: 'invalid_key', type: 'authentication_error' });
  });

  test('413 for a body over the limit, announced or not', async () => {
    const body = Buffer.alloc(bodyBytesMax + 1, 0x20);
    body.write(goodBody);
    for (const chunked of [false, true]) {
      const answer = await ask(chatPath, { body, chunked });
      expectError(answer, { status: 413, code: 'body_too_large' });
    }
    // Nothing of a refused body is still counted: the largest one passes.
    const id = freshId();
    const answer = await ask(chatPath, {
      body: body.subarray(0, bodyBytesMax),
      headers: { 'x-request-id': id },
    });
    expect(answer.status).toBe(200);
    expect(engine.byId(id).body.equals(body.subarray(0, bodyBytesMax))).toBe(true);
  });

  test('404 for an unknown path, 405 for a wrong method', async () => {
    for (const path of ['/', '/v1', '/v1/responses', '/chat/completions', `${chatPath}/`, '/admin/nobody']) {
      const headers = path.startsWith('/admin')
        ? { authorization: `Bearer ${fixture.cluster.adminKey}` }
        : {};
      expectError(await ask(path, { method: 'POST', body: '{}', headers }), {
        status: 404,
        code: 'not_found',
      });
    }
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await ask(chatPath, { method });
      expectError(answer, { status: 405, code: 'method_not_allowed' });
      expect(answer.headers.allow).toBe('POST');
    }
    const models = await ask('/v1/models', { method: 'POST', body: '{}' });
    expectError(models, { status: 405, code: 'method_not_allowed' });
    expect(models.headers.allow).toBe('GET');
  });

  test.each([
    [200, 'a completion', chatPath, { body: goodBody }],
    [400, 'a body that lacks its model', chatPath, { body: '{}' }],
    [404, 'an unknown model', chatPath, { body: '{"model":"nobody"}' }],
    [401, 'a wrong key', chatPath, { body: goodBody, headers: { authorization: 'Bearer none' } }],
    [405, 'a wrong method', chatPath, { method: 'GET' }],
    [200, 'the models', '/v1/models', {}],
    [200, 'a model', `/v1/models/${model}`, {}],
    [404, 'a model that is not there', '/v1/models/nobody', {}],
    [401, 'the models, with a wrong key', '/v1/models', { headers: { authorization: 'Bearer none' } }],
    [405, 'the models, with a wrong method', '/v1/models', { body: '{}' }],
    [404, 'a path that is not there', '/v2/models', {}],
    [403, 'the admin API, with a wrong scope', '/admin/nodes', {}],
    [401, 'a dial that is refused', '/link/v1', { headers: { authorization: 'none', upgrade: 'websocket' } }],
    [200, 'health', '/healthz', {}],
    [200, 'readiness', '/readyz', {}],
  ] as const)('x-request-id both ways: %i for %s', async (status, _, path, options: SendOptions) => {
    const id = freshId();
    const named = await ask(path, { ...options, headers: { ...options.headers, 'x-request-id': id } });
    expect([named.status, named.headers['x-request-id']]).toEqual([status, id]);
    const made = /^req_[0-9a-f]{32}$/;
    expect((await ask(path, options)).headers['x-request-id']).toMatch(made);
    const odd = await ask(path, { ...options, headers: { ...options.headers, 'x-request-id': 'a b' } });
    expect([odd.status, odd.headers['x-request-id']]).toEqual([status, expect.stringMatching(made)]);
  });

  test('refused requests never reach an engine', async () => {
    const before = engine.servedOn(chatPath);
    await ask(chatPath, { body: '{"model":"nobody"}' });
    await askWith('Bearer nobody-knows-this-key');
    await ask(chatPath, { body: goodBody.slice(1) });
    expect(engine.servedOn(chatPath)).toBe(before);
  });
});

describe.each(layouts)('no capacity, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout }));
  const ask = (stream: boolean): Promise<RawAnswer> =>
    send(fixture.cluster.url + chatPath, {
      body: JSON.stringify({ model, messages: [], stream }),
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}` },
    });
  const expectUnavailable = (answer: RawAnswer, code: string): void => {
    expectError(answer, { status: 503, code, type: 'server_error' });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect(answer.headers['x-cognitora-route']).toMatch(
      new RegExp(`^region=weur; code=${code}; replicas=\\d`),
    );
  };

  test('503 JSON with Retry-After, streaming or not: no node yet, and once the only replica is gone', async () => {
    const { cluster } = fixture;
    expect((await send(`${cluster.url}/readyz`)).status).toBe(503);
    expect((await send(`${cluster.url}/healthz`)).status).toBe(200);
    for (const stream of [true, false]) expectUnavailable(await ask(stream), 'no_nodes');
    await using engine = await startVllm({ models: [model] });
    await cluster.startAgent({ name: 'brief', engines: [engine.url] });
    expect((await ask(true)).status).toBe(200);
    expect((await send(`${cluster.url}/readyz`)).status).toBe(200);
    await engine.stop();
    await cluster.node('brief', (node) => node.replicas[0]?.state === 'failed');
    for (const stream of [true, false]) expectUnavailable(await ask(stream), 'no_capacity');
    const { headers } = await ask(true);
    expect(headers['x-cognitora-route']).toMatch(
      /^region=weur; code=no_capacity; replicas=1; failed=1, region=enam; code=no_nodes/,
    );
    const { node } = await cluster.node('brief');
    expect(await cluster.admin('GET', `/admin/requests/${headers['x-request-id']}`)).toMatchObject({
      decisions: [
        { outcome: 'refused', code: 'no_nodes', earlier: [{ region: 'weur', code: 'no_capacity' }] },
        { outcome: 'refused', code: 'no_capacity', keptBack: [{ node, replica: 'r0', why: 'failed' }] },
      ],
    });
    await cluster.program('brief').stop();
    await until('the node to leave', async () => (await cluster.regions()).every(({ links }) => links === 0));
    for (const stream of [true, false]) expectUnavailable(await ask(stream), 'no_capacity');
    expect((await send(`${cluster.url}/readyz`)).status).toBe(503);
  });
});
