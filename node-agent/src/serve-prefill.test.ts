/** Serving a request whose engine tells how far its prefill is: what of that goes on, and what time it buys. */
import { firstTokenMsMax } from '@cognitora/protocol/limits';
import { expect, test, vi } from 'vitest';
import { bodyOf, deferred, engineAt, serveHttp } from '../testing/http-engine.ts';
import { chunk, doneEvent, event, type Serving, serve, usageChunk } from '../testing/serving.ts';
import type { Engine, EngineOptions } from './engines/engine.ts';

const asked = '{"return_progress":true,"model":"m","stream":true}';
const request = '{"model":"m","stream":true}';
const progress = (processed: number): string =>
  event({ choices: [{ delta: { role: 'assistant' } }], prompt_progress: { total: 900, processed } });
const usageStays: Partial<Serving> = { volunteered: { usage: 'usage', finish: [] } };

/** Says each of these when it is told to, and then waits. */
const steppedEngine = async (more: Partial<EngineOptions> = {}) => {
  const heard = deferred<(said: string) => void>();
  const bodies: string[] = [];
  const url = await serveHttp(async (incoming, response) => {
    bodies.push(await bodyOf(incoming));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    heard.resolve((said) => (said === '' ? response.end() : response.write(said)));
  });
  const engine = engineAt(url, { reportsProgress: true, ...more });
  return { engine, bodies, say: async (said: string) => (await heard.promise)(said) };
};

/** Until the agent has heard so many reads of the engine. */
const reads = async (engine: Engine) => {
  const heard = vi.spyOn(engine, 'heard');
  return (count: number) => vi.waitFor(() => expect(heard.mock.calls.length).toBeGreaterThanOrEqual(count));
};

test('what it tells is for the agent: neither head nor byte goes on before its answer begins', async () => {
  const { engine, bodies, say } = await steppedEngine();
  const read = await reads(engine);
  const served = serve({ engine, request, ...usageStays });
  await say(progress(0));
  await read(1);
  served.sweepAfter(40);
  await say(progress(300));
  await read(2);
  expect(served.heads).toEqual([]);
  expect(served.seen).toEqual([`body ${request.length} last`, 'head 200']);
  expect(served.running.excuses(engine)).toBe(true);
  served.sweepAfter(60);
  await say(progress(900) + chunk);
  await served.firstBytes;
  expect(served.heads).toMatchObject([{ status: 200 }]);
  // What a body ends with goes on as well, without a blank line behind it.
  const last = doneEvent.trim();
  await say(progress(20) + last);
  await say('');
  await served.over;
  expect(bodies).toEqual([asked]);
  expect(served.text()).toBe(chunk + last);
  expect(served.seen.slice(2)).toEqual([chunk, last, 'ended clean undefined']);
  const bodyBytes = (chunk + last).length;
  expect(served.ends).toEqual([{ bodyBytes, totalMs: 100, firstByteMs: 100 }]);
});

test('the wait for its first token begins anew with all that is done of the prompt, and only so', async () => {
  const { engine, say } = await steppedEngine();
  const read = await reads(engine);
  const served = serve({ engine, request, ...usageStays });
  for (const [at, processed] of [100, 200, 900].entries()) {
    served.sweepAfter(firstTokenMsMax);
    await say(progress(processed));
    await read(at + 1);
  }
  served.sweepAfter(firstTokenMsMax);
  await say(progress(900));
  await read(4);
  expect(served.ends).toEqual([]);
  served.sweepAfter(1);
  expect(served.ends).toMatchObject([{ code: 'first_token_timeout', record: { bodyBytes: 0 } }]);
  expect(served.heads).toEqual([]);
});

test('prefill that goes on is bounded by the total time', async () => {
  const { engine, say } = await steppedEngine();
  const read = await reads(engine);
  const served = serve({ engine, request, ...usageStays, remainingMs: 1000 });
  await say(progress(1));
  await read(1);
  served.sweepAfter(1001);
  expect(served.ends).toMatchObject([{ code: 'total_timeout' }]);
});

test('an answer that ends with nothing but that broke off, and has no head', async () => {
  const { engine, say } = await steppedEngine();
  const served = serve({ engine, request, ...usageStays });
  await say(progress(1));
  await say('');
  await served.over;
  expect([served.heads.length, served.text()]).toEqual([0, '']);
  expect(served.ends).toMatchObject([{ code: 'engine_broke_off', record: { bodyBytes: 0 } }]);
});

test('a failure before its first token can still have a status of its own', async () => {
  const { engine, say } = await steppedEngine();
  const served = serve({ engine, request, ...usageStays });
  await say(progress(1) + event({ error: { message: 'out of memory', code: 500 } }));
  await served.over;
  expect(served.heads).toEqual([]);
  expect(served.ends).toMatchObject([{ code: 'engine_broke_off', record: { bodyBytes: 0 } }]);
});

test('usage is asked for beside it, and neither is seen', async () => {
  const { engine, bodies, say } = await steppedEngine();
  const served = serve({ engine, request });
  await say(progress(1) + chunk + usageChunk + doneEvent);
  await say('');
  await served.over;
  expect(JSON.parse(bodies[0] ?? '')).toEqual({
    ...JSON.parse(asked),
    stream_options: { include_usage: true },
  });
  expect(served.text()).toBe(chunk + doneEvent);
  expect(served.ends).toMatchObject([{ usage: { promptTokens: 5 } }]);
});

test.each([
  ['one that was asked for it by its client', asked, true],
  ['one that does not tell', request, false],
])('%s is left alone', async (_, request, reportsProgress) => {
  const { engine, bodies, say } = await steppedEngine({ reportsProgress });
  const served = serve({ engine, request, ...usageStays });
  await say(progress(1) + chunk);
  await say('');
  await served.over;
  expect(bodies).toEqual([request]);
  expect(served.text()).toBe(progress(1) + chunk);
});
