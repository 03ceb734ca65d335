import { utf8 } from '@cognitora/protocol/bytes';
import {
  endedKeptMsMax,
  linklessMsMax,
  replayHostBytesMax,
  replayStreamBytesMax,
  streamsPerLinkMax,
  unclaimedMsMax,
} from '@cognitora/protocol/limits';
import type { ResumeToken } from '@cognitora/protocol/link';
import { errorOf, text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { openOf } from '../../testing/scripted-edge.ts';
import { KeptStreams } from './kept-streams.ts';
import type { LinkReply, StreamReply } from './session.ts';

const record = { bodyBytes: 5, totalMs: 1 };
const head = { status: 200, headers: [] };
const tokenOf = (index: number): ResumeToken => String(index).padStart(32, '0') as ResumeToken;

/** A place on a link that writes down what is said there, and has room unless a test says otherwise. */
const place = (name: string, said: string[]) => {
  const state = { hasRoom: true, queuedBytes: 0 };
  const reply: LinkReply = {
    head: ({ status }) => said.push(`${name} head ${status}`),
    data: (bytes) => {
      said.push(`${name} data ${bytes.length > 20 ? bytes.length : text(bytes)}`);
      return state.hasRoom;
    },
    end: () => said.push(`${name} end`),
    fail: ({ code }) => said.push(`${name} fail ${code}`),
    consumed: (bytes) => said.push(`${name} consumed ${bytes}`),
    moved: () => said.push(`${name} moved`),
    get queuedBytes() {
      return state.queuedBytes;
    },
  };
  return { reply, state };
};

const keeping = () => {
  const time = { nowMs: 1000 };
  /** What is said on links, and what engines are told. */
  const said: string[] = [];
  const told: string[] = [];
  const engines: StreamReply[] = [];
  const kept = new KeptStreams({
    serve: (_, reply) => {
      const engine = engines.push(reply);
      return {
        body: (bytes, last) => told.push(`${engine} body ${text(bytes)}${last ? ' last' : ''}`),
        cancel: (reason) => told.push(`${engine} cancel ${reason}`),
        drained: () => told.push(`${engine} drained`),
      };
    },
    clock: { wallMs: () => 0, monotonicMs: () => time.nowMs },
  });
  /** A request with its whole body, over a link of that name. */
  const open = (name: string, token: ResumeToken | undefined, isWhole = true) => {
    const { reply, state } = place(name, said);
    const stream = kept.serve(openOf(5, token === undefined ? {} : { resume: token }), reply);
    stream.body(utf8('hello'), isWhole);
    return { stream, state, engine: engines.at(-1) as StreamReply };
  };
  /** Claims it over another link; false where it is gone. */
  const claim = (name: string, token: ResumeToken, offset: number) => {
    const { reply, state } = place(name, said);
    const stream = kept.resume({ token, offset });
    stream?.attach(reply, offset);
    return { stream, state };
  };
  const after = (ms: number): void => {
    time.nowMs += ms;
    kept.sweep(time.nowMs);
  };
  return { kept, open, claim, after, said, told, time };
};

test('a stream that is claimed goes on with its head and what was missed, and then with what comes', () => {
  const { kept, open, claim, said, told } = keeping();
  const { stream, engine } = open('a', tokenOf(1));
  engine.head(head);
  engine.data(utf8('one two'));
  stream.unlinked();
  engine.data(utf8(' three'));
  expect(kept.status).toEqual({ bytes: expect.any(Number), detached: 1, resumed: 0, unclaimed: 0 });
  expect(kept.status.bytes).toBeGreaterThan(0);
  said.length = 0;
  claim('b', tokenOf(1), 4);
  engine.data(utf8(' four'));
  engine.end(record);
  expect(said).toEqual(['b head 200', 'b data two three', 'b data  four', 'b end']);
  expect(told).toEqual(['1 body hello last']);
  expect(kept.status).toEqual({ bytes: expect.any(Number), detached: 0, resumed: 1, unclaimed: 0 });
});

test('a stream whose answer has not begun is claimed, too, from its beginning', () => {
  const { open, claim, said } = keeping();
  const { stream, engine } = open('a', tokenOf(1));
  stream.unlinked();
  claim('b', tokenOf(1), 0);
  engine.head(head);
  expect(said).toEqual(['b head 200']);
});

test.each([
  ['without a token', undefined, true],
  ['whose body is not whole', tokenOf(1), false],
])('a stream %s ends with its link', (_, token, isWhole) => {
  const { kept, open, claim, told } = keeping();
  open('a', token, isWhole).stream.unlinked();
  expect(told.at(-1)).toBe('1 cancel client_gone');
  expect([claim('b', tokenOf(1), 0).stream, kept.status.detached]).toEqual([undefined, 0]);
});

test('what is claimed too far back is gone, and what is left of it is cancelled', () => {
  const { open, claim, told, said } = keeping();
  const { stream, engine } = open('a', tokenOf(1));
  for (let at = 0; at < replayStreamBytesMax + 1; at += 65_536) engine.data(new Uint8Array(65_536));
  said.length = 0;
  stream.unlinked();
  expect(claim('b', tokenOf(1), 65_535).stream).toBeUndefined();
  expect([told.at(-1), said]).toEqual(['1 cancel client_gone', []]);
  expect(claim('b', tokenOf(1), 65_536).stream).toBeUndefined();
});

test('all streams of a host keep so much together: one more takes of those that keep most', () => {
  const { open, claim } = keeping();
  const fitting = replayHostBytesMax / replayStreamBytesMax;
  const answer = new Uint8Array(replayStreamBytesMax);
  for (let index = 1; index <= fitting; index += 1) open('a', tokenOf(index)).engine.data(answer);
  open('a', tokenOf(fitting + 1)).engine.data(utf8('hello'));
  const claimed = [1, 2, fitting, fitting + 1].map((index) => claim('b', tokenOf(index), 0).stream);
  expect(claimed.map((stream) => stream !== undefined)).toEqual([false, true, true, true]);
});

test('what nobody can have read ends the link that claims it, and a token that is in use the one that opens', () => {
  const { open, claim } = keeping();
  const { engine } = open('a', tokenOf(1));
  engine.data(utf8('hello'));
  expect(errorOf(() => claim('b', tokenOf(1), 6))?.code).toBe('protocol_error');
  expect(errorOf(() => open('a', tokenOf(1)))?.code).toBe('protocol_error');
  claim('b', tokenOf(1), 5);
});

test('a claim moves the stream off a link that still lives, and its body gives no credit to the new one', () => {
  const { open, claim, said } = keeping();
  const { engine } = open('a', tokenOf(1));
  engine.consumed(2);
  claim('b', tokenOf(1), 0);
  engine.consumed(3);
  engine.data(utf8('x'));
  expect(said).toEqual(['a consumed 2', 'a moved', 'b data x']);
});

test('an answer that ended is kept with its end, and may be claimed again and again', () => {
  const { open, claim, said, after } = keeping();
  const { engine } = open('a', tokenOf(1));
  engine.head(head);
  engine.data(utf8('hello'));
  engine.fail({ code: 'engine_broke_off', message: 'x', record });
  said.length = 0;
  after(endedKeptMsMax - 1);
  claim('b', tokenOf(1), 3);
  claim('c', tokenOf(1), 5);
  const again = ['head 200', 'data lo', 'fail engine_broke_off'].map((what) => `b ${what}`);
  expect(said).toEqual(['a moved', ...again, 'b moved', 'c head 200', 'c fail engine_broke_off']);
  after(endedKeptMsMax - 1);
  expect(claim('d', tokenOf(1), 5).stream).toBeDefined();
  after(endedKeptMsMax);
  expect(claim('e', tokenOf(1), 5).stream).toBeUndefined();
});

test('an answer that a slow link still sends is not forgotten', () => {
  const { open, claim, after } = keeping();
  const { engine, state } = open('a', tokenOf(1));
  state.queuedBytes = 1;
  engine.end(record);
  for (let turn = 0; turn < 5; turn += 1) after(endedKeptMsMax - 1);
  state.queuedBytes = 0;
  after(endedKeptMsMax - 1);
  expect(claim('b', tokenOf(1), 0).stream).toBeDefined();
});

test('without a link what nobody can claim soon enough is cancelled', () => {
  const { kept, open, after, told } = keeping();
  kept.linked();
  open('a', tokenOf(1)).stream.unlinked();
  kept.unlinked();
  after(linklessMsMax - 1);
  expect(told).toHaveLength(1);
  after(1);
  expect(told.at(-1)).toBe('1 cancel client_gone');
  expect(kept.status).toEqual({ bytes: 0, detached: 0, resumed: 0, unclaimed: 1 });
});

test('what nobody claims on a new link is cancelled, and what is claimed is not', () => {
  const { kept, open, claim, after, told } = keeping();
  for (const token of [1, 2]) open('a', tokenOf(token)).stream.unlinked();
  kept.unlinked();
  after(4000);
  kept.linked();
  after(unclaimedMsMax - 1);
  claim('b', tokenOf(2), 0);
  expect(told).toHaveLength(2);
  after(1);
  expect(told.slice(2)).toEqual(['1 cancel client_gone']);
  after(100_000);
  expect(told).toHaveLength(3);
});

test('a link in the last moment has a second to claim, and not as long as an early one', () => {
  const { kept, open, after, told } = keeping();
  open('a', tokenOf(1)).stream.unlinked();
  after(linklessMsMax - 1);
  kept.linked();
  after(1000);
  expect(told).toHaveLength(1);
  after(1);
  expect(told.at(-1)).toBe('1 cancel client_gone');
});

test('without a link an engine is read until half of what may be kept is unsent, and then once it is claimed', () => {
  const { open, claim, told } = keeping();
  const { stream, engine, state } = open('a', tokenOf(1));
  engine.data(new Uint8Array(100_000));
  state.queuedBytes = 50_000;
  stream.unlinked();
  let kept = 50_000;
  for (; engine.data(new Uint8Array(1000)); kept += 1000) {}
  expect(kept).toBe(Math.floor(replayStreamBytesMax / 2 / 1000) * 1000);
  expect(told).toHaveLength(1);
  claim('b', tokenOf(1), 60_000);
  expect(told.at(-1)).toBe('1 drained');
});

test('a claimed stream that has no room to send what was missed is read on once it has', () => {
  const { kept, open, told, said } = keeping();
  const { stream, engine, state } = open('a', tokenOf(1));
  state.hasRoom = false;
  engine.data(utf8('much'));
  stream.unlinked();
  expect(told.at(-1)).toBe('1 drained');
  while (engine.data(new Uint8Array(10_000))) {}
  told.length = 0;
  const next = place('b', said);
  next.state.hasRoom = false;
  const claimed = kept.resume({ token: tokenOf(1), offset: 4 });
  claimed?.attach(next.reply, 4);
  expect(told).toEqual([]);
  claimed?.drained();
  claimed?.drained();
  expect(told).toEqual(['1 drained']);
});

test('a stream that the edge cancels is forgotten, and so is all when the agent stops', () => {
  const { kept, open, claim, told } = keeping();
  open('a', tokenOf(1)).stream.cancel('client_stalled');
  expect(told.at(-1)).toBe('1 cancel client_stalled');
  expect(claim('b', tokenOf(1), 0).stream).toBeUndefined();
  open('a', tokenOf(2));
  open('a', tokenOf(3)).stream.unlinked();
  open('a', tokenOf(4)).engine.end(record);
  told.length = 0;
  kept.stop();
  expect(told).toEqual(['2 cancel client_gone', '3 cancel client_gone']);
  expect(kept.status).toEqual({ bytes: 0, detached: 0, resumed: 0, unclaimed: 0 });
});

test('however many are opened, so many are kept: the oldest that ended gives its place, and none that is live', () => {
  const { open, claim } = keeping();
  const live = open('a', tokenOf(0));
  for (let index = 1; index <= 4 * streamsPerLinkMax; index += 1)
    open('a', tokenOf(index)).engine.end(record);
  expect(claim('b', tokenOf(1), 0).stream).toBeUndefined();
  expect(claim('b', tokenOf(2), 0).stream).toBeDefined();
  live.stream.unlinked();
  expect(claim('b', tokenOf(0), 0).stream).toBeDefined();
});
