/**
 * Answers that outlive their link: an agent with its sockets and a real engine's HTTP, before an edge that a test
 * scripts. Links are cut at any byte, and what is claimed on the next one joins to what the engine said.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeBody, frameTypes } from '@cognitora/protocol/frame';
import type { ReplicaName, RequestId } from '@cognitora/protocol/ids';
import { linklessMsMax, unclaimedMsMax } from '@cognitora/protocol/limits';
import type { ResumeToken } from '@cognitora/protocol/link';
import { expect, onTestFinished, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { systemClock } from '../../node-agent/src/clock.ts';
import { Agent } from '../../node-agent/src/daemon.ts';
import { attachedSource } from '../../node-agent/src/engines/source.ts';
import { HostIdentity } from '../../node-agent/src/identity.ts';
import type { Log } from '../../node-agent/src/log.ts';
import { openOf, ScriptedEdge } from '../../node-agent/testing/scripted-edge.ts';
import { utf8 } from '../../protocol/src/bytes.ts';
import { parseInferenceRequest } from '../../protocol/src/openai.ts';
import { until } from '../harness/until.ts';
import { PuppetEngine, puppetModel } from '../robustness/puppet-engine.ts';
import { bodyFor } from '../robustness/requests.ts';

const windowBytes = 65_536;

type OnFrame = (type: number, payload: Uint8Array) => void;

/** One link as the edge has it. Numbers of streams begin anew on each. */
class Link {
  readonly socket: WebSocket;
  readonly edge = new ScriptedEdge();
  readonly #onFrame: OnFrame;
  #nextStream = 1;
  isGone = false;

  constructor(socket: WebSocket, answersPings: boolean, onFrame: OnFrame, leaseMs: number) {
    this.socket = socket;
    this.#onFrame = onFrame;
    socket.on('close', () => {
      this.isGone = true;
    });
    socket.on('message', (message: Buffer, isBinary: boolean) => {
      if (isBinary) this.#hear(message);
      else if (answersPings) socket.send('pong');
    });
    const windows = { streamWindowBytes: windowBytes, linkWindowBytes: 1_048_576 };
    socket.send(this.edge.welcome({ ...windows, heartbeatMs: 100, leaseMs }));
  }

  #hear(message: Buffer): void {
    this.edge.hear(message);
    for (const { type, stream, payload } of this.edge.heard.splice(0)) {
      if (stream === 0) continue;
      this.#onFrame(type, payload);
      if (type !== frameTypes.data) continue;
      const { length } = decodeBody(payload).bytes;
      for (const each of [stream, 0]) this.socket.send(this.edge.credit(each, length));
    }
  }

  open(requestId: RequestId, resume: ResumeToken, text: string): void {
    const body = utf8(text);
    const { spans } = parseInferenceRequest('/v1/chat/completions', [body]);
    const headers = [['content-type', 'application/json'] as const, ['x-request-id', requestId] as const];
    const more = { requestId, model: puppetModel, headers, spans, remainingMs: 600_000, resume };
    this.socket.send(this.edge.open(this.#nextStream++, openOf(body.length, more), body, true));
  }

  resume(token: ResumeToken, offset: number): void {
    this.socket.send(this.edge.resume(this.#nextStream++, token, offset));
  }
}

/** What the reader of one answer has. */
class Reader {
  readonly token = 'c0ffee00'.repeat(4) as ResumeToken;
  readonly parts: Buffer[] = [];
  bytes = 0;
  heads = 0;
  outcome: string | undefined;

  hear(type: number, payload: Uint8Array): void {
    if (type === frameTypes.head) this.heads += 1;
    if (type === frameTypes.end) this.outcome = 'end';
    if (type === frameTypes.fail) this.outcome = Buffer.from(payload).toString();
    if (type !== frameTypes.data) return;
    const { offset, bytes } = decodeBody(payload);
    expect(offset).toBe(this.bytes);
    this.parts.push(Buffer.from(bytes));
    this.bytes += bytes.length;
  }

  get text(): string {
    return Buffer.concat(this.parts).toString();
  }
}

/** `random` chooses how long the agent waits before it dials again: 0, not at all. */
const started = async (leaseMs = 600_000, random = 0) => {
  const engine = await new PuppetEngine().start();
  onTestFinished(() => engine.stop());
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const reader = new Reader();
  const links: Link[] = [];
  const state = { accepts: true, answersPings: true };
  server.on('connection', (socket) => {
    if (!state.accepts) socket.terminate();
    else {
      // What an older link still says is nobody's any more.
      const link: Link = new Link(
        socket,
        state.answersPings,
        (type, payload) => link === links.at(-1) && reader.hear(type, payload),
        leaseMs,
      );
      links.push(link);
    }
  });
  onTestFinished(() => {
    for (const { socket } of links) socket.terminate();
    server.close();
  });
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-resumed-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'certificates.json'), `{"${url.origin}":"joined"}`);
  const attached = { kind: 'attached' as const, url: new URL(engine.url), kvEvents: undefined };
  const source = { ...attached, gpus: [], kvDirectory: undefined };
  const config = {
    name: 'r0' as ReplicaName,
    ...({ profile: 'openai', role: 'both', kvOffload: 'none' } as const),
    ...{ source, aliases: new Map(), apiKey: undefined },
  };
  /** How long the agent waited before each dial but the first. */
  const dialsInMs: unknown[] = [];
  const log: Log = (_, event, fields) => {
    if (event === 'link closed, dialling again') dialsInMs.push(fields?.inMs);
  };
  const agent = new Agent({
    config: { edge: url, region: undefined, name: 'h', joinToken: undefined },
    sources: [attachedSource(config, source)],
    ...{ moves: undefined, powerSources: [], identity: new HostIdentity(directory, systemClock, log) },
    ...{
      environment: {},
      clock: systemClock,
      random: () => random,
      log,
      onJoined: () => {},
      onFatal: () => {},
    },
  });
  agent.start();
  onTestFinished(() => agent.stop(0));
  const ready = (): Promise<unknown> =>
    until('the engine', () => agent.status.replicas.some(({ state: is }) => is === 'ready'));
  const link = (number: number): Promise<Link> => until(`link ${number}`, () => links[number - 1]);
  await ready();
  return { engine, agent, reader, links, link, state, dialsInMs };
};

const events = 150;
const dripping = bodyFor({ act: 'drip', events, everyMs: 10 });
const whole = (text: string): boolean =>
  Array.from({ length: events }, (_, index) => `"${index} "`).every(
    (event) => text.split(event).length === 2,
  ) && text.endsWith('data: [DONE]\n\n');

test('a stream whose links are cut again and again arrives whole, and its engine is asked once', async () => {
  const { engine, agent, reader, link } = await started();
  (await link(1)).open('cut' as RequestId, reader.token, dripping);
  for (let cut = 1; cut <= 5; cut += 1) {
    const before = reader.bytes;
    await until('bytes', () => reader.bytes > before + 300);
    (await link(cut)).socket.terminate();
    (await link(cut + 1)).resume(reader.token, reader.bytes);
  }
  await until('the end', () => reader.outcome);
  expect([reader.outcome, whole(reader.text), reader.heads]).toEqual(['end', true, 6]);
  expect(agent.status.kept).toEqual({ bytes: expect.any(Number), detached: 0, resumed: 5, unclaimed: 0 });
  expect([...engine.performances.keys()].filter((id) => id === 'cut')).toHaveLength(1);
  expect(engine.of('cut')?.isWhole).toBe(true);
});

test('an edge that fell silent, whose old socket lingers: the stream goes on over the next one', async () => {
  const { reader, link, links, state } = await started(400);
  state.answersPings = false;
  const first = await link(1);
  first.open('silent' as RequestId, reader.token, dripping);
  await until('bytes', () => reader.bytes > 300);
  state.answersPings = true;
  // Nothing of the first socket is read any more, so it does not close either. Its bytes are lost.
  first.socket.pause();
  (await link(2)).resume(reader.token, reader.bytes);
  expect(first.isGone).toBe(false);
  first.open('late' as RequestId, 'a'.repeat(32) as ResumeToken, dripping);
  await until('the end', () => reader.outcome);
  expect([reader.outcome, whole(reader.text)]).toEqual(['end', true]);
  expect(links).toHaveLength(2);
});

test('what has ended while there was no link is claimed with its end', async () => {
  const { reader, link, state, engine } = await started();
  const first = await link(1);
  first.open('ended' as RequestId, reader.token, bodyFor({ act: 'drip', events: 20, everyMs: 20 }));
  await until('bytes', () => reader.bytes > 300);
  state.accepts = false;
  first.socket.terminate();
  await until('the end at the engine', () => engine.of('ended')?.endedMs);
  state.accepts = true;
  (await link(2)).resume(reader.token, reader.bytes);
  await until('the end', () => reader.outcome);
  expect([reader.outcome, reader.text.includes('"19 "')]).toEqual(['end', true]);
});

test('what no new link claims is stopped at the engine, and a claim after that is told so', async () => {
  const { engine, agent, reader, link } = await started();
  const first = await link(1);
  first.open('unclaimed' as RequestId, reader.token, bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
  await until('bytes', () => reader.bytes > 300);
  const cutMs = performance.now();
  first.socket.terminate();
  const second = await link(2);
  await until('the stream without a link', () => agent.status.kept.detached === 1);
  const endedMs = await until('the end at the engine', () => engine.of('unclaimed')?.endedMs);
  expect(endedMs - cutMs).toBeGreaterThan(unclaimedMsMax - 1_000);
  expect(agent.status.kept).toEqual({ bytes: 0, detached: 0, resumed: 0, unclaimed: 1 });
  second.resume(reader.token, reader.bytes);
  await until('the answer', () => reader.outcome);
  expect(JSON.parse(reader.outcome ?? '')).toMatchObject({ code: 'stream_gone' });
  await until('no work', () => agent.status.live === 0);
});

test('an edge that is gone for good leaves no work at the engine ten seconds later', async () => {
  const { engine, agent, reader, link, state } = await started();
  const first = await link(1);
  first.open('gone' as RequestId, reader.token, bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
  await until('bytes', () => reader.bytes > 300);
  state.accepts = false;
  const cutMs = performance.now();
  first.socket.terminate();
  const endedMs = await until('the end at the engine', () => engine.of('gone')?.endedMs, 20_000);
  expect(endedMs - cutMs).toBeGreaterThan(linklessMsMax - 1_000);
  expect(endedMs - cutMs).toBeLessThan(10_000);
  expect([agent.status.live, agent.status.kept.unclaimed]).toEqual([0, 1]);
});

test('an agent that keeps streams dials again within a second, one without them takes its time', async () => {
  const { agent, reader, link, state, dialsInMs } = await started(600_000, 0.999_999);
  const cut = async ({ socket }: Link): Promise<unknown[]> => {
    dialsInMs.length = 0;
    state.accepts = false;
    socket.terminate();
    await until('four dials', () => dialsInMs.length === 4);
    state.accepts = true;
    return dialsInMs.slice();
  };
  expect(await cut(await link(1))).toEqual([250, 500, 1_000, 2_000]);
  const second = await link(2);
  second.open('kept' as RequestId, reader.token, bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
  await until('bytes', () => reader.bytes > 300);
  expect(await cut(second)).toEqual([250, 500, 1_000, 1_000]);
  expect(agent.status.kept.detached).toBe(1);
});

test('an agent that stops says of a stream that it could not finish that it goes no further', async () => {
  const { engine, agent, reader, link } = await started();
  const first = await link(1);
  first.open('left' as RequestId, reader.token, bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
  await until('bytes', () => reader.bytes > 300);
  await agent.stop(300);
  await until('the answer', () => reader.outcome);
  const told = JSON.parse(reader.outcome ?? '');
  expect(told).toMatchObject({ code: 'replica_gone', record: { bodyBytes: reader.bytes } });
  await until('the end at the engine', () => engine.of('left')?.endedMs);
});

test('an agent that stops waits for a stream without a link as for others, and then ends it', async () => {
  const { engine, agent, reader, link, state } = await started();
  const first = await link(1);
  first.open('stop' as RequestId, reader.token, bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
  await until('bytes', () => reader.bytes > 300);
  state.accepts = false;
  first.socket.terminate();
  await until('the stream without a link', () => agent.status.kept.detached === 1);
  const askedMs = performance.now();
  await agent.stop(700);
  const endedMs = await until('the end at the engine', () => engine.of('stop')?.endedMs);
  expect(endedMs - askedMs).toBeGreaterThan(600);
  expect(agent.status.live).toBe(0);
});
