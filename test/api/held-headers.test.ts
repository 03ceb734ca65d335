/**
 * Engines that are silent for long. A stream's headers are held for 15 s, then 200 and a comment are committed; what
 * the engine says later arrives behind them, its late errors as an error event; comments keep a silent stream alive
 * and never stand inside an event. All cases wait at the same time, so that the file takes as long as the longest.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type FakeEngine, sendJson, sseHeaders } from '../fakes/fake-engine.ts';
import { startLlamaServer, tooLongError } from '../fakes/llama-server.ts';
import { layouts } from '../harness/cluster.ts';
import { type ErrorBody, freshId, jsonOf, type RawAnswer, type SendOptions, send } from '../harness/http.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
const event = (text: string): string => `data: {"choices":[{"index":0,"delta":{"content":"${text}"}}]}\n\n`;
const done = 'data: [DONE]\n\n';
/** When the product may commit: its bound is 15 s, looked at twice a second. */
const committedMs = { min: 14_900, max: 17_500 };

const isComment = (text: string): boolean => text.startsWith(':');
const eventsOf = (answer: RawAnswer): string[] => answer.body.toString().split(/(?<=\n\n)/);
const withoutComments = (answer: RawAnswer): string =>
  eventsOf(answer)
    .filter((one) => !isComment(one))
    .join('');

const expectCommitted = (answer: RawAnswer): void => {
  expect(answer.status).toBe(200);
  expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
  expect(answer.headersMs).toBeGreaterThan(committedMs.min);
  expect(answer.headersMs).toBeLessThan(committedMs.max);
  expect(isComment(eventsOf(answer)[0] ?? '')).toBe(true);
};

describe.concurrent.each(layouts)('silent engines, layout %s', (layout) => {
  let engine: FakeEngine;
  beforeAll(async () => {
    engine = await startLlamaServer({ models: ['llama'] });
  });
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));
  const ask = (answer: Answer, stream = true, extra: SendOptions = {}): Promise<RawAnswer> => {
    const id = freshId();
    engine.script(id, answer);
    return send(fixture.cluster.url + chatPath, {
      ...extra,
      body: JSON.stringify({ model: 'llama', messages: [], stream }),
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id },
    });
  };

  test('headers after 14 s are the engine’s own', async () => {
    const answer = await ask(async ({ response }) => {
      await pause(14_000);
      sendJson(response, 400, tooLongError(9000));
    });
    expect([answer.status, answer.body.toString()]).toEqual([400, tooLongError(9000)]);
  });

  test('headers after 18 s: a comment first, then the engine’s bytes', async () => {
    const bytes = event('a') + event('b') + done;
    const answer = await ask(async ({ response }) => {
      await pause(18_000);
      response.writeHead(200, sseHeaders);
      response.end(bytes);
    });
    expectCommitted(answer);
    expect(withoutComments(answer)).toBe(bytes);
    expect(answer.pieces[0]?.atMs).toBeLessThan(committedMs.max);
    expect(answer.headers['x-cognitora-region']).toBe('weur');
  });

  test('the SDK reads such a stream as any other', async () => {
    const id = freshId();
    engine.script(id, async ({ response }) => {
      await pause(17_000);
      response.writeHead(200, sseHeaders);
      response.end(event('late') + done);
    });
    const asked = { model: 'llama', messages: [], stream: true as const };
    const stream = await fixture.cluster
      .sdk()
      .chat.completions.create(asked, { headers: { 'x-request-id': id } });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content;
    expect(text).toBe('late');
  });

  test.each([
    ['a refusal', 400, tooLongError(9000), /exceeds the available context size/],
    ['a refusal that is no JSON', 500, 'Internal Server Error', /500/],
  ] as const)('%s after 18 s is an error event, and no [DONE]', async (_, status, body, message) => {
    const answer = await ask(async ({ response }) => {
      await pause(18_000);
      sendJson(response, status, body);
    });
    expectCommitted(answer);
    const last = withoutComments(answer);
    expect(last).toMatch(/^data: \{.*\}\n\n$/);
    const { error } = JSON.parse(last.slice('data: '.length)) as ErrorBody;
    expect(error).toMatchObject({ code: 'engine_refused', message: expect.stringMatching(message) });
    expect(answer.isWhole).toBe(true);
  });

  test('an engine that hangs up after 18 s: an error event, and no [DONE]', async () => {
    const answer = await ask(async ({ response }) => {
      await pause(18_000);
      response.destroy();
    });
    expectCommitted(answer);
    const last = withoutComments(answer);
    expect(JSON.parse(last.slice('data: '.length))).toHaveProperty('error.code', 'engine_broke_off');
    expect(last).not.toContain('[DONE]');
  });

  test('an answer that is no stream waits without a commitment', async () => {
    const answer = await ask(async ({ response }) => {
      await pause(18_000);
      sendJson(response, 422, '{"detail":"late"}');
    }, false);
    expect([answer.status, answer.body.toString()]).toEqual([422, '{"detail":"late"}']);
    expect(answer.headersMs).toBeGreaterThan(17_900);
  });

  test('comments while a prefill is silent behind early headers', async () => {
    const bytes = event('a') + done;
    const answer = await ask(async ({ response }) => {
      response.writeHead(200, sseHeaders);
      response.flushHeaders();
      await pause(17_000);
      response.end(bytes);
    });
    expect(answer.headersMs).toBeLessThan(3_000);
    expect(eventsOf(answer).filter(isComment)).not.toEqual([]);
    expect(withoutComments(answer)).toBe(bytes);
  });

  test('no comment inside an event, however long its halves are apart', async () => {
    const long = event('x'.repeat(2 * 1024 * 1024));
    for (const bytes of [event('half'), long]) {
      const answer = await ask(async ({ response }) => {
        const half = Math.floor(bytes.length * 0.7);
        response.writeHead(200, sseHeaders);
        response.write(event('first') + bytes.slice(0, half));
        await pause(17_000);
        response.end(bytes.slice(half) + done);
      });
      expect(withoutComments(answer) === event('first') + bytes + done).toBe(true);
    }
  }, 60_000);

  test('a client that leaves before the commitment is gone at the engine too', async () => {
    let hungUpMs = 0;
    let startedMs = 0;
    const startClock = performance.now();
    const outcome = ask(
      async ({ hungUp }) => {
        startedMs = performance.now() - startClock;
        await hungUp;
        hungUpMs = performance.now() - startClock;
      },
      true,
      {
        onSocket: (socket) => {
          until('the engine to begin', () => startedMs > 0).then(
            () => socket.destroy(),
            () => {},
          );
        },
      },
    );
    await expect(outcome).rejects.toThrow();
    await until('the engine to hear of it', () => hungUpMs > 0);
    expect(hungUpMs - startedMs).toBeLessThan(1_500);
  });

  test('a revoked key works for at most 10 s more', async () => {
    const { cluster } = fixture;
    const { id, key } = await cluster.createKey(['chat']);
    const look = (): Promise<RawAnswer> =>
      send(`${cluster.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    expect((await look()).status).toBe(200);
    await cluster.admin('DELETE', `/admin/keys/${id}`);
    const startedMs = performance.now();
    const refused = await until(
      'the key to be refused',
      async () => {
        const answer = await look();
        return answer.status === 200 ? undefined : answer;
      },
      15_000,
    );
    expect(performance.now() - startedMs).toBeLessThan(11_000);
    expect([refused.status, jsonOf<ErrorBody>(refused).error.code]).toEqual([401, 'invalid_key']);
  });
});
