/**
 * Engines that are silent for long. A stream's headers are held for 15 s, then 200 and a comment are committed; what
 * the engine says later arrives behind them, its late errors as an error event; comments keep a silent stream alive
 * and never stand inside an event. Comments of an engine's own are no tokens. All requests are under way at the same
 * time, in both layouts, so that the file takes as long as the slowest of them.
 */
import type { FinalRecord } from '@cognitora/protocol/link';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, type FakeEngine, sendJson, sseHeaders } from '../fakes/fake-engine.ts';
import { startLlamaServer, tooLongError } from '../fakes/llama-server.ts';
import { type Cluster, type Layout, layouts } from '../harness/cluster.ts';
import { type ErrorBody, freshId, jsonOf, type RawAnswer, send } from '../harness/http.ts';
import { pause, until } from '../harness/until.ts';
import { type ClusterFixture, useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
const lateMs = 17_500;
const event = (text: string): string => `data: {"choices":[{"index":0,"delta":{"content":"${text}"}}]}\n\n`;
const done = 'data: [DONE]\n\n';
const longEvent = event('x'.repeat(2 * 1024 * 1024));

const respondLate =
  (bytes: string, split: number): Answer =>
  async ({ response }) => {
    response.writeHead(200, sseHeaders);
    if (split > 0) response.write(bytes.slice(0, split));
    else response.flushHeaders();
    await pause(lateMs);
    response.end(bytes.slice(split));
  };

const progress = (processed: number): string =>
  `data: {"choices":[],"prompt_progress":{"total":9,"cache":0,"processed":${processed},"time_ms":1}}\n\n`;

const ping = ': ping - 2026-07-01 12:00:00\r\n\r\n';
const pingedMs = 3_000;

/** Comments from the first moment on, as servers and proxies send them: for so long, then the rest of the answer. */
const pingFor =
  (ms: number, first: string, last: string): Answer =>
  async ({ response }) => {
    response.writeHead(200, sseHeaders);
    response.write(first);
    const endMs = performance.now() + ms;
    while (performance.now() < endMs && !response.destroyed) {
      response.write(ping);
      await pause(300);
    }
    response.end(last);
  };

/** What each request's engine does. */
const scenarios = {
  justInTime: async ({ response }) => {
    await pause(14_000);
    sendJson(response, 400, tooLongError(9000));
  },
  late: async ({ response }) => {
    await pause(lateMs);
    response.writeHead(200, sseHeaders);
    response.end(event('a') + event('b') + done);
  },
  lateRefusal: async ({ response }) => {
    await pause(lateMs);
    sendJson(response, 400, tooLongError(9000));
  },
  lateText: async ({ response }) => {
    await pause(lateMs);
    response.writeHead(500, { 'content-type': 'text/plain' });
    response.end('Internal Server Error');
  },
  lateHangUp: async ({ response }) => {
    await pause(lateMs);
    response.destroy();
  },
  lateUnstreamed: async ({ response }) => {
    await pause(lateMs);
    sendJson(response, 422, '{"detail":"late"}');
  },
  silentPrefill: respondLate(event('a') + done, 0),
  toldPrefill: respondLate(progress(0) + progress(4) + event('a') + done, progress(0).length),
  halfAnEvent: respondLate(event('first') + event('half') + done, event('first').length + 20),
  onlyPings: pingFor(lateMs, '', done),
  pingsBehindTokens: pingFor(lateMs, event('a') + event('b'), done),
  pingsBeforeTokens: pingFor(pingedMs, '', event('a') + done),
  halfALongEvent: respondLate(event('first') + longEvent + done, 1_500_000),
} satisfies Record<string, Answer>;
type Scenario = keyof typeof scenarios;

interface Decisions {
  readonly decisions: readonly { readonly ended?: { readonly record?: FinalRecord } }[];
}

const isComment = (text: string): boolean => text.startsWith(':');
const eventsOf = (answer: RawAnswer): string[] => answer.body.toString().split(/(?<=\n\n)/);
const withoutComments = (answer: RawAnswer): string =>
  eventsOf(answer)
    .filter((one) => !isComment(one))
    .join('');

/** Those whose engine's agent knows more of it than its address. */
const agentOf: Partial<Record<Scenario, 'telling' | 'pinging'>> = {
  toldPrefill: 'telling',
  onlyPings: 'pinging',
  pingsBehindTokens: 'pinging',
  pingsBeforeTokens: 'pinging',
};

/** The bound is 15 s, looked at twice a second. */
const expectCommitted = (answer: RawAnswer): void => {
  expect([answer.status, answer.isWhole]).toEqual([200, true]);
  expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
  expect(answer.headersMs).toBeGreaterThan(14_900);
  expect(answer.headersMs).toBeLessThan(lateMs - 500);
  expect(answer.pieces[0]?.atMs).toBeLessThan(lateMs - 500);
  expect(isComment(eventsOf(answer)[0] ?? '')).toBe(true);
};

/** The one event behind the comments. */
const lateError = (answer: RawAnswer): ErrorBody['error'] => {
  const last = withoutComments(answer);
  expect(last).toMatch(/^data: \{.*\}\n\n$/);
  return (JSON.parse(last.slice('data: '.length)) as ErrorBody).error;
};

const readWithSdk = async (cluster: Cluster, engine: FakeEngine): Promise<string> => {
  const id = freshId();
  engine.script(id, scenarios.late);
  const asked = { model: 'llama', messages: [], stream: true as const };
  const stream = await cluster.sdk().chat.completions.create(asked, { headers: { 'x-request-id': id } });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content;
  return text;
};

/** How long a key is still good after its revocation, and what is said then. */
const readRevocation = async (cluster: Cluster): Promise<{ afterMs: number; refused: RawAnswer }> => {
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
  return { afterMs: performance.now() - startedMs, refused };
};

let engine: FakeEngine;
/** Its agent knows that it tells of its prefill. */
let telling: FakeEngine;
/** Its agent waits for its tokens for a few seconds only. */
let pinging: FakeEngine;
beforeAll(async () => {
  engine = await startLlamaServer({ models: ['llama'] });
  telling = await startLlamaServer({ models: ['telling'] });
  pinging = await startLlamaServer({ models: ['pinging'] });
});
afterAll(() => Promise.all([engine.stop(), telling.stop(), pinging.stop()]));

/** All requests of one layout. */
class Run {
  readonly layout: Layout;
  readonly #fixture: ClusterFixture;
  readonly #answers = new Map<Scenario, Promise<RawAnswer>>();
  sdkText: Promise<string> = Promise.resolve('not begun');
  revocation: Promise<{ afterMs: number; refused: RawAnswer }> = Promise.reject(new Error('not begun'));

  constructor(layout: Layout) {
    this.layout = layout;
    this.#fixture = useCluster(() => {
      const config = `[[engine]]\nprofile = "llama-cpp"\nurl = "${telling.url}"\n`;
      const impatient =
        `[[engine]]\nprofile = "openai"\nurl = "${pinging.url}"\n` +
        'first_token_timeout = "5s"\ninter_token_timeout = "2s"\n';
      const agents = [
        { name: 'gpu', engines: [engine.url] },
        { name: 'telling', engines: [], config },
        { name: 'pinging', engines: [], config: impatient },
      ];
      return { layout, agents };
    });
    this.revocation.catch(() => {});
  }

  get cluster(): Cluster {
    return this.#fixture.cluster;
  }

  begin(): void {
    const { cluster } = this.#fixture;
    for (const [name, answer] of Object.entries(scenarios)) {
      const id = freshId();
      const model = agentOf[name as Scenario] ?? 'llama';
      ({ llama: engine, telling, pinging })[model].script(id, answer);
      const body = JSON.stringify({ model, messages: [], stream: name !== 'lateUnstreamed' });
      const headers = { authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id };
      this.#answers.set(name as Scenario, send(cluster.url + chatPath, { body, headers }));
    }
    this.sdkText = readWithSdk(cluster, engine);
    this.revocation = readRevocation(cluster);
    // Each is awaited by its own test; until then a failure is nobody's.
    for (const pending of [...this.#answers.values(), this.sdkText, this.revocation]) pending.catch(() => {});
  }

  async answer(name: Scenario): Promise<RawAnswer> {
    const answer = await this.#answers.get(name);
    if (answer === undefined) throw new Error(`${name} is not under way`);
    return answer;
  }
}

const runs = layouts.map((layout) => new Run(layout));
let haveBegun = false;

describe.each(runs)('silent engines, layout $layout', (run) => {
  beforeEach(() => {
    if (!haveBegun) for (const each of runs) each.begin();
    haveBegun = true;
  });
  const answerOf = (name: Scenario): Promise<RawAnswer> => run.answer(name);

  test('headers after 14 s are the engine’s own', async () => {
    const { status, body } = await answerOf('justInTime');
    expect([status, body.toString()]).toEqual([400, tooLongError(9000)]);
  });

  test('later headers: a comment first, then the engine’s bytes', async () => {
    const answer = await answerOf('late');
    expectCommitted(answer);
    expect(withoutComments(answer)).toBe(event('a') + event('b') + done);
    expect(answer.headers['x-cognitora-region']).toBe('weur');
  });

  test('the SDK reads such a stream as any other', async () => {
    expect(await run.sdkText).toBe('ab');
  });

  test.each([
    ['lateRefusal', /exceeds the available context size/],
    ['lateText', /500/],
  ] as const)(
    'a refusal after the commitment (%s) is an error event, and no [DONE]',
    async (name, message) => {
      const answer = await answerOf(name);
      expectCommitted(answer);
      expect(lateError(answer)).toMatchObject({
        code: 'engine_refused',
        message: expect.stringMatching(message),
      });
    },
  );

  test('an engine that hangs up after the commitment: an error event, and no [DONE]', async () => {
    const answer = await answerOf('lateHangUp');
    expectCommitted(answer);
    expect(lateError(answer).code).toBe('engine_broke_off');
  });

  test('an answer that is no stream waits without a commitment', async () => {
    const { status, body, headersMs } = await answerOf('lateUnstreamed');
    expect([status, body.toString()]).toEqual([422, '{"detail":"late"}']);
    expect(headersMs).toBeGreaterThan(lateMs - 100);
  });

  test('comments while a prefill is silent behind early headers', async () => {
    const answer = await answerOf('silentPrefill');
    expect(answer.headersMs).toBeLessThan(5_000);
    expect(eventsOf(answer).filter(isComment)).not.toEqual([]);
    expect(withoutComments(answer)).toBe(event('a') + done);
  });

  test('a prefill that its engine tells of: held, committed and commented as if it were silent', async () => {
    const answer = await answerOf('toldPrefill');
    expectCommitted(answer);
    expect(withoutComments(answer)).toBe(event('a') + done);
  });

  test.each([
    ['onlyPings', '', 'first_token_timeout'],
    ['pingsBehindTokens', event('a') + event('b'), 'inter_token_timeout'],
  ] as const)('an engine’s pings are no tokens: %s', async (name, before, code) => {
    const answer = await answerOf(name);
    const said = withoutComments({
      ...answer,
      body: Buffer.from(answer.body.toString().replaceAll(ping, '')),
    });
    expect(answer.body.toString()).toContain(ping);
    expect(said.slice(0, before.length)).toBe(before);
    expect(said.slice(before.length)).toMatch(new RegExp(`^data: .*"code":"${code}".*\\n\\n$`));
  });

  test('the first token is that of the answer, not a ping before it', async () => {
    const answer = await answerOf('pingsBeforeTokens');
    expect(answer.body.toString().replaceAll(ping, '')).toBe(event('a') + done);
    const path = `/admin/requests/${answer.headers['x-request-id']}`;
    const record = await until('its record', async () => {
      const { decisions } = await run.cluster.admin<Decisions>('GET', path);
      return decisions[0]?.ended?.record;
    });
    expect(record.firstByteMs).toBeGreaterThanOrEqual(pingedMs);
  });

  test('no comment inside an event, however long its halves are apart', async () => {
    const half = await answerOf('halfAnEvent');
    expect(withoutComments(half)).toBe(event('first') + event('half') + done);
    const long = await answerOf('halfALongEvent');
    expect(withoutComments(long) === event('first') + longEvent + done).toBe(true);
  });

  test('a revoked key works for at most 10 s more', async () => {
    const { afterMs, refused } = await run.revocation;
    expect(afterMs).toBeLessThan(11_000);
    expect([refused.status, jsonOf<ErrorBody>(refused).error.code]).toEqual([401, 'invalid_key']);
  });
});
