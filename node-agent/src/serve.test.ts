import type { IncomingMessage, RequestListener } from 'node:http';
import { utf8 } from '@cognitora/protocol/bytes';
import {
  firstTokenMsMax,
  headersPerMessageMax,
  interTokenMsMax,
  sseEventBytesMax,
} from '@cognitora/protocol/limits';
import { volunteeredIn } from '@cognitora/protocol/volunteered';
import { describe, expect, test, vi } from 'vitest';
import { answerJson, bodyOf, closedPort, deferred, engineAt, serveHttp } from '../testing/http-engine.ts';
import { chunk, doneEvent, event, path, serve, usageChunk } from '../testing/serving.ts';
import type { EngineOptions } from './engines/engine.ts';
import { timeoutsDefault } from './engines/timeouts.ts';

/** An engine that answers with these SSE events; `asked` is what it was asked, word for word. */
const sseEngine = async (events: readonly string[], more: Partial<EngineOptions> = {}) => {
  const asked: { body: string; headers: IncomingMessage['headers'] }[] = [];
  const url = await serveHttp(async (request, response) => {
    asked.push({ body: await bodyOf(request), headers: request.headers });
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-engine': 'yes' });
    for (const event of events) response.write(event);
    response.end();
  });
  return { asked, engine: engineAt(url, more) };
};

test('a stream without usage is asked for it, and the usage goes into the record, not to the client', async () => {
  const { asked, engine } = await sseEngine([chunk, usageChunk, doneEvent]);
  const { over, text, ends, heads, consumed } = serve({ engine, request: '{"model":"m","stream":true}' });
  await over;
  expect(asked[0]?.body).toBe('{"stream_options":{"include_usage":true},"model":"m","stream":true}');
  expect(asked[0]?.headers['content-length']).toBe(String(asked[0]?.body.length));
  expect(text()).toBe(chunk + doneEvent);
  expect(heads[0]?.status).toBe(200);
  const bodyBytes = (chunk + doneEvent).length;
  expect(ends).toEqual([
    { bodyBytes, totalMs: 0, firstByteMs: 0, usage: { promptTokens: 5, completionTokens: 2 } },
  ]);
  expect(consumed()).toBe('{"model":"m","stream":true}'.length);
});

test('the query of a request reaches the engine as it is, behind its path', async () => {
  const urls: (string | undefined)[] = [];
  const url = await serveHttp((request, response) => {
    urls.push(request.url);
    request.resume();
    answerJson(response, {});
  });
  const engine = engineAt(new URL('/proxy/v1/', url));
  await serve({ engine, request: '{"model":"m"}', query: '?api-version=2024-10-21&x=%20' }).over;
  await serve({ engine, request: '{"model":"m"}' }).over;
  expect(urls).toEqual([`/proxy${path}?api-version=2024-10-21&x=%20`, `/proxy${path}`]);
});

test('a stream that asks for usage itself keeps it', async () => {
  const { asked, engine } = await sseEngine([chunk, usageChunk, doneEvent]);
  const request = '{"model":"m","stream":true,"stream_options":{"include_usage":true}}';
  const { over, text, ends } = serve({ engine, request });
  await over;
  expect(asked[0]?.body).toBe(request);
  expect(text()).toBe(chunk + usageChunk + doneEvent);
  expect(ends[0]).toMatchObject({ usage: { promptTokens: 5 } });
});

test('an engine that volunteers usage is not asked for it, and what it says stays', async () => {
  const { asked, engine } = await sseEngine([chunk, usageChunk, doneEvent]);
  const request = '{"model":"m","stream":true}';
  const { over, text } = serve({ engine, request, volunteered: { usage: 'usage', finish: [] } });
  await over;
  expect(asked[0]?.body).toBe(request);
  expect(text()).toBe(chunk + usageChunk + doneEvent);
});

test('what usage moves to its own event is put back; where its value is a new one, the model is doubted', async () => {
  const end = (index: number, more: object = {}): string =>
    event({ model: 'm', choices: [{ index, delta: {}, finish_reason: 'stop' }], ...more });
  const print = { system_fingerprint: 'a' };
  const used = { model: 'm', choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } };
  for (const last of [print, { system_fingerprint: 'b' }]) {
    const { engine } = await sseEngine([end(1), chunk, end(0), event({ ...used, ...last }), doneEvent]);
    const doubt = vi.spyOn(engine, 'doubt');
    const volunteered = volunteeredIn(utf8(end(0, print)));
    const request = '{"model":"public","stream":true}';
    const { over, text, ends } = serve({ engine, request, volunteered });
    await over;
    const sent = end(1, print) + chunk + end(0, last) + doneEvent;
    expect(text()).toBe(sent.replaceAll('"model":"m"', '"model":"public"'));
    expect(ends).toMatchObject([{ usage: { promptTokens: 5, completionTokens: 2 } }]);
    expect(doubt.mock.calls).toEqual(last === print ? [] : [['public']]);
  }
});

test('an engine of which nobody knows what it volunteers is asked nothing, and what it says stays', async () => {
  const { asked, engine } = await sseEngine([chunk, usageChunk, doneEvent]);
  const request = '{"model":"m","stream":true}';
  const { over, text, ends } = serve({ engine, request, volunteered: 'unknown' });
  await over;
  expect(asked[0]?.body).toBe(request);
  expect(text()).toBe(chunk + usageChunk + doneEvent);
  expect(ends[0]).toMatchObject({ usage: { promptTokens: 5 } });
});

test('an alias is the served name to the engine and the public name to the client', async () => {
  const { asked, engine } = await sseEngine([event({ model: 'served-name', choices: [] }), doneEvent]);
  const { over, text } = serve({ engine, request: '{"model":"m","stream":true}', served: 'served-name' });
  await over;
  expect(JSON.parse(asked[0]?.body ?? '')).toMatchObject({ model: 'served-name' });
  expect(asked[0]?.headers['content-length']).toBe(String(asked[0]?.body.length));
  expect(text()).toBe(event({ model: 'm', choices: [] }) + doneEvent);
});

test.each([1, 7, 1000])(
  'a body in pieces of %i bytes reaches the engine whole, with its edits and length',
  async (pieceBytes) => {
    const { asked, engine } = await sseEngine([doneEvent]);
    const content = 'é'.repeat(500);
    const request = JSON.stringify({ stream: true, model: 'm', messages: [{ role: 'user', content }] });
    const { over, consumed } = serve({ engine, request, served: 'a-longer-name', pieceBytes });
    await over;
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({
      stream: true,
      stream_options: { include_usage: true },
      model: 'a-longer-name',
      messages: [{ role: 'user', content }],
    });
    expect(asked[0]?.headers['content-length']).toBe(String(Buffer.byteLength(asked[0]?.body ?? '')));
    expect(consumed()).toBe(Buffer.byteLength(request));
  },
);

test('a JSON response passes, its model renamed and its usage read; hop headers stay behind', async () => {
  const url = await serveHttp((_, response) =>
    answerJson(response, { model: 'served', usage: { prompt_tokens: 3, completion_tokens: 1 } }),
  );
  const engine = engineAt(url, { apiKey: 'engine-key' });
  const { over, text, ends, heads } = serve({ engine, request: '{"model":"m"}', served: 'served' });
  await over;
  expect(JSON.parse(text())).toMatchObject({ model: 'm', usage: { prompt_tokens: 3 } });
  expect(ends[0]).toMatchObject({ usage: { promptTokens: 3, completionTokens: 1 } });
  expect(heads[0]?.headers).toEqual([['content-type', 'application/json']]);
});

test('the engine gets its own key and the request’s headers, and is asked for no compression', async () => {
  const heard = deferred<IncomingMessage['headers']>();
  const url = await serveHttp((request, response) => {
    heard.resolve(request.headers);
    answerJson(response, {});
  });
  serve({ engine: engineAt(url, { apiKey: 'engine-key' }), request: '{"model":"m"}' });
  expect(await heard.promise).toMatchObject({
    authorization: 'Bearer engine-key',
    'x-request-id': 'req-1',
    'accept-encoding': 'identity',
    'content-type': 'application/json',
  });
});

test('an engine’s error passes as it is, edits or not', async () => {
  const error = { error: { message: 'served is busy', model: 'served' }, model: 'served' };
  const url = await serveHttp((_, response) => answerJson(response, error, 429));
  const { over, heads, text } = serve({
    engine: engineAt(url),
    request: '{"model":"m","stream":true}',
    served: 'served',
  });
  await over;
  expect(heads[0]?.status).toBe(429);
  expect(JSON.parse(text())).toEqual(error);
});

test('an engine that is down is engine_unreachable', async () => {
  const engine = engineAt(await closedPort());
  const { over, ends, heads } = serve({ engine, request: '{"model":"m"}' });
  await over;
  expect(heads).toEqual([]);
  expect(ends).toMatchObject([{ code: 'engine_unreachable', record: { bodyBytes: 0 } }]);
});

test('an engine that breaks off before its head is engine_broke_off', async () => {
  const url = await serveHttp((request) => request.socket.destroy());
  const { over, ends, heads } = serve({ engine: engineAt(url), request: '{"model":"m"}' });
  await over;
  expect(heads).toEqual([]);
  expect(ends).toMatchObject([{ code: 'engine_broke_off' }]);
});

test('an engine that breaks off inside an event has said only whole events', async () => {
  const goOn = deferred();
  const url = await serveHttp(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`${chunk}data: {"to`);
    await goOn.promise;
    response.destroy();
  });
  const { over, ends, text, firstBytes } = serve({
    engine: engineAt(url),
    request: '{"model":"m","stream":true}',
  });
  await firstBytes;
  goOn.resolve();
  await over;
  expect(text()).toBe(chunk);
  expect(ends).toMatchObject([{ code: 'engine_broke_off', record: { bodyBytes: chunk.length } }]);
});

test.each([
  ['resets its connection', ''],
  ['says that it failed', event({ error: { message: 'dead', code: 500 } })],
  ['breaks off inside the next event', 'data: {"cho'],
])('an engine that %s behind the end of its choice has said that end', async (_, then) => {
  const goOn = deferred();
  const finish = event({ choices: [{ delta: {}, finish_reason: 'stop' }] });
  const url = await serveHttp(async (__, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk + finish + then);
    await goOn.promise;
    response.destroy();
  });
  const { over, ends, text, firstBytes } = serve({
    engine: engineAt(url),
    request: '{"model":"m","stream":true}',
  });
  await firstBytes;
  goOn.resolve();
  await over;
  expect(text()).toBe(chunk + finish);
  expect(ends).toMatchObject([{ code: 'engine_broke_off', record: { bodyBytes: (chunk + finish).length } }]);
});

test('a short body that never comes costs no head: the request can still fail with its own status', async () => {
  const started = deferred();
  const url = await serveHttp((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
    response.flushHeaders();
    response.socket?.end();
    started.resolve();
  });
  const { over, ends, heads } = serve({ engine: engineAt(url), request: '{"model":"m"}' });
  await over;
  expect(heads).toEqual([]);
  expect(ends).toMatchObject([{ code: 'engine_broke_off' }]);
});

/** An engine that starts a stream and then keeps silent, or keeps silent from the start. */
const silentEngine = async (first: string, more: Partial<EngineOptions> = {}) => {
  const arrived = deferred();
  const gone = deferred();
  const listener: RequestListener = (_, response) => {
    response.once('close', () => gone.resolve());
    if (first !== '') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(first);
    }
    arrived.resolve();
  };
  return { arrived: arrived.promise, gone: gone.promise, engine: engineAt(await serveHttp(listener), more) };
};

test.each(['', chunk])('a cancel aborts the engine’s request, after %j', async (first) => {
  const { engine, arrived, gone } = await silentEngine(first);
  const { running, ends, over, firstBytes } = serve({ engine, request: '{"model":"m","stream":true}' });
  await (first === '' ? arrived : firstBytes);
  running.cancel();
  await Promise.all([gone, over]);
  expect(ends).toEqual([]);
});

test('a cancel before the engine has the request sends it nothing', async () => {
  const { engine } = await silentEngine('');
  const { running, over, ends } = serve({ engine, request: '{"model":"m"}' });
  running.cancel();
  await over;
  expect(ends).toEqual([]);
});

test('a cancel in the middle of an upload gives back the credit of all that came', async () => {
  const heard = deferred();
  const engine = engineAt(await serveHttp((request) => request.once('data', () => heard.resolve())));
  const request = JSON.stringify({ model: 'm', messages: 'x'.repeat(100_000) });
  const { running, consumed, over } = serve({ engine, request, pieceBytes: 20_000 });
  await heard.promise;
  running.cancel();
  await over;
  expect(consumed()).toBe(request.length);
});

test('no first token in time is first_token_timeout, and the engine’s request ends', async () => {
  const { engine, arrived, gone } = await silentEngine('');
  const { ends, sweepAfter } = serve({ engine, request: '{"model":"m","stream":true}' });
  await arrived;
  sweepAfter(firstTokenMsMax);
  expect(ends).toEqual([]);
  sweepAfter(1);
  expect(ends).toMatchObject([{ code: 'first_token_timeout', record: { totalMs: firstTokenMsMax + 1 } }]);
  await gone;
});

test('silence between tokens is inter_token_timeout', async () => {
  const { engine, gone } = await silentEngine(chunk);
  const { ends, sweepAfter, firstBytes } = serve({ engine, request: '{"model":"m","stream":true}' });
  await firstBytes;
  sweepAfter(interTokenMsMax);
  expect(ends).toEqual([]);
  sweepAfter(1);
  expect(ends).toMatchObject([{ code: 'inter_token_timeout' }]);
  await gone;
});

test.each([
  ['', 'first_token_timeout', {}],
  [chunk, 'inter_token_timeout', { firstByteMs: 0 }],
])(
  'behind %j comments are passed on, as a sign of life, but are no tokens: %s',
  async (first, code, record) => {
    const speaking = deferred<(said: string) => void>();
    const url = await serveHttp(async (request, response) => {
      await bodyOf(request);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      speaking.resolve((said) => response.write(said));
    });
    const timeouts = { ...timeoutsDefault, firstTokenMsMax: 2_000, interTokenMsMax: 2_000 };
    const engine = engineAt(url, { timeouts });
    const heard = vi.spyOn(engine, 'heard');
    const served = serve({ engine, request: '{"model":"m","stream":true}' });
    const say = await speaking.promise;
    const pings = [': ping', ' - 1\n', '\n', ': ping\r\n\r\n'];
    for (const said of [first, ...pings].filter((one) => one !== '')) {
      served.time.nowMs += said === first ? 0 : 500;
      say(said);
      await vi.waitFor(() => expect(served.seen.at(-1)).toBe(said));
    }
    expect(served.text()).toBe(first + pings.join(''));
    expect(heard.mock.calls.length).toBeGreaterThanOrEqual(pings.length);
    expect(served.running.excuses(engine)).toBe(first === '');
    served.sweepAfter(0);
    expect(served.ends).toEqual([]);
    served.sweepAfter(1);
    const all = { bodyBytes: served.bytes(), totalMs: 2_001, ...record };
    expect(served.ends).toEqual([{ code, message: expect.any(String), record: all }]);
  },
);

test.each([
  ['', { firstTokenMsMax: 2_000 }, 'first_token_timeout'],
  [chunk, { interTokenMsMax: 2_000 }, 'inter_token_timeout'],
  [chunk, { totalMsMax: 2_000 }, 'total_timeout'],
])('after %j an engine with %j has so long', async (first, own, code) => {
  const timeouts = { ...timeoutsDefault, ...own };
  const { engine, arrived, gone } = await silentEngine(first, { timeouts });
  const { ends, sweepAfter, firstBytes } = serve({ engine, request: '{"model":"m","stream":true}' });
  await (first === '' ? arrived : firstBytes);
  sweepAfter(2_000);
  expect(ends).toEqual([]);
  sweepAfter(1);
  expect(ends).toMatchObject([{ code }]);
  await gone;
});

test('while the link has no room the engine’s silence is nobody’s fault', async () => {
  const { engine } = await silentEngine(chunk);
  const room = { now: false };
  const { running, ends, sweepAfter, firstBytes } = serve({
    engine,
    request: '{"model":"m","stream":true}',
    remainingMs: interTokenMsMax * 5,
    hasRoom: () => room.now,
  });
  await firstBytes;
  await new Promise((resolve) => setImmediate(resolve));
  sweepAfter(interTokenMsMax * 2);
  expect(ends).toEqual([]);
  running.drained();
  sweepAfter(interTokenMsMax);
  expect(ends).toEqual([]);
});

test('the total time ends a request, also one whose reader stalls', async () => {
  for (const hasRoom of [true, false]) {
    const { engine, gone } = await silentEngine(chunk);
    const options = { engine, request: '{"model":"m","stream":true}', hasRoom: () => hasRoom };
    const { ends, sweepAfter, firstBytes } = serve({
      ...options,
      remainingMs: hasRoom ? 1000 : interTokenMsMax * 2,
    });
    await firstBytes;
    sweepAfter(hasRoom ? 1001 : interTokenMsMax * 2 + 1);
    expect(ends).toMatchObject([{ code: 'total_timeout' }]);
    await gone;
  }
});

test('an engine whose reader has no room is not read, and goes on when it has', async () => {
  const total = 64 * 1024 * 1024;
  const filled = deferred();
  const url = await serveHttp((_, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    response.end(Buffer.alloc(total, 0x61));
    filled.resolve();
  });
  const room = { now: false };
  const parts = serve({ engine: engineAt(url), request: '{"model":"m"}', hasRoom: () => room.now });
  await Promise.all([filled.promise, parts.firstBytes]);
  for (let round = 0; round < 200; round += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(parts.bytes()).toBeLessThan(1024 * 1024);
  expect(parts.ends).toEqual([]);
  room.now = true;
  parts.running.drained();
  await parts.over;
  expect(parts.bytes()).toBe(total);
});

test('each byte of an answer is a sign of life; until the first one, and while nobody reads, none is due', async () => {
  const { engine } = await sseEngine([chunk, doneEvent]);
  const other = engineAt(await closedPort());
  const heard = vi.spyOn(engine, 'heard');
  const { over, running } = serve({ engine, request: '{"model":"m","stream":true}' });
  expect([running.excuses(engine), running.excuses(other), heard.mock.calls.length]).toEqual([
    true,
    false,
    0,
  ]);
  await over;
  expect([running.excuses(engine), heard.mock.calls.length > 0]).toEqual([false, true]);
  const { engine: silent } = await silentEngine(chunk);
  for (const hasRoom of [true, false]) {
    const served = serve({ engine: silent, request: '{"model":"m","stream":true}', hasRoom: () => hasRoom });
    await served.firstBytes;
    await new Promise((resolve) => setImmediate(resolve));
    expect(served.running.excuses(silent)).toBe(!hasRoom);
    served.running.cancel();
  }
});

test('nothing is said twice: an end after a timeout, a sweep after the end', async () => {
  const { engine } = await sseEngine([chunk, doneEvent]);
  const { over, ends, running, sweepAfter } = serve({ engine, request: '{"model":"m","stream":true}' });
  await over;
  sweepAfter(firstTokenMsMax * 10);
  running.cancel();
  expect(ends).toHaveLength(1);
});

/** What becomes of an answer with this status line and these headers, written as they are. */
const servedRaw = async (status: number, headers: readonly string[]) => {
  const url = await serveHttp((request, response) => {
    request.resume();
    const lines = [`HTTP/1.1 ${status} Odd`, 'content-length: 2', ...headers];
    response.socket?.end(`${lines.join('\r\n')}\r\n\r\nok`);
  });
  const { over, heads, ends } = serve({ engine: engineAt(url), request: '{"model":"m"}' });
  await over;
  return { heads, ends };
};

test.each([600, 999])('status %d, which the edge would not read, fails the request alone', async (status) => {
  const { heads, ends } = await servedRaw(status, []);
  expect(heads).toEqual([]);
  const message = `The engine answered with status ${status}, which HTTP does not know.`;
  expect(ends).toMatchObject([{ code: 'engine_broke_off', message }]);
});

test('as many headers as a HEAD holds are carried; one more fails the request alone', async () => {
  const lines = Array.from({ length: headersPerMessageMax + 1 }, (_, index) => `x-h${index}: v`);
  const most = await servedRaw(200, lines.slice(1));
  expect(most.heads[0]?.headers).toHaveLength(headersPerMessageMax);
  expect(most.ends).toMatchObject([{ bodyBytes: 2 }]);
  const { heads, ends } = await servedRaw(200, lines);
  expect(heads).toEqual([]);
  const message = 'The engine answered with 129 headers; at most 128 are carried.';
  expect(ends).toMatchObject([{ code: 'engine_broke_off', message }]);
});

test('headers that are longer than a frame fail the request alone', async () => {
  const { engine } = await silentEngine(chunk);
  // undici bounds what it reads far below; an engine's pool may come to allow more.
  const dispatch = vi.spyOn(engine.pool, 'dispatch').mockImplementation((_, handler) => {
    handler.onResponseStart?.(undefined as never, 200, { 'x-long': 'x'.repeat(256 * 1024) }, 'OK');
    return true;
  });
  const { over, heads, ends } = serve({ engine, request: '{"model":"m"}' });
  await over;
  dispatch.mockRestore();
  expect(heads).toEqual([]);
  expect(ends).toMatchObject([{ code: 'engine_broke_off', message: expect.stringContaining('262144') }]);
});

test('a page in the place of an answer is nobody’s hit: the request fails, and who watches saw no head', async () => {
  const closed = deferred();
  const url = await serveHttp((request, response) => {
    request.resume();
    response.once('close', () => closed.resolve());
    response.writeHead(200, { 'content-type': 'text/html' });
    response.write('<html>');
  });
  const { over, heads, ends, seen, text } = serve({ engine: engineAt(url), request: '{"model":"m"}' });
  await over;
  const message = `The engine answered with the content type "text/html", which is no answer of ${path}.`;
  expect([heads, text()]).toEqual([[], '']);
  expect(ends).toMatchObject([{ code: 'engine_not_understood', message, record: { bodyBytes: 0 } }]);
  expect(seen).toEqual(['body 13 last', 'ended early undefined']);
  // Its connection is not kept for the next request.
  await closed.promise;
});

test.each([
  ['Text/Event-Stream; charset=UTF-8', chunk + usageChunk + doneEvent],
  ['Application/JSON', JSON.stringify({ model: 'm', usage: { prompt_tokens: 5, completion_tokens: 2 } })],
])('a media type in another case is read all the same: %s', async (type, answer) => {
  const url = await serveHttp((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': type });
    response.end(answer);
  });
  const { over, ends } = serve({ engine: engineAt(url), request: '{"model":"m","stream":true}' });
  await over;
  expect(ends).toMatchObject([{ usage: { promptTokens: 5, completionTokens: 2 } }]);
});

test('who watches sees the request as the client wrote it, the answer as the engine sent it, and its end', async () => {
  const { engine } = await sseEngine([chunk, usageChunk, doneEvent]);
  const request = '{"model":"public","stream":true}';
  const { over, seen } = serve({ engine, request, pieceBytes: 20 });
  await over;
  const [first, second, head, ...rest] = seen;
  expect([first, second, head]).toEqual(['body 20', 'body 12 last', 'head 200']);
  expect(rest.slice(0, -1).join('')).toBe(chunk + usageChunk + doneEvent);
  expect(rest.at(-1)).toBe('ended clean 5');
});

test.each([7, 1000])('who watches may hold a request back, in pieces of %d bytes too', async (pieceBytes) => {
  const { asked, engine } = await sseEngine([chunk, 'data: [DONE]\n\n']);
  const ready = deferred();
  const request = '{"model":"m","stream":true,"stream_options":{"include_usage":true}}';
  const { over, consumed } = serve({ engine, request, pieceBytes, ready: ready.promise });
  const other = request.replace('true', 'false');
  await serve({ engine, request: other }).over;
  // Another request came and went, and all of the body came, whatever its window.
  expect([asked.map(({ body }) => body), consumed()]).toEqual([[other], request.length]);
  ready.resolve();
  await over;
  expect([asked.map(({ body }) => body), consumed()]).toEqual([[other, request], request.length]);
});

test('a request that is cancelled while it is held back is never sent', async () => {
  const { asked, engine } = await sseEngine([chunk]);
  const ready = deferred();
  const { running, over } = serve({ engine, request: '{"model":"m"}', ready: ready.promise });
  running.cancel();
  await over;
  ready.resolve();
  const other = '{"model":"m","stream":false}';
  await serve({ engine, request: other }).over;
  expect(asked.map(({ body }) => body)).toEqual([other]);
});

test('who watches learns once that a request was cancelled, or that it failed', async () => {
  const cancelled = serve({ engine: engineAt(await closedPort()), request: '{"model":"m"}' });
  cancelled.running.cancel();
  await cancelled.over;
  cancelled.running.body(utf8('more'), true);
  expect(cancelled.seen).toEqual(['body 13 last', 'ended early undefined']);
  const failed = serve({ engine: engineAt(await closedPort()), request: '{"model":"m"}' });
  await failed.over;
  failed.running.cancel();
  expect(failed.seen).toEqual(['body 13 last', 'ended early undefined']);
});

describe('a request that ends with a part of its answer', () => {
  const request = '{"model":"m","stream":true,"messages":[{"role":"assistant","content":"Hi"}]}';

  test('reaches the engine with the members by which that goes on from there', async () => {
    const continues = new Map([[path, '"go_on":true']]);
    const { asked, engine } = await sseEngine([chunk, doneEvent], { continues });
    const served = serve({ engine, request, volunteered: 'unknown', isContinued: true });
    await served.over;
    expect(asked[0]?.body).toBe(`${request.slice(0, -1)},"go_on":true}`);
    expect(served.text()).toBe(chunk + doneEvent);
  });

  test('reaches the engine as it is where that needs no members', async () => {
    const { asked, engine } = await sseEngine([doneEvent], { continues: new Map([[path, '']]) });
    await serve({ engine, request, volunteered: 'unknown', isContinued: true }).over;
    expect(asked[0]?.body).toBe(request);
  });

  test('does not reach an engine that cannot go on, and its bytes give their credit back', async () => {
    const { asked, engine } = await sseEngine([doneEvent], { continues: new Map([['/v1/completions', '']]) });
    const served = serve({ engine, request, isContinued: true, pieceBytes: 20 });
    await served.over;
    expect(served.ends).toMatchObject([{ code: 'not_continuable' }]);
    expect(served.consumed()).toBe(20);
    expect(served.seen).toEqual(['ended early undefined']);
    expect(asked).toEqual([]);
  });
});

describe('an engine that fails in the midst of its answer, and says so', () => {
  // As vLLM 0.32 did when its core was killed.
  const failed =
    'data: {"error": {"message": "EngineCore\\nfailed.", "type": "X", "param": null, "code": 500}}\n\n';

  test('broke off: what it says of that, and its end, are no part of the answer', async () => {
    const { engine } = await sseEngine([chunk, failed + doneEvent]);
    const served = serve({ engine, request: '{"model":"m","stream":true}' });
    await served.over;
    expect(served.text()).toBe(chunk);
    expect(served.ends).toMatchObject([{ code: 'engine_broke_off', record: { bodyBytes: chunk.length } }]);
    expect(served.ends).toMatchObject([
      { message: expect.stringContaining(String.raw`EngineCore\u000afailed.`) },
    ]);
  });

  test.each([
    ['without a status', event({ error: { message: 'core dead', type: 'server_error' } })],
    ['under a name', event({ error: { message: 'core dead', code: 'internal_error' } })],
    ['with a status in words', event({ error: { message: 'core dead', code: '500' } })],
    ['as a text', event({ error: 'core dead' })],
    ['as the event itself', event({ object: 'error', message: 'core dead', code: 500 })],
    ['beside an answer', event({ choices: [], error: { message: 'core dead' } })],
    ['without a blank line', event({ error: { message: 'core dead' } }).trim()],
  ])('%s, alike', async (_, error) => {
    const { engine } = await sseEngine([chunk, error, error.endsWith('\n') ? doneEvent : '']);
    const served = serve({ engine, request: '{"model":"m","stream":true}' });
    await served.over;
    expect(served.text()).toBe(chunk);
    expect(served.ends).toMatchObject([
      { code: 'engine_broke_off', message: expect.stringContaining('core dead') },
    ]);
  });

  test.each([
    ['a mistake of the client', event({ error: { message: 'too long', code: 400 } })],
    ['one in words', event({ error: { message: 'too long', code: '422' } })],
    ['one by its type', event({ error: { message: 'no', type: 'invalid_request_error', code: null } })],
    ['one that is the event', event({ object: 'error', message: 'too long', code: 400 })],
    ['none', event({ choices: [], error: null })],
    ['in a text', event({ choices: [{ delta: { content: '{"error":{"code":500}}' } }] })],
  ])('but an error passes that is %s', async (_, error) => {
    const { engine } = await sseEngine([chunk, error, doneEvent]);
    const served = serve({ engine, request: '{"model":"m","stream":true}' });
    await served.over;
    expect(served.text()).toBe(chunk + error + doneEvent);
    expect(served.ends[0]).not.toHaveProperty('code');
  });

  test('behind a mistake of the client nothing is missing', async () => {
    const error = event({ error: { message: 'too long', code: 400 } });
    const { engine } = await sseEngine([chunk, error]);
    const served = serve({ engine, request: '{"model":"m","stream":true}' });
    await served.over;
    expect([served.text(), 'code' in (served.ends[0] ?? {})]).toEqual([chunk + error, false]);
  });
});

describe('a stream that its engine ends in order', () => {
  const finish = event({ choices: [{ delta: {}, finish_reason: 'stop' }] });
  const ended = async (events: readonly string[], request = '{"model":"m","stream":true}') => {
    const { engine } = await sseEngine(events);
    const served = serve({ engine, request, volunteered: { usage: 'usage', finish: [] } });
    await served.over;
    return [served.text(), 'code' in (served.ends[0] ?? {}) ? served.ends[0] : 'ended'];
  };

  test.each([
    ['behind a part of its text', [chunk], chunk],
    ['inside an event', [chunk, finish.slice(0, -5)], chunk],
    ['with nothing', [], ''],
    ['with comments', [': wait\n\n'], ': wait\n\n'],
    ['behind its usage so far', [chunk, usageChunk], chunk + usageChunk],
  ])('%s broke off', async (_, events, passed) => {
    const broken = {
      code: 'engine_broke_off',
      message: 'The engine ended its answer before that was whole.',
    };
    expect(await ended(events)).toEqual([passed, expect.objectContaining(broken)]);
  });

  test.each([
    ['behind its finish reason', [chunk, finish]],
    ['behind a finish reason of several', [finish, event({ choices: [{ index: 1, delta: {} }] })]],
    ['behind [DONE] alone', [chunk, doneEvent]],
    ['without the blank line behind [DONE]', [chunk, doneEvent.trim()]],
    ['without the blank line behind its finish reason', [chunk, finish.trim()]],
    ['and is none of choices', [event({ type: 'response.created' })]],
    ['with an event too large to be read', [chunk, `data: ${'x'.repeat(sseEventBytesMax)}`]],
  ])('%s is whole', async (_, events) => {
    expect(await ended(events)).toEqual([events.join(''), 'ended']);
  });

  test('passes as it is where nobody asked for one', async () => {
    expect(await ended([chunk], '{"model":"m"}')).toEqual([chunk, 'ended']);
  });
});
