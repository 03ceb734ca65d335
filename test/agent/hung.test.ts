/**
 * Engines that the agent started and that stand still, as real processes under an agent in this process: only its
 * sweeps, one a second, are a test's to make, so that minutes of silence pass at once.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ReplicaStatus } from '@cognitora/protocol/agent-status';
import { interTokenMsMax } from '@cognitora/protocol/limits';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { Agent } from '../../node-agent/src/daemon.ts';
import { HostIdentity } from '../../node-agent/src/identity.ts';
import type { Log } from '../../node-agent/src/log.ts';
import { launchEngines } from '../../node-agent/src/supervise/launch-engines.ts';
import { launchedEngine } from '../../node-agent/testing/launch-plans.ts';
import type { ReplicaName } from '../../protocol/src/ids.ts';
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

const startAgent = async (source: Parameters<typeof launchEngines>[0]['engines'][number]['source']) => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-hung-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
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
    // Nobody answers there, and this host never joined.
    config: { edge: new URL('http://127.0.0.1:9'), region: undefined, name: 'h', joinToken: undefined },
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
  return { replicaIs, pass, events, directory };
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

test('one that somebody else started is told, and left to them', async () => {
  const kind = kinds.get('vllm');
  if (kind === undefined) throw new Error('no vllm');
  const fake = await new LivingFake(kind, { models: ['m'] }).start();
  onTestFinished(() => fake.stop());
  const url = new URL(fake.url);
  const { replicaIs, pass, events } = await startAgent({
    ...{ kind: 'attached', url, kvEvents: undefined, gpus: [], kvDirectory: undefined },
  });
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
