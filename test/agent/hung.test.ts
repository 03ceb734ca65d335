/**
 * Engines that the agent started and that stand still, as real processes under an agent in this process, and an agent
 * that stands still itself. Only its sweeps, one a second, are a test's to make: minutes of silence pass at once.
 */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ReplicaStatus } from '@cognitora/protocol/agent-status';
import { interTokenMsMax } from '@cognitora/protocol/limits';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { Agent } from '../../node-agent/src/daemon.ts';
import { hangMsMax } from '../../node-agent/src/engines/engine.ts';
import { HostIdentity } from '../../node-agent/src/identity.ts';
import type { Log } from '../../node-agent/src/log.ts';
import { launchEngines } from '../../node-agent/src/supervise/launch-engines.ts';
import { launchedEngine } from '../../node-agent/testing/launch-plans.ts';
import { openOf, ScriptedEdge } from '../../node-agent/testing/scripted-edge.ts';
import { utf8 } from '../../protocol/src/bytes.ts';
import type { ReplicaName } from '../../protocol/src/ids.ts';
import { parseInferenceRequest } from '../../protocol/src/openai.ts';
import { LivingFake } from '../fakes/engines/fake.ts';
import { kinds } from '../fakes/engines/kinds.ts';
import { until } from '../harness/until.ts';
import { tellFake } from './host.ts';

const command = resolve(import.meta.dirname, '../fakes/engine-program.ts');
/** Looks take five seconds each to fail, and a killed engine ten until it is. */
const seenMsMax = 40_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
});

type Source = Parameters<typeof launchEngines>[0]['engines'][number]['source'];

/** Without an edge nobody answers there, and this host never joined. */
const startAgent = async (source: Source, edge = new URL('http://127.0.0.1:9')) => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-hung-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  if (edge.port !== '9') writeFileSync(join(directory, 'certificates.json'), `{"${edge.origin}":"joined"}`);
  let sweptMs = 0;
  const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() + sweptMs };
  const events: string[] = [];
  const log: Log = (level, event) => events.push(`${level} ${event}`);
  const engine = {
    name: 'e' as ReplicaName,
    ...({ profile: 'vllm', role: 'both', kvOffload: 'none' } as const),
    ...{ source, aliases: new Map(), apiKey: undefined },
  };
  const engines = { engines: [engine], dataDirectory: directory };
  const agent = new Agent({
    config: { edge, region: undefined, name: 'h', joinToken: undefined },
    sources: await launchEngines(engines, process.env, clock, log),
    ...{ moves: undefined, powerSources: [], identity: new HostIdentity(directory, clock, log) },
    ...{ environment: process.env, clock, random: () => 0, log, onJoined: () => {}, onFatal: () => {} },
  });
  agent.start();
  onTestFinished(() => agent.stop(0));
  const replicaIs = (what: string, is: (replica: ReplicaStatus) => boolean): Promise<ReplicaStatus> =>
    until(`the engine ${what}`, () => agent.status.replicas.find(is), seenMsMax);
  /** So much time, as the agent sees it. */
  const pass = (ms: number): void => {
    for (let at = 0; at < ms; at += 1_000) {
      sweptMs += 1_000;
      vi.advanceTimersByTime(1_000);
    }
  };
  /** So much time in which it stands still: its next sweep is late by that. */
  const standStill = (ms: number): void => {
    sweptMs += ms;
    vi.advanceTimersByTime(1_000);
  };
  return { replicaIs, pass, standStill, events, directory };
};

/** An edge with one link, which beats no heart and never takes silence for the link's end. */
const startEdge = async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const edge = new ScriptedEdge();
  let link: WebSocket | undefined;
  server.on('connection', (socket) => {
    link = socket;
    socket.send(edge.welcome({ heartbeatMs: 600_000, leaseMs: 600_000 }));
  });
  onTestFinished(() => {
    link?.terminate();
    server.close();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const body = utf8('{"model":"m","messages":[{"role":"user","content":"Hi."}],"stream":true}');
  const { spans } = parseInferenceRequest('/v1/chat/completions', [body]);
  const headers = [['content-type', 'application/json']] as const;
  const more = { replica: 'e' as ReplicaName, headers, spans, remainingMs: 600_000 };
  return {
    url,
    open: async () => {
      const linked = await until('the link', () => link);
      linked.send(edge.open(1, openOf(body.length, more), body, true));
    },
    cancel: () => link?.send(edge.cancel(1)),
  };
};

const fakeSource = () =>
  launchedEngine({ command, model: 'm', environment: new Map([['FAKE_ENGINE', 'vllm']]), gpus: [] });

const isReady = ({ state }: ReplicaStatus): boolean => state === 'ready';
const hasFailed = ({ state }: ReplicaStatus): boolean => state === 'failed';

test('a process that stands still is told, ended, killed since it does not hear, and started again', async () => {
  const { replicaIs, pass, events, directory } = await startAgent(fakeSource());
  const before = await replicaIs('is ready', isReady);
  process.kill(before.launch?.pid ?? 0, 'SIGSTOP');
  await replicaIs('is seen to be silent', hasFailed);
  pass(interTokenMsMax - 1_000);
  expect((await replicaIs('lives', hasFailed)).launch).toMatchObject({ state: 'loading', restarts: 0 });
  pass(3_000);
  const ending = await replicaIs('is asked to end', ({ launch }) => launch?.state === 'ending');
  expect(ending.why).toMatch(/^hung: no look was answered .*, asked to end$/);
  const after = await replicaIs('is back', (replica) => isReady(replica) && replica.launch?.restarts === 1);
  expect(after.launch?.pid).not.toBe(before.launch?.pid);
  const told = ['error engine hangs', 'warn engine process did not end when asked, killed'];
  for (const event of told) expect(events.filter((each) => each === event)).toHaveLength(1);
  const log = readFileSync(join(directory, 'logs/e.log'), 'utf8');
  expect(log).toMatch(/\[agent\] hung: .*, was ended by SIGKILL/);
});

test('a process whose looks are answered with 503 is ended and started again', async () => {
  const { replicaIs, pass } = await startAgent(fakeSource());
  await tellFake(await replicaIs('is ready', isReady), 'looks', 'status 503');
  await replicaIs('has failed', hasFailed);
  pass(interTokenMsMax + 2_000);
  await replicaIs('is back', (replica) => isReady(replica) && replica.launch?.restarts === 1);
});

test('one that owes a first token may be silent until that is given up', async () => {
  const edge = await startEdge();
  const { replicaIs, pass, events } = await startAgent(fakeSource(), edge.url);
  const before = await replicaIs('is ready', isReady);
  await tellFake(before, 'failure', 'hang');
  await edge.open();
  await replicaIs('has a request', ({ live }) => live === 1);
  await tellFake(before, 'looks', 'unanswered');
  await replicaIs('is seen to be silent', hasFailed);
  pass(hangMsMax + 5_000);
  expect(await replicaIs('lives', hasFailed)).toMatchObject({
    ...{ live: 1, launch: { state: 'loading', restarts: 0, pid: before.launch?.pid } },
  });
  expect(events).not.toContain('error engine hangs');
  edge.cancel();
  await replicaIs('owes nothing', ({ live }) => live === 0);
  pass(1_000);
  await replicaIs('is asked to end', ({ launch }) => launch?.state === 'ending');
});

const startAttached = async (edge?: URL) => {
  const kind = kinds.get('vllm');
  if (kind === undefined) throw new Error('no vllm');
  const fake = await new LivingFake(kind, { models: ['m'] }).start();
  onTestFinished(() => fake.stop());
  const url = new URL(fake.url);
  const more = { kvEvents: undefined, gpus: [], kvDirectory: undefined };
  return { fake, agent: await startAgent({ kind: 'attached', url, ...more }, edge) };
};

test('one that says that it is not well serves nobody, whatever it lists', async () => {
  const { fake, agent } = await startAttached();
  const { replicaIs } = agent;
  await replicaIs('is ready', isReady);
  fake.looks = 'unhealthy';
  const ill = await replicaIs('has failed', hasFailed);
  expect([ill.why, ill.models]).toEqual(['GET /health answered 503', ['m']]);
  fake.looks = 'answered';
  await replicaIs('is back', isReady);
});

test('one that somebody else started is told, and left to them', async () => {
  const { fake, agent } = await startAttached();
  const { replicaIs, pass, events } = agent;
  await replicaIs('is ready', isReady);
  fake.looks = 'status 503';
  await replicaIs('has failed', hasFailed);
  pass(interTokenMsMax + 2_000);
  const { why } = await replicaIs('is told', (replica) => replica.why?.startsWith('hung') === true);
  expect(why).toContain('no look was answered');
  pass(interTokenMsMax);
  expect(events.filter((event) => event === 'error engine hangs')).toHaveLength(1);
  fake.looks = 'answered';
  expect((await replicaIs('is back', isReady)).why).toBeUndefined();
});

test('an agent that stood still itself blames no engine, and its streams go on', async () => {
  const edge = await startEdge();
  const { fake, agent } = await startAttached(edge.url);
  const { replicaIs, standStill } = agent;
  await replicaIs('is ready', isReady);
  fake.failure = 'slow';
  await edge.open();
  await replicaIs('answers', ({ bodyBytes }) => bodyBytes > 0);
  standStill(interTokenMsMax + 1_000);
  const { errors, answers } = await replicaIs('is through', ({ live }) => live === 0);
  expect([errors, answers, fake.aborted]).toEqual([{}, { '2xx': 1 }, 0]);
});
