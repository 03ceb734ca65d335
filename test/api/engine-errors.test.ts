/**
 * What clients see when the engine refuses, is away, or breaks off: its own status and bytes where it said something,
 * 502 where it could not be reached, and never an answer that looks whole and is not.
 */
import { heldAnswerBytesMax } from '@cognitora/protocol/limits';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type FakeEngine, sendJson, sseHeaders } from '../fakes/fake-engine.ts';
import { llamaError, startLlamaServer, tooLongError } from '../fakes/llama-server.ts';
import { startVllm, vllmError } from '../fakes/vllm.ts';
import { type Cluster, layouts } from '../harness/cluster.ts';
import { type ErrorBody, freshId, jsonOf, type RawAnswer, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

interface Explained {
  readonly decisions: readonly { readonly occasion: string; readonly earlier: readonly object[] }[];
}

const chatPath = '/v1/chat/completions';
const event = (text: string): string =>
  `data: {"choices":[{"index":0,"delta":{"content":"${text}"},"finish_reason":null}]}\n\n`;

/** Statuses that engines answer with, and their bodies. */
const refusals: Record<string, readonly [status: number, body: string, headers?: Record<string, string>]> = {
  'vLLM: a bad request': [400, vllmError('max_tokens must be at least 1', 'BadRequestError', 400)],
  'vLLM, older: too long': [
    400,
    '{"object":"error","message":"maximum context length is 32768","type":"BadRequestError","param":null,"code":400}',
  ],
  'llama-server: too long': [400, tooLongError(9000)],
  'FastAPI: unprocessable': [422, '{"detail":[{"loc":["body","n"],"msg":"value is not a valid integer"}]}'],
  'a rate limit': [
    429,
    '{"error":{"message":"slow down","type":"rate_limit","code":null}}',
    { 'retry-after': '7' },
  ],
  'llama-server: no embeddings': [501, llamaError(501, 'not supported', 'not_supported_error')],
  'an internal error': [500, vllmError('CUDA out of memory', 'InternalServerError', 500)],
  'its own 503': [503, llamaError(503, 'Loading model', 'unavailable_error')],
  'its own 404': [404, vllmError('The model `x` does not exist.', 'NotFoundError', 404)],
  'plain text': [502, 'Bad Gateway', { 'content-type': 'text/plain' }],
  nothing: [400, ''],
};

describe.each(layouts)('engines that fail, layout %s', (layout) => {
  let engine: FakeEngine;
  let llama: FakeEngine;
  let setLoaded = (): void => {};
  beforeAll(async () => {
    engine = await startVllm({ models: ['chat'] });
    const loaded = new Promise<void>((resolve) => {
      setLoaded = resolve;
    });
    llama = await startLlamaServer({ models: ['llama'], loaded });
  });
  afterAll(() => Promise.all([engine.stop(), llama.stop()]));
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  /** Asks for a completion that the engine answers as scripted. */
  const ask = (answer: Answer, stream: boolean, cluster: Cluster = fixture.cluster): Promise<RawAnswer> => {
    const id = freshId();
    engine.script(id, answer);
    return send(cluster.url + chatPath, {
      body: JSON.stringify({ model: 'chat', messages: [], stream }),
      headers: { authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id },
    });
  };

  test.each(Object.entries(refusals))('passes on %s', async (_, [status, body, headers = {}]) => {
    for (const stream of [false, true]) {
      const answer = await ask(({ response }) => {
        response.writeHead(status, { 'content-type': 'application/json', ...headers });
        response.end(body);
      }, stream);
      expect([answer.status, answer.body.toString()]).toEqual([status, body]);
      expect(answer.headers).toMatchObject({ 'content-type': 'application/json', ...headers });
      expect(answer.headers['x-cognitora-code']).toBeUndefined();
      expect(answer.headers['x-cognitora-region']).toBe('weur');
    }
  });

  test('502 when the engine hangs up before it answers', async () => {
    for (const stream of [false, true]) {
      const answer = await ask(({ response }) => void response.destroy(), stream);
      expect(answer.status).toBe(502);
      expect(jsonOf<ErrorBody>(answer).error).toMatchObject({
        type: 'server_error',
        code: 'engine_broke_off',
      });
    }
  });

  test('502 for a page in the place of an answer, which names its type; JSON for a stream passes', async () => {
    for (const stream of [false, true]) {
      const answer = await ask(({ response }) => {
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
        response.end('<html><body>It works!</body></html>');
      }, stream);
      const message =
        'The engine answered with the content type "text/html", which is no answer of /v1/chat/completions.';
      expect([answer.status, jsonOf<ErrorBody>(answer).error]).toMatchObject([
        502,
        { message, type: 'server_error', code: 'engine_not_understood' },
      ]);
      expect(answer.headers['content-type']).toContain('application/json');
    }
    const short = await ask(({ response }) => sendJson(response, 200, '{"object":"chat.completion"}'), true);
    expect([short.status, short.body.toString()]).toEqual([200, '{"object":"chat.completion"}']);
  });

  const piece = '{"model":"chat", ';
  const whole = { 'content-type': 'application/json', 'content-length': '1000' };
  const broken = [
    ['of known length, at once', whole, 1, 0],
    ['of known length, after a while', whole, 3, 60],
    ['of unknown length, at once', { 'content-type': 'application/json' }, 1, 0],
    ['of unknown length, after a while', { 'content-type': 'application/json' }, 3, 60],
    ['that is larger than is held', { 'content-type': 'application/octet-stream' }, 100_000, 0],
  ] as const;
  test.each(broken)(
    'a body %s that breaks off is never half an answer',
    async (_, headers, pieces, pauseMs) => {
      const answer = ask(async ({ response }) => {
        response.writeHead(200, headers);
        for (let sent = 0; sent < pieces; sent += 1) {
          if (!response.write(piece)) await new Promise((resolve) => response.once('drain', resolve));
          if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
        }
        await new Promise((resolve) => response.write('more', resolve));
        response.destroy();
      }, false);
      const seen = await answer;
      if (piece.length * pieces < heldAnswerBytesMax) {
        expect([seen.status, seen.isWhole, jsonOf<ErrorBody>(seen).error.code]).toEqual([
          ...[502, true, 'engine_broke_off'],
        ]);
        return;
      }
      // HTTP itself says that the body is not whole, and what came of it is the engine's own.
      expect([seen.status, seen.isWhole]).toEqual([200, false]);
      expect(`${piece.repeat(pieces)}more`.startsWith(seen.body.toString())).toBe(true);
      expect(seen.body.length).toBeGreaterThanOrEqual(heldAnswerBytesMax);
    },
  );

  const streams = [
    ['between events', event('a') + event('b'), ''],
    // The agent reads events whole, since it may have to undo an edit in one: half of one stays with it.
    ['inside an event', event('a') + event('b'), event('c').slice(0, 20)],
    ['right after the first', event('a'), ''],
  ] as const;
  test.each(streams)('a stream that breaks off %s ends with an error event', async (_, events, half) => {
    for (const waitMs of [0, 50]) {
      const answer = await ask(async ({ response }) => {
        response.writeHead(200, sseHeaders);
        await new Promise((resolve) => response.write(events + half, resolve));
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        response.destroy();
      }, true);
      expect([answer.status, answer.isWhole]).toEqual([200, true]);
      const text = answer.body.toString();
      expect(text.slice(0, events.length)).toBe(events);
      const [, last = ''] = /^data: (.*)\n\n$/.exec(text.slice(events.length)) ?? [];
      const { error } = JSON.parse(last) as ErrorBody;
      expect(error).toMatchObject({ type: 'server_error', code: 'engine_broke_off' });
      expect(answer.body.toString()).not.toContain('[DONE]');
    }
  });

  /** Ways in which a server ends a stream in order whose engine did not: [what came of it, what is no part of it]. */
  const unfinished: Record<string, readonly [events: string, rest: string]> = {
    'without a finish reason': [event('a') + event('b'), ''],
    'with empty finish reasons alone': [(event('a') + event('b')).replaceAll('null', '""'), ''],
    'inside an event': [event('a') + event('b'), event('c').slice(0, 30)],
    'behind an error without a status': [
      event('a'),
      'data: {"error":{"message":"CUDA error","type":"server_error","code":"internal_error"}}\n\ndata: [DONE]\n\n',
    ],
    'behind an event that is an error': [
      event('a'),
      'data: {"object":"error","message":"CUDA error","code":500}\n\ndata: [DONE]\n\n',
    ],
  };
  test.each(Object.entries(unfinished))(
    'a stream that is ended in order %s ends with an error event',
    async (_, [events, rest]) => {
      for (const waitMs of [0, 50]) {
        const answer = await ask(async ({ response }) => {
          // As an engine does it that closes its connection instead of counting.
          response.useChunkedEncodingByDefault = false;
          response.writeHead(200, { ...sseHeaders, connection: 'close' });
          response.write(events);
          if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
          response.end(rest);
        }, true);
        const text = answer.body.toString();
        expect([answer.status, text.slice(0, events.length)]).toEqual([200, events]);
        expect(text.slice(events.length)).toMatch(/^data: \{"error":\{.*"code":"engine_broke_off"\}\}\n\n$/);
      }
    },
  );

  test('an answer that is ended in order in its midst is none, nor is an error with the status 200', async () => {
    const whole = JSON.stringify({
      id: 'x',
      object: 'chat.completion',
      choices: [{ index: 0, message: {} }],
    });
    const dead = '{"error":{"message":"CUDA error","type":"server_error","code":500}}';
    for (const said of [whole.slice(0, -20), '', dead]) {
      const answer = await ask(({ response }) => {
        response.useChunkedEncodingByDefault = false;
        response.writeHead(200, { 'content-type': 'application/json', connection: 'close' });
        response.end(said);
      }, false);
      expect([answer.status, jsonOf<ErrorBody>(answer).error.code]).toEqual([502, 'engine_broke_off']);
    }
  });

  test('[DONE] without a finish reason is an end, and so is a mistake of the client', async () => {
    const done = 'data: [DONE]\n\n';
    const error = 'data: {"error":{"message":"too long","type":"invalid_request_error","code":400}}\n\n';
    for (const said of [event('a') + done, event('a') + error, event('a') + error + done]) {
      const answer = await ask(({ response }) => {
        response.writeHead(200, sseHeaders);
        response.end(said);
      }, true);
      expect([answer.status, answer.body.toString()]).toEqual([200, said]);
    }
  });

  test.each(Object.entries(unfinished))(
    'of a stream that is ended in order %s another replica says the rest',
    async (how, [events, rest]) => {
      const { cluster } = fixture;
      const model = `pair-${Object.keys(unfinished).indexOf(how)}`;
      await using first = await startVllm({ models: [model] });
      await using second = await startVllm({ models: [model] });
      const id = freshId();
      const bodies: string[] = [];
      const answer: Answer = ({ received, response }) => {
        bodies.push(received.body.toString());
        response.writeHead(200, sseHeaders);
        if (bodies.length === 1) response.end(events + rest);
        else response.end(`${event('z')}${event('').replace('null', '"stop"')}data: [DONE]\n\n`);
      };
      const agents = [first, second].map(async (one, index) => {
        one.script(id, answer);
        const config = `[[engine]]\nname = "e"\nprofile = "vllm"\nurl = "${one.url}"\n`;
        return cluster.startAgent({ name: `${model}-${index}`, engines: [], config });
      });
      await Promise.all(agents);
      const limited = { model, messages: [{ role: 'user', content: 'Hi' }], stream: true, max_tokens: 50 };
      const answered = await send(cluster.url + chatPath, {
        body: JSON.stringify(limited),
        headers: { authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id },
      });
      const text = answered.body.toString();
      const wordsIn = (said: string) =>
        [...said.matchAll(/"content":"(.*?)"/g)].map(([, word]) => word).join('');
      expect([wordsIn(text), text.includes('"error"')]).toEqual([`${wordsIn(events)}z`, false]);
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
      expect(JSON.parse(bodies[1] ?? '').messages[1]).toMatchObject({ content: wordsIn(events) });
      const { decisions } = await cluster.admin<Explained>('GET', `/admin/requests/${id}`);
      expect(decisions.map(({ occasion }) => occasion)).toEqual(['continued', 'first']);
      expect(decisions[0]?.earlier).toMatchObject([{ code: 'engine_broke_off' }]);
      await Promise.all((await Promise.all(agents)).map((agent) => agent.stop()));
    },
  );

  test('a stream whose headers never left the engine is a 502', async () => {
    const answer = await ask(({ response }) => {
      response.writeHead(200, sseHeaders);
      response.write(event('a'));
      response.destroy();
    }, true);
    expect([answer.status, answer.isWhole]).toEqual([502, true]);
    expect(jsonOf<ErrorBody>(answer).error.code).toBe('engine_broke_off');
  });

  test('the SDK throws when a stream breaks off', async () => {
    const id = freshId();
    engine.script(id, ({ response }) => {
      response.writeHead(200, sseHeaders);
      response.write(event('a') + event('b'), () => response.destroy());
    });
    const read = async (): Promise<void> => {
      const asked = { model: 'chat', messages: [], stream: true as const };
      const stream = await fixture.cluster
        .sdk()
        .chat.completions.create(asked, { headers: { 'x-request-id': id } });
      for await (const chunk of stream) expect(chunk.choices[0]?.delta.content).toMatch(/[ab]/);
    };
    await expect(read()).rejects.toThrow(/broke/);
  });

  test('while an engine loads and names no model, any may be its: 503 with Retry-After, and 404 later', async () => {
    const { cluster } = fixture;
    const headers = { authorization: `Bearer ${cluster.apiKey}` };
    const askFor = (model: string): Promise<RawAnswer> =>
      send(cluster.url + chatPath, { body: JSON.stringify({ model, messages: [] }), headers });
    expect((await askFor('llama')).status).toBe(404);
    const ready = cluster.startAgent({ name: 'loading', engines: [llama.url] });
    await cluster.node('loading');
    // Nobody knows the engine's model, so nobody can say that this one does not exist.
    const early = await askFor('llama');
    expect([early.status, jsonOf<ErrorBody>(early).error.code]).toEqual([503, 'no_capacity']);
    expect(Number(early.headers['retry-after'])).toBeGreaterThan(0);
    expect((await askFor('nobody')).status).toBe(503);
    expect((await askFor('chat')).status).toBe(200);
    // An SDK that tries again, as it does by default, gets its answer once the engine is up.
    const patient = cluster.sdk().withOptions({ maxRetries: 10 });
    const completion = patient.chat.completions.create({ model: 'llama', messages: [] });
    setLoaded();
    await ready;
    expect((await completion).choices).toHaveLength(1);
    expect((await askFor('llama')).status).toBe(200);
    expect((await askFor('nobody')).status).toBe(404);
  });

  test('502 for an engine that has just died, 503 once the agent knows, 200 when it is back', async () => {
    const { cluster } = fixture;
    await using brief = await startVllm({ models: ['brief'] });
    await cluster.startAgent({ name: 'brief', engines: [brief.url] });
    const askBrief = (id = freshId()): Promise<RawAnswer> =>
      send(cluster.url + chatPath, {
        body: '{"model":"brief","messages":[],"stream":true}',
        headers: { authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id },
      });
    expect((await askBrief()).status).toBe(200);
    // It dies of this very request, so that the agent cannot have noticed before.
    const fatal = freshId();
    brief.script(fatal, () => brief.stop());
    const dead = await askBrief(fatal);
    expect(dead.status).toBe(502);
    expect(jsonOf<ErrorBody>(dead).error.code).toBe('engine_broke_off');
    await until('503', async () => (await askBrief()).status === 503, 15_000);
    await brief.start();
    await until('200', async () => (await askBrief()).status === 200, 15_000);
    await cluster.program('brief').stop();
  });

  test('an agent that dies mid-stream: an error event, and no [DONE]', async () => {
    const { cluster } = fixture;
    await using brief = await startVllm({ models: ['cut'] });
    const agent = await cluster.startAgent({ name: 'cut', engines: [brief.url] });
    const id = freshId();
    brief.script(id, async ({ response, hungUp }) => {
      response.writeHead(200, sseHeaders);
      response.write(event('a'));
      await hungUp;
    });
    const answer = await send(cluster.url + chatPath, {
      body: '{"model":"cut","stream":true}',
      headers: { authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id },
      onPiece: (bytes) => {
        if (bytes.toString() === event('a')) agent.kill().catch(() => {});
        return true;
      },
    });
    const [first, last] = answer.body.toString().split(/(?<=\n\n)/);
    expect([answer.status, first]).toEqual([200, event('a')]);
    expect(last).toMatch(/^data: \{"error":\{.*"code":"link_lost"\}\}\n\n$/);
    expect(answer.body.toString()).not.toContain('[DONE]');
  });

  test('an answer that is an error is not edited', async () => {
    const body = '{"error":{"message":"no"},"model":"chat","usage":{"prompt_tokens":1}}';
    const answer = await ask(({ response }) => sendJson(response, 418, body), true);
    expect([answer.status, answer.body.toString()]).toEqual([418, body]);
  });
});
