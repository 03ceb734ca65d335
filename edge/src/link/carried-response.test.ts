import { utf8 } from '@cognitora/protocol/bytes';
import {
  ackBusyMsMax,
  ackMsMax,
  clientStallMsMax,
  headersHoldMsMax,
  keepAliveMs,
} from '@cognitora/protocol/limits';
import type { HeaderList } from '@cognitora/protocol/link';
import { keepAliveComment } from '@cognitora/protocol/sse';
import { text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { carry, isSettled, jsonHead, readAll, sseHead } from '../../testing/carried.ts';
import { framedHeader } from '../continuity/wire.ts';

const record = (bodyBytes = 0) => ({ bodyBytes, totalMs: 1 });
const comment = text(keepAliveComment);

/** The code of the failure that ends a body. */
const terminalCode = (body: string): string | undefined => / !(\w+) [^!]*$/.exec(body)?.[1];

test('a response that comes in one message is one complete body', async () => {
  const { carried, told, consumed } = carry();
  carried.acknowledged();
  carried.head(jsonHead());
  carried.data(utf8('{"a":'));
  carried.data(utf8('1}'));
  carried.end(record(7));
  carried.settled();
  const response = await carried.response;
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(response.headers.get('x-request-id')).toBe('req-1');
  expect(consumed()).toBe(7);
  expect(await response.text()).toBe('{"a":1}');
  expect(told).toEqual(['over 7', 'done']);
});

test('our headers go before the engine’s, and one that HTTP does not allow costs only itself', async () => {
  const { carried } = carry();
  const odd = [
    ['x-request-id', 'engine'],
    ['x-odd', '…'],
    ['bad name', 'x'],
    ['x-two', 'a'],
    ['x-two', 'b'],
  ] as const;
  carried.head({ status: 200, headers: odd });
  carried.end(record());
  carried.settled();
  const { headers } = await carried.response;
  expect(headers.get('x-request-id')).toBe('req-1');
  expect(headers.get('x-two')).toBe('a, b');
});

test('a media type in another case is an event stream too, and ends with an error event', async () => {
  const { carried } = carry();
  carried.head({ status: 200, headers: [['content-type', 'Text/Event-Stream; charset=UTF-8']] });
  carried.data(utf8('data: 1\n\n'));
  carried.settled();
  const response = await carried.response;
  const all = readAll(response.body);
  carried.fail({ code: 'link_lost', message: 'Lost.', record: record() });
  carried.settled();
  expect(response.headers.get('content-type')).toBe('Text/Event-Stream; charset=UTF-8');
  expect(terminalCode(await all)).toBe('link_lost');
});

test('head first, then data as it comes', async () => {
  const { carried, told, consumed, sweepAt } = carry();
  carried.acknowledged();
  carried.settled();
  expect(await isSettled(carried.response)).toBe(false);
  carried.head(sseHead());
  carried.settled();
  const { body } = await carried.response;
  const all = readAll(body);
  carried.data(utf8('data: 1\n\n'));
  carried.settled();
  expect(await isSettled(all)).toBe(false);
  sweepAt(1);
  expect(consumed()).toBe(9);
  carried.data(utf8('data: [DONE]\n\n'));
  carried.end(record());
  carried.settled();
  expect(await all).toBe('data: 1\n\ndata: [DONE]\n\n');
  expect(consumed()).toBe(23);
  expect(told).toEqual(['over 0', 'done']);
});

test('a failure before the head is an error of the table, with Retry-After where it is 503', async () => {
  const { carried, told } = carry();
  carried.acknowledged();
  carried.fail({ code: 'replica_gone', message: 'Gone.', record: record() });
  carried.settled();
  const response = await carried.response;
  expect(response.status).toBe(503);
  expect(response.headers.get('retry-after')).toBe('1');
  expect(response.headers.get('x-cognitora-code')).toBe('replica_gone');
  expect(response.headers.get('x-request-id')).toBe('req-1');
  expect(await response.json()).toEqual({
    error: { message: 'Gone.', type: 'server_error', param: null, code: 'replica_gone' },
  });
  expect(told).toEqual(['over 0', 'done']);
});

test('a failure that comes with the head and without bytes is an error of the table too', async () => {
  const { carried } = carry();
  carried.head(sseHead());
  carried.fail({ code: 'engine_broke_off', message: 'x' });
  carried.settled();
  expect((await carried.response).status).toBe(502);
});

test('an end without a head is an error, not a hang', async () => {
  const { carried, told, consumed } = carry();
  carried.acknowledged();
  carried.data(utf8('x'));
  carried.end(record());
  carried.settled();
  const response = await carried.response;
  expect(response.headers.get('x-cognitora-code')).toBe('protocol_error');
  expect(consumed()).toBe(1);
  expect(told).toEqual(['over 0', 'done']);
});

test.each([
  ['at an event boundary', 'data: 1\n\n'],
  ['inside an event', 'data: 1\n\ndata: {"to'],
])('of a failure of an SSE stream %s the Worker hears behind the bytes that came', async (_, said) => {
  for (const early of [true, false]) {
    const { carried, told, consumed } = carry();
    carried.head(sseHead());
    carried.data(utf8(said));
    if (!early) carried.settled();
    carried.fail({ code: 'engine_broke_off', message: 'It broke.' });
    carried.settled();
    const response = await carried.response;
    expect(response.status).toBe(200);
    expect(await readAll(response.body)).toBe(`${said} !engine_broke_off It broke.`);
    expect(consumed()).toBe(said.length);
    expect(told).toEqual(['over', 'done']);
  }
});

test('a JSON body that fails in the message it came with is an error, and nothing of it is shown', async () => {
  const { carried, consumed } = carry({ isStream: false });
  carried.head(jsonHead());
  carried.data(utf8('{"half":'));
  carried.fail({ code: 'engine_broke_off', message: 'The engine broke off.' });
  carried.settled();
  const response = await carried.response;
  expect(response.status).toBe(502);
  expect(await response.text()).toContain('engine_broke_off');
  expect(consumed()).toBe(8);
});

test('of a failure of a JSON body that has begun to go out the Worker hears', async () => {
  const { carried, consumed } = carry({ isStream: false });
  carried.head(jsonHead());
  carried.data(utf8('{"half":'));
  carried.settled();
  carried.fail({ code: 'link_lost', message: 'The link was lost.' });
  carried.settled();
  expect(await readAll((await carried.response).body)).toBe('{"half": !link_lost The link was lost.');
  expect(consumed()).toBe(8);
});

test.each([204, 205, 304])('a status %i has no body, however its frames come', async (status) => {
  const { carried, told } = carry();
  carried.head({ status, headers: [] });
  carried.settled();
  carried.data(utf8('stray'));
  carried.settled();
  carried.end(record());
  carried.settled();
  const response = await carried.response;
  expect(response.status).toBe(status);
  expect(response.body).toBeNull();
  expect(told).toEqual(['over 0', 'done']);
});

test('an agent that says nothing for ackMsMax is given up; one that said ACK is not', async () => {
  const silent = carry();
  silent.sweepAt(ackMsMax - 1);
  expect(silent.told).toEqual([]);
  silent.sweepAt(ackMsMax);
  expect(silent.told).toEqual(['cancel ack_timeout', 'over', 'done']);
  const response = await silent.carried.response;
  expect(response.status).toBe(504);
  expect(await response.json()).toMatchObject({ error: { code: 'ack_timeout' } });
  const alive = carry();
  alive.carried.acknowledged();
  alive.sweepAt(ackMsMax);
  expect(alive.told).toEqual([]);
});

test.each([1_000, ackBusyMsMax])('a replica may have %i ms of its own until its ACK', async (own) => {
  const { sweepAt, carried } = carry({ ackMsMax: own });
  sweepAt(own - 1);
  expect(await isSettled(carried.response)).toBe(false);
  sweepAt(own);
  expect((await carried.response).headers.get('x-cognitora-code')).toBe('ack_timeout');
});

test('the total time ends a request before and after its head', async () => {
  const before = carry({ remainingMs: 60_000, isStream: false });
  before.carried.acknowledged();
  before.sweepAt(59_999);
  expect(before.told).toEqual([]);
  before.sweepAt(60_000);
  expect((await before.carried.response).status).toBe(504);
  const after = carry({ remainingMs: 60_000 });
  after.carried.head(sseHead());
  after.carried.settled();
  after.sweepAt(60_000);
  expect(after.told).toEqual(['cancel total_timeout', 'over', 'done']);
  expect(terminalCode(await readAll((await after.carried.response).body))).toBe('total_timeout');
  expect(after.told.at(-1)).toBe('done');
});

/** A stream whose headers were committed because the engine kept silent. */
const committed = async () => {
  const parts = carry();
  parts.carried.acknowledged();
  parts.sweepAt(headersHoldMsMax - 1);
  expect(await isSettled(parts.carried.response)).toBe(false);
  parts.sweepAt(headersHoldMsMax);
  const response = await parts.carried.response;
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
  return { ...parts, body: readAll(response.body), response };
};

test('after headersHoldMsMax a stream gets 200 and a comment; then the engine answers 200', async () => {
  const { carried, body, told } = await committed();
  carried.head(sseHead());
  carried.data(utf8('data: 1\n\n'));
  carried.settled();
  carried.end(record());
  carried.settled();
  expect(await body).toBe(`${comment}data: 1\n\n`);
  expect(told).toEqual(['over 0', 'done']);
});

test('after 200 was committed an engine’s 400 becomes an error event with its own words', async () => {
  const { carried, body, consumed, told } = await committed();
  carried.head(jsonHead(400));
  carried.settled();
  carried.data(utf8('{"error":{"message":"Too many '));
  carried.settled();
  carried.data(utf8('tokens."}}'));
  carried.end(record());
  carried.settled();
  const all = await body;
  expect(terminalCode(all)).toBe('engine_refused');
  expect(all).toContain('Too many tokens.');
  expect(consumed()).toBe(40);
  expect(told).toEqual(['over 0', 'done']);
});

test('after 200 was committed an engine’s error that is no JSON tells its status', async () => {
  const { carried, body } = await committed();
  carried.head({ status: 500, headers: [] });
  carried.data(utf8('<html>'));
  carried.end(record());
  carried.settled();
  expect(await body).toContain('The engine answered 500.');
});

test('after 200 was committed a failure is an error event', async () => {
  const { carried, body } = await committed();
  carried.fail({ code: 'first_token_timeout', message: 'x' });
  carried.settled();
  expect(terminalCode(await body)).toBe('first_token_timeout');
});

test.each(['leaves', 'is cut off by the link'])(
  'a client that %s while a late error comes in gives its credit back',
  async (how) => {
    const { carried, told, consumed, sweepAt } = carry();
    carried.acknowledged();
    sweepAt(headersHoldMsMax);
    const { body } = await carried.response;
    carried.head(jsonHead(400));
    carried.data(utf8('{"error":'));
    carried.settled();
    expect(consumed()).toBe(0);
    if (how === 'leaves') await body?.cancel();
    else carried.fail({ code: 'link_lost', message: 'x' });
    carried.settled();
    expect(consumed()).toBe(9);
    if (how !== 'leaves') await readAll(body);
    expect(new Set(told)).toEqual(
      new Set(how === 'leaves' ? ['done', 'cancel client_gone', 'over'] : ['over', 'done']),
    );
  },
);

test('headers of a request that does not stream are not committed', async () => {
  const { carried, sweepAt } = carry({ isStream: false });
  carried.acknowledged();
  sweepAt(headersHoldMsMax * 2);
  expect(await isSettled(carried.response)).toBe(false);
});

test('the first byte of an answer is one of an event: comments and blank lines before it are not', async () => {
  const firstMs: number[] = [];
  const { carried, time } = carry({ onFirstByte: () => firstMs.push(time.nowMs) });
  const openedMs = time.nowMs;
  carried.head(sseHead());
  for (const said of [': pi', 'ng\n', '\n', ':\r\n\r\n']) {
    time.nowMs += 1_000;
    carried.data(utf8(said));
  }
  expect(firstMs).toEqual([]);
  time.nowMs += 1_000;
  carried.data(utf8(': ping\n\ndata: 1\n\n'));
  carried.data(utf8('data: 2\n\n'));
  expect(firstMs).toEqual([openedMs + 5_000]);
  carried.end(record());
  carried.settled();
  const response = await carried.response;
  expect(await response.text()).toBe(': ping\n\n:\r\n\r\n: ping\n\ndata: 1\n\ndata: 2\n\n');
});

test('nor is the role of who speaks: some engines say it as soon as a request comes', () => {
  const firstMs: number[] = [];
  const { carried, time } = carry({ onFirstByte: () => firstMs.push(time.nowMs) });
  carried.head(sseHead());
  carried.data(utf8('data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'));
  expect(firstMs).toEqual([]);
  time.nowMs += 5_000;
  carried.data(utf8('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'));
  expect(firstMs).toEqual([time.nowMs]);
});

test('a silent SSE stream gets comments, at event boundaries only', async () => {
  const { carried, sweepAt } = carry();
  carried.head(sseHead());
  carried.data(utf8('data: 1\n\n'));
  carried.settled();
  const body = readAll((await carried.response).body);
  await isSettled(body);
  sweepAt(keepAliveMs - 1);
  sweepAt(keepAliveMs);
  sweepAt(keepAliveMs + 1);
  carried.data(utf8('data: tor'));
  carried.settled();
  await isSettled(body);
  sweepAt(keepAliveMs * 3);
  carried.data(utf8('n\n\n'));
  carried.end(record());
  carried.settled();
  sweepAt(keepAliveMs * 5);
  expect(await body).toBe(`data: 1\n\n${comment}data: torn\n\n`);
});

test('a silent body that is no SSE gets no comments', async () => {
  const { carried, sweepAt } = carry();
  carried.head(jsonHead());
  carried.settled();
  const body = readAll((await carried.response).body);
  await isSettled(body);
  sweepAt(keepAliveMs * 3);
  carried.data(utf8('{}'));
  carried.end(record());
  carried.settled();
  expect(await body).toBe('{}');
});

test.each([
  ['gzip', ''],
  ['identity', comment],
])('a silent SSE stream that is encoded by %s gets as comments: %j', async (encoding, comments) => {
  const { carried, sweepAt } = carry();
  carried.head(sseHead(200, [['content-encoding', encoding]]));
  // As compressed bytes may end, too.
  carried.data(utf8('packed\n\n'));
  carried.settled();
  const body = readAll((await carried.response).body);
  await isSettled(body);
  sweepAt(keepAliveMs);
  carried.end(record());
  carried.settled();
  expect(await body).toBe(`packed\n\n${comments}`);
});

test('a client that leaves cancels the request once and gives back what waits', async () => {
  const { carried, told, consumed } = carry();
  carried.head(sseHead());
  carried.data(utf8('data: 1\n\n'));
  carried.settled();
  const { body } = await carried.response;
  await body?.cancel();
  carried.abandon();
  carried.sweep(Number.MAX_SAFE_INTEGER);
  carried.settled();
  expect(told).toEqual(['done', 'cancel client_gone', 'over']);
  expect(consumed()).toBe(9);
});

test('a client that leaves before it has a response cancels the request once', async () => {
  const { carried, told } = carry();
  carried.acknowledged();
  carried.abandon();
  carried.abandon();
  carried.sweep(Number.MAX_SAFE_INTEGER);
  expect(told).toEqual(['cancel client_gone', 'over', 'done']);
  expect((await carried.response).status).toBe(499);
});

test.each([sseHead(), jsonHead()])(
  'a client that stops reading is cut off and its credit comes back',
  async (head) => {
    const { carried, told, consumed, sweepAt } = carry();
    carried.head(head);
    carried.data(utf8('data: 1\n\n'));
    carried.settled();
    const { body } = await carried.response;
    sweepAt(clientStallMsMax - 1);
    expect(told).toEqual([]);
    sweepAt(clientStallMsMax);
    expect(told).toEqual(['cancel client_stalled', 'over', 'done']);
    expect(consumed()).toBe(9);
    expect(await readAll(body)).toBe('data: 1\n\n !client_stalled The client stopped reading.');
  },
);

test('a client that stops reading after the engine’s end is cut off too', async () => {
  const { carried, told, consumed, sweepAt } = carry();
  const long = utf8(`data: ${'x'.repeat(8000)}\n\n`);
  carried.head(sseHead());
  carried.settled();
  carried.data(long);
  carried.end(record());
  carried.settled();
  expect(told).toEqual(['over 0']);
  sweepAt(clientStallMsMax);
  expect(told).toEqual(['over 0', 'done']);
  expect(consumed()).toBe(long.length);
  expect(await readAll((await carried.response).body)).toContain('!');
});

test('a slow client that reads now and then is not cut off', async () => {
  const { carried, told, sweepAt, time } = carry();
  carried.head(sseHead());
  carried.data(utf8('data: 1\n\n'));
  carried.settled();
  const reader = (await carried.response).body?.getReader();
  for (let round = 1; round < 5; round += 1) {
    sweepAt((clientStallMsMax - 1) * round);
    await reader?.read();
    carried.data(utf8('data: 1\n\n'));
    carried.settled();
  }
  expect(time.nowMs).toBeGreaterThan(clientStallMsMax * 3);
  expect(told).toEqual([]);
});

test('an engine cannot say what is the edge’s to say', async () => {
  const { carried } = carry();
  const forged: HeaderList = [
    ['x-cognitora-code', 'no_capacity'],
    ['X-Cognitora-Extra', '1'],
    ['x-engine', 'yes'],
  ];
  carried.head(sseHead(200, forged));
  carried.settled();
  const { headers } = await carried.response;
  expect([...headers.keys()]).toEqual(['content-type', framedHeader, 'x-engine', 'x-request-id']);
});

test.each([
  [200, 'worked'],
  [404, undefined],
  [429, undefined],
  [500, 'failed'],
  [501, undefined],
  [503, 'failed'],
] as const)('an answer of %s that ends says of its replica: %s', (status, verdict) => {
  const ends: unknown[] = [];
  const { carried } = carry({ onOver: ({ verdict: said }) => ends.push(said) });
  carried.head(jsonHead(status));
  carried.end(record());
  carried.settled();
  expect(ends).toEqual([verdict]);
});

test('the replica is blamed for its engine, for silence and for no answer; never for a link or a client', () => {
  const verdictOf = (run: (world: ReturnType<typeof carry>) => void): unknown => {
    const ends: unknown[] = [];
    run(carry({ onOver: ({ verdict: said }) => ends.push(said) }));
    return ends.length === 1 ? ends[0] : ends;
  };
  const failing = (code: Parameters<ReturnType<typeof carry>['carried']['fail']>[0]['code']) =>
    verdictOf(({ carried }) => carried.fail({ code, message: 'x' }));
  const blamed = ['engine_unreachable', 'engine_broke_off', 'first_token_timeout', 'replica_gone'] as const;
  expect(blamed.map(failing)).toEqual(blamed.map(() => 'failed'));
  expect((['link_lost', 'client_gone', 'total_timeout'] as const).map(failing)).toEqual(Array(3));
  expect(verdictOf(({ sweepAt }) => sweepAt(ackMsMax))).toBe('failed');
  expect(verdictOf(({ carried }) => carried.end(record()))).toBe('failed');
  expect(verdictOf(({ carried }) => carried.abandon())).toBeUndefined();
});

test.each([
  [200, undefined],
  [302, undefined],
  [400, 400],
  [503, 503],
])('an end behind a head of %i tells the status of an engine that answered an error: %s', (status, told) => {
  const ends: unknown[] = [];
  const { carried } = carry({ onOver: ({ engineStatus }) => ends.push(engineStatus) });
  carried.head(jsonHead(status));
  carried.end(record());
  carried.settled();
  expect(ends).toEqual([told]);
});

test('an end tells why it came too early, and only then', () => {
  const codeOf = (run: (world: ReturnType<typeof carry>) => void): unknown => {
    const ends: unknown[] = [];
    run(carry({ remainingMs: 100, onOver: ({ code }) => ends.push(code) }));
    return ends.length === 1 ? ends[0] : ends;
  };
  const answered = ({ carried }: ReturnType<typeof carry>): void => {
    carried.head(sseHead());
    carried.end(record());
  };
  expect(codeOf(answered)).toBeUndefined();
  expect(codeOf(({ carried }) => carried.end(record()))).toBe('protocol_error');
  expect(codeOf(({ carried }) => carried.fail({ code: 'link_lost', message: 'x' }))).toBe('link_lost');
  expect(codeOf(({ sweepAt }) => sweepAt(100))).toBe('total_timeout');
  expect(codeOf(({ carried }) => carried.abandon())).toBe('client_gone');
});

test('on a link that says other things the word on a request may be late', async () => {
  const { carried, time } = carry();
  const openedMs = time.nowMs;
  const sweepAt = (ageMs: number, heardMs: number): void =>
    carried.sweep(openedMs + ageMs, undefined, heardMs);
  sweepAt(ackMsMax, openedMs + 1);
  sweepAt(ackBusyMsMax - 1, openedMs + ackBusyMsMax - ackMsMax);
  expect(await isSettled(carried.response)).toBe(false);
  sweepAt(ackBusyMsMax, openedMs + ackBusyMsMax);
  expect((await carried.response).headers.get('x-cognitora-code')).toBe('ack_timeout');
});
