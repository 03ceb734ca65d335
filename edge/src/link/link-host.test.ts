import { frameTypes } from '@cognitora/protocol/frame';
import type { Epoch, NodeId, Region, ReplicaName } from '@cognitora/protocol/ids';
import {
  ackBusyMsMax,
  ackMsMax,
  frameBodyBytesMax,
  heartbeatMs,
  helloMsMax,
  leaseMsMax,
  linksPerObjectMax,
  sweepMs,
  unaskedFramesBurst,
} from '@cognitora/protocol/limits';
import type { ReplicaReport, ResumeToken } from '@cognitora/protocol/link';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readAll } from '../../testing/carried.ts';
import { ObjectState } from '../../testing/object-state.ts';
import { requestOf, ScriptedAgent } from '../../testing/scripted-agent.ts';
import { LinkHost } from './link-host.ts';

const startMs = 1_800_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'Date'] });
  vi.setSystemTime(startMs);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const region = 'local' as Region;
const token = 'a1'.repeat(16) as ResumeToken;
const demand = { tenant: 'default', priority: 5, tokens: 1, answerTokens: 0 };
const prefix = { salt: 'salt', blockBytes: 256 };

/** A host of links, and what it tells the directory. */
const hosting = () => {
  const object = new ObjectState();
  const told: string[] = [];
  const host = new LinkHost(object.state, () => Date.now(), prefix, {
    joined: (node, epoch) => told.push(`joined ${node} ${epoch}`),
    reported: (node) => told.push(`reported ${node}`),
    left: (node, epoch) => told.push(`left ${node} ${epoch}`),
    kv: (node, epoch, { type }) => told.push(`kv ${type} ${node} ${epoch}`),
    measured: (node, _, { rttMs }) => told.push(`measured ${node} ${rttMs}`),
  });
  const dial = (name: string) => {
    const node = name as NodeId;
    host.accept(region, node, 1 as Epoch);
    const socket = object.accepted.at(-1);
    if (socket === undefined) throw new Error('no socket was accepted');
    const agent = new ScriptedAgent();
    const say = (bytes: Uint8Array): void =>
      host.message(socket as unknown as WebSocket, bytes.slice().buffer);
    return { node, socket, agent, say };
  };
  const join = (name: string) => {
    const link = dial(name);
    link.say(link.agent.hello());
    return link;
  };
  const common = (node: NodeId, signal: AbortSignal, bodyBytes: number) => ({
    ...{ node, epoch: 1 as Epoch, region, client: undefined, receipt: { cache: 'c', route: 'r' } },
    request: new Request('https://object/open', { method: 'POST', body: 'x'.repeat(bodyBytes), signal }),
    ...{ onFirstByte: vi.fn(), onOver: vi.fn() },
  });
  /** A request on the node's link, as the region's object sends it. */
  const carry = (node: NodeId, signal = new AbortController().signal, bodyBytes = 20) => {
    const options = common(node, signal, bodyBytes);
    const answer = host.carry({ ...options, open: { ...requestOf(bodyBytes), remainingMs: 60_000 } });
    return { answer, over: options.onOver, firstByte: options.onFirstByte };
  };
  /** A stream of an older link that goes on over this one. */
  const resume = (node: NodeId, signal: AbortSignal) => {
    const options = common(node, signal, 0);
    const { requestId, replica, model } = requestOf();
    const answer = host.resume({
      ...options,
      resume: {
        ...{ region, node, replica, requestId, model, stream: true, offset: 0, token },
        ...{ remainingMs: 60_000, waitMs: 0, earlier: [], demand },
      },
    });
    return { answer, over: options.onOver };
  };
  return { host, told, dial, join, carry, resume };
};

test('a dial that says nothing is closed once its HELLO is overdue, and no sooner', () => {
  const { host, told, dial } = hosting();
  const { socket } = dial('mute');
  vi.advanceTimersByTime(helloMsMax);
  expect([host.links, socket.closed]).toEqual([1, undefined]);
  vi.advanceTimersByTime(sweepMs);
  expect([host.links, socket.closed]).toEqual([0, '1002 no HELLO']);
  expect(told).toEqual(['left mute 1']);
  expect(vi.getTimerCount()).toBe(0);
});

test('pings, which the platform answers, do not stand for a HELLO', () => {
  const { dial } = hosting();
  const { socket } = dial('mute');
  for (let waited = 0; waited <= helloMsMax; waited += sweepMs) {
    socket.pongedAt = new Date();
    vi.advanceTimersByTime(sweepMs);
  }
  expect(socket.closed).toBe('1002 no HELLO');
});

test('a node that falls silent loses its lease, then its link, and its streams end with link_lost', async () => {
  const { host, told, join, carry } = hosting();
  const { node, socket, agent, say } = join('silent');
  const { answer, over } = carry(node);
  await vi.advanceTimersByTimeAsync(0);
  say(agent.head(1, 200, 'text/event-stream'));
  const response = await answer;
  expect(host.isLeased(node)).toBe(true);
  await vi.advanceTimersByTimeAsync(leaseMsMax);
  expect([host.isLeased(node), socket.closed]).toEqual([false, undefined]);
  await vi.advanceTimersByTimeAsync(sweepMs);
  expect([host.links, socket.closed]).toEqual([0, '1001 silent']);
  expect(told).toEqual(['joined silent 1', 'left silent 1']);
  expect(over).toHaveBeenCalledOnce();
  const text = await readAll(response.body);
  expect(text).toContain('!link_lost');
  await expect(carry(node).answer).rejects.toMatchObject({ code: 'link_lost' });
});

test('what a node that said it goes leaves unfinished ends with that reason', async () => {
  const { host, join, carry } = hosting();
  const { node, socket, agent, say } = join('leaver');
  const { answer } = carry(node);
  await vi.advanceTimersByTimeAsync(0);
  say(agent.head(1, 200, 'text/event-stream'));
  const response = await answer;
  say(agent.json(frameTypes.goaway, 0, { code: 'leaving', message: 'bye' }));
  host.gone(socket as unknown as WebSocket);
  expect(await readAll(response.body)).toContain('The node is stopping.');
});

test('a node that only pings keeps its lease and its link', () => {
  const { host, join } = hosting();
  const { node, socket } = join('idle');
  for (let waited = 0; waited < 4 * leaseMsMax; waited += heartbeatMs) {
    vi.advanceTimersByTime(heartbeatMs);
    socket.pongedAt = new Date();
    expect(host.isLeased(node)).toBe(true);
  }
  expect(socket.closed).toBeUndefined();
});

test('after the clock was set back a silent node keeps its lease for leaseMsMax, and no longer', () => {
  const { host, join, dial } = hosting();
  const { node, socket } = join('silent');
  socket.pongedAt = new Date();
  const { socket: mute } = dial('mute');
  vi.setSystemTime(startMs - 3_600_000);
  expect(host.isLeased(node)).toBe(true);
  vi.advanceTimersByTime(leaseMsMax);
  expect(host.isLeased(node)).toBe(false);
  vi.advanceTimersByTime(2 * sweepMs);
  expect([socket.closed, mute.closed]).toEqual(['1001 silent', '1002 no HELLO']);
});

test('after the clock was set back a node that pings keeps its lease', () => {
  const { host, join } = hosting();
  const { node, socket } = join('idle');
  socket.pongedAt = new Date();
  vi.setSystemTime(startMs - 3_600_000);
  for (let waited = 0; waited < 4 * leaseMsMax; waited += heartbeatMs) {
    vi.advanceTimersByTime(heartbeatMs);
    socket.pongedAt = new Date();
    expect(host.isLeased(node)).toBe(true);
  }
  expect(socket.closed).toBeUndefined();
});

test('an object carries linksPerObjectMax links and refuses the next until one closes', () => {
  const { host, dial } = hosting();
  const links = Array.from({ length: linksPerObjectMax }, (_, index) => dial(`n${index}`));
  const refused = errorOf(() => dial('one more'));
  expect([refused?.code, refused?.retryAfterSeconds]).toEqual(['no_capacity', 5]);
  expect(host.links).toBe(linksPerObjectMax);
  host.gone(links[7]?.socket as unknown as WebSocket);
  dial('one more');
  expect(host.links).toBe(linksPerObjectMax);
});

test('a thousand requests whose clients leave add no timer, and the last link takes the only one with it', async () => {
  const { host, join, carry } = hosting();
  expect(vi.getTimerCount()).toBe(0);
  const first = join('first');
  const second = join('second');
  expect(vi.getTimerCount()).toBe(1);
  for (let count = 0; count < 1000; count += 1) {
    const client = new AbortController();
    const { answer, over } = carry((count % 2 === 0 ? first : second).node, client.signal);
    await vi.advanceTimersByTimeAsync(0);
    client.abort();
    expect((await answer).status).toBe(499);
    expect(over).toHaveBeenCalledOnce();
  }
  await vi.advanceTimersByTimeAsync(ackMsMax);
  expect([host.streams, vi.getTimerCount()]).toEqual([0, 1]);
  host.gone(first.socket as unknown as WebSocket);
  expect(vi.getTimerCount()).toBe(1);
  host.gone(second.socket as unknown as WebSocket);
  expect(vi.getTimerCount()).toBe(0);
});

test('a pause of the object itself is nobody’s silence: what came meanwhile is read first', async () => {
  const { join, carry } = hosting();
  const { agent, say } = join('a');
  const { answer, over } = carry('a' as NodeId);
  await vi.advanceTimersByTimeAsync(sweepMs);
  // The object stands still for longer than an acknowledgement may take; the agent's frames wait.
  vi.setSystemTime(Date.now() + 3 * ackMsMax);
  await vi.advanceTimersByTimeAsync(sweepMs);
  expect(over).not.toHaveBeenCalled();
  say(agent.ack(1));
  await vi.advanceTimersByTimeAsync(4 * sweepMs);
  expect(over).not.toHaveBeenCalled();
  void answer;
});

test('a node is waited for as it says of the replica: in HELLO, then in what it says last', async () => {
  const { dial, carry, resume } = hosting();
  const { agent, say, node } = dial('patient');
  const replicasOf = (r0: Partial<ReplicaReport>): readonly ReplicaReport[] =>
    [
      { name: 'r0', ...r0 },
      { name: 'other', ackMs: 1_000 },
    ].map((one) => ({
      ...{ state: 'ready', models: [], ...one, name: one.name as ReplicaName },
    }));
  /** After how long a request, and a stream that goes on, are given up. */
  const givenUpMs = async (): Promise<readonly number[]> => {
    const begunMs = Date.now();
    const ends = [carry(node), resume(node, new AbortController().signal)].map(({ answer }) =>
      answer.then(() => Date.now() - begunMs),
    );
    await vi.advanceTimersByTimeAsync(leaseMsMax);
    return Promise.all(ends);
  };
  say(agent.hello({ replicas: replicasOf({ ackMs: 5_000 }) }));
  expect(await givenUpMs()).toEqual([5_000, 5_000]);
  say(agent.json(frameTypes.replicas, 0, { replicas: replicasOf({}) }));
  expect(await givenUpMs()).toEqual([ackMsMax, ackMsMax]);
});

test.each([
  ['pings', 5_000],
  ['tells what it measures', ackBusyMsMax],
])(
  'a node that is to acknowledge within 5 s, and only %s, is given up after %i ms',
  async (does, givenUpMs) => {
    const { dial, carry } = hosting();
    const { agent, say, node, socket } = dial('a');
    const replica: ReplicaReport = { name: 'r0' as ReplicaName, state: 'ready', models: [], ackMs: 5_000 };
    say(agent.hello({ replicas: [replica] }));
    const begunMs = Date.now();
    const tookMs = carry(node).answer.then(() => Date.now() - begunMs);
    for (let waitedMs = 0; waitedMs < ackBusyMsMax; waitedMs += heartbeatMs) {
      await vi.advanceTimersByTimeAsync(heartbeatMs);
      if (does === 'pings') socket.pongedAt = new Date();
      else say(agent.json(frameTypes.telemetry, 0, { rttMs: 1 }));
    }
    expect(await tookMs).toBe(givenUpMs);
  },
);

test('a request whose link is gone says where it had been placed', async () => {
  const { carry } = hosting();
  const { answer, over } = carry('nobody' as NodeId);
  await expect(answer).rejects.toMatchObject({ code: 'link_lost', route: 'r' });
  expect(over).toHaveBeenCalledOnce();
});

test.each([
  ['a request that goes with its frame', 20],
  ['a request that follows its frame', frameBodyBytesMax + 1],
  ['a stream that goes on', undefined],
])('a client that left before its turn sends the node nothing: %s', async (_, bodyBytes) => {
  const { host, join, carry, resume } = hosting();
  const { node, socket, agent } = join('a');
  const left = AbortSignal.abort();
  const { answer, over } = bodyBytes === undefined ? resume(node, left) : carry(node, left, bodyBytes);
  await expect(answer).rejects.toMatchObject({ code: 'client_gone' });
  await vi.advanceTimersByTimeAsync(0);
  for (const message of socket.sent) agent.hear(message);
  expect([over.mock.calls, agent.said(), host.streams]).toEqual([
    [[{ code: 'client_gone' }]],
    ['0 welcome'],
    0,
  ]);
});

test('a client that leaves while its stream goes on ends it there', async () => {
  const { host, join, resume } = hosting();
  const { node } = join('a');
  const client = new AbortController();
  const { answer, over } = resume(node, client.signal);
  expect(host.streams).toBe(1);
  client.abort();
  expect((await answer).status).toBe(499);
  expect(over).toHaveBeenCalledOnce();
});

test('a node that floods is told why and closed, and its dials are refused until that has passed', () => {
  const { host, told, join, dial } = hosting();
  const { socket, agent, say } = join('flood');
  const flood = (): void => {
    for (let said = 0; socket.closed === undefined && said < 20_000; said += 1) {
      say(agent.json(frameTypes.telemetry, 0, { rttMs: said }));
    }
  };
  flood();
  expect(socket.closed).toBe('1008 flooded');
  expect(told.filter((one) => one.startsWith('measured')).length).toBeLessThanOrEqual(unaskedFramesBurst);
  expect(told.at(-1)).toBe('left flood 1');
  const refused = errorOf(() => dial('flood'));
  expect([refused?.code, refused?.retryAfterSeconds]).toEqual(['flooded', 8]);
  vi.advanceTimersByTime(8_000);
  dial('flood');
  expect(host.links).toBe(1);
  expect(errorOf(() => dial('other'))).toBeUndefined();
});

test('figures count for their length, and what is beyond is passed over', () => {
  const { told, join } = hosting();
  const { socket, agent, say } = join('talker');
  const gpus = Array.from({ length: 64 }, (_, gpu) => ({ gpu, id: 'x'.repeat(256) }));
  for (let said = 0; said < 75; said += 1) say(agent.json(frameTypes.telemetry, 0, { rttMs: said, gpus }));
  const heard = told.filter((one) => one.startsWith('measured')).length;
  expect([socket.closed, heard > 40, heard < 60]).toEqual([undefined, true, true]);
});

test('a new link brings a node nothing new to say', () => {
  const { told, join } = hosting();
  for (let links = 0; links < 5; links += 1) {
    const { agent, say } = join('again');
    for (let said = 0; said < 900; said += 1) say(agent.json(frameTypes.telemetry, 0, { rttMs: said }));
  }
  expect(told.filter((one) => one.startsWith('measured'))).toHaveLength(unaskedFramesBurst);
  expect(errorOf(() => join('again'))?.code).toBe('flooded');
});
