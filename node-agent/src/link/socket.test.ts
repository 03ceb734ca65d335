import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { utf8 } from '@cognitora/protocol/bytes';
import { frameTypes } from '@cognitora/protocol/frame';
import { encodeKvMark, encodeKvWant } from '@cognitora/protocol/kv';
import { ackDelayMs, helloMsMax } from '@cognitora/protocol/limits';
import { linkPath, pingText, pongText } from '@cognitora/protocol/link';
import { parseTelemetry } from '@cognitora/protocol/telemetry';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { helloOf, openOf, ScriptedEdge, welcomeOf } from '../../testing/scripted-edge.ts';
import { LinkSocket } from './socket.ts';

// Sockets are real; time passes when a test says so.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const { heartbeatMs, leaseMs } = welcomeOf();

/** Lets what is under way on real sockets arrive. */
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
};

/** An edge that accepts a dial and says what the test makes it say; and the agent's end of that link. */
const dialled = async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const accepted: WebSocket[] = [];
  const pings: string[] = [];
  const edge = new ScriptedEdge();
  server.on('connection', (socket) => {
    accepted.push(socket);
    socket.on('message', (message: Buffer, isBinary: boolean) => {
      if (isBinary) edge.hear(message);
      else pings.push(message.toString());
    });
  });
  const told: string[] = [];
  const served = { count: 0 };
  let idles = 0;
  const clock = { wallMs: () => Date.now(), monotonicMs: () => Date.now() };
  const link = new LinkSocket({
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}${linkPath}`,
    authorization: 'none',
    hello: helloOf(),
    clock,
    serve: (_, reply) => {
      served.count += 1;
      return {
        body: (bytes) => reply.consumed(bytes.length),
        cancel: () => {},
        drained: () => {},
        unlinked: () => {},
      };
    },
    resume: () => undefined,
    onKvWanted: ({ feed, request }) => told.push(`want ${feed} as ${request}`),
    onKvFabric: ({ peers }) => told.push(`fabric of ${peers.length}`),
    onKvHolders: ({ ask }) => told.push(`holders of ${ask}`),
    onIdle: () => {
      idles += 1;
    },
    onWelcome: ({ epoch }) => told.push(`welcome ${epoch}`),
    onGoaway: ({ code }) => told.push(`goaway ${code}`),
    onClose: (why) => told.push(`closed: ${why}`),
  });
  onTestFinished(async () => {
    link.close('the test is over');
    for (const socket of accepted) socket.terminate();
    server.close();
  });
  await until(() => edge.heard.length > 0);
  const say = (bytes: Uint8Array | string): void => accepted[0]?.send(bytes);
  const welcome = async (): Promise<void> => {
    say(edge.welcome());
    await until(() => told.length > 0);
  };
  /** Resolves once the link's socket is gone for the edge, too. */
  const gone = async (): Promise<void> => until(() => accepted[0]?.readyState === WebSocket.CLOSED);
  return { link, edge, told, pings, say, welcome, gone, served, idles: () => idles };
};

test('an edge that accepts the dial and says nothing is given up once its WELCOME is overdue', async () => {
  const { told } = await dialled();
  vi.advanceTimersByTime(helloMsMax - 1);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(told).toEqual(['closed: the edge sent no WELCOME']);
});

test('a heartbeat’s answer is no WELCOME', async () => {
  const { told, say } = await dialled();
  say(pongText);
  vi.advanceTimersByTime(helloMsMax);
  expect(told).toEqual(['closed: the edge sent no WELCOME']);
});

test('an edge that falls silent is given up once it has said nothing for its lease', async () => {
  const { told, pings, welcome } = await dialled();
  await welcome();
  vi.advanceTimersByTime(leaseMs - 1);
  await until(() => pings.length === 1 + Math.floor(leaseMs / heartbeatMs));
  expect([told, new Set(pings)]).toEqual([['welcome 7'], new Set([pingText])]);
  vi.advanceTimersByTime(1);
  expect(told).toEqual(['welcome 7', 'closed: the edge fell silent']);
});

test('what still comes over a socket that closes opens no stream', async () => {
  const { link, edge, say, welcome, gone, served } = await dialled();
  await welcome();
  say(edge.open(1, openOf(5), utf8('hello'), true));
  await until(() => served.count === 1);
  say(edge.open(2, openOf(5), utf8('hello'), true));
  link.close('enough');
  await gone();
  expect([served.count, link.streams]).toEqual([1, 0]);
});

test('an edge that answers heartbeats is kept, however little else it says', async () => {
  const { told, pings, say, welcome } = await dialled();
  await welcome();
  // The first pongs are asked for at once.
  for (let quick = 1; quick <= 2; quick += 1) {
    say(pongText);
    await until(() => pings.length === 1 + quick);
  }
  for (let beats = 1; beats <= 12; beats += 1) {
    vi.advanceTimersByTime(heartbeatMs);
    await until(() => pings.length === 3 + beats);
    say(pongText);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(told).toEqual(['welcome 7']);
});

test('the first pong tells the edge how far away it is', async () => {
  const { edge, say, pings, welcome } = await dialled();
  await welcome();
  await until(() => pings.length === 1);
  vi.advanceTimersByTime(40);
  say(pongText);
  const isTold = () => edge.heard.find(({ type }) => type === frameTypes.telemetry);
  await until(() => isTold() !== undefined);
  expect(parseTelemetry(isTold()?.payload ?? new Uint8Array())).toEqual({ rttMs: 40 });
});

test('a thousand requests that are cancelled leave no timer but the heartbeat, and the end takes that', async () => {
  const { link, edge, say, welcome } = await dialled();
  await welcome();
  const atRest = vi.getTimerCount();
  for (let stream = 1; stream <= 1000; stream += 1) {
    say(edge.open(stream, openOf(5), utf8('hello'), true));
    if (stream % 100 === 0) await until(() => link.streams === 100);
    // Half are acknowledged, half are gone before they are.
    if (stream % 200 === 100) vi.advanceTimersByTime(ackDelayMs);
    if (stream % 100 === 0) {
      for (let each = stream - 99; each <= stream; each += 1) say(edge.cancel(each));
      await until(() => link.streams === 0);
    }
  }
  expect(vi.getTimerCount()).toBe(atRest + 1);
  vi.advanceTimersByTime(ackDelayMs);
  expect(vi.getTimerCount()).toBe(atRest);
  link.close('enough');
  await until(() => vi.getTimerCount() <= 1);
  vi.advanceTimersByTime(1000);
  expect(vi.getTimerCount()).toBe(0);
});

test('a link that has sent all it had says so, once for what it sent in one turn', async () => {
  const { link, edge, idles, welcome } = await dialled();
  await welcome();
  const before = idles();
  for (let part = 0; part < 3; part += 1) link.kv('kvmark', encodeKvMark({ feed: part, sequence: 1 }));
  expect(idles()).toBe(before);
  await until(() => edge.heard.length === 4);
  await until(() => idles() > before);
  expect(idles()).toBe(before + 1);
});

test('an edge that wants a snapshot is heard', async () => {
  const { edge, told, say, welcome } = await dialled();
  await welcome();
  say(edge.frame(frameTypes.kvwant, 0, encodeKvWant({ feed: 2, request: 5 })));
  await until(() => told.length === 2);
  expect(told).toEqual(['welcome 7', 'want 2 as 5']);
});
