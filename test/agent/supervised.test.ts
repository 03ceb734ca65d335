/**
 * Engines that the agent starts, as real processes: the embedded engine from one TOML file, and fake programs that
 * fail. What is killed comes back or is told, and nothing outlives its agent.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ReplicaStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { beforeAll, describe, expect, test } from 'vitest';
import { cgnJson } from '../cli/run-cgn.ts';
import { type Leftover, leftoversOf } from '../harness/leftovers.ts';
import type { Program } from '../harness/program.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const agentMain = resolve(import.meta.dirname, '../../node-agent/src/main.ts');
const fakeProgram = resolve(import.meta.dirname, '../fakes/engine-program.ts');
/** Everything is back within this time without hands, beside what a start takes on a busy host. */
const backMsMax = 10_000;
/** On a host with other work, a model's file is made and loaded. */
const upMsMax = 60_000;

const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
let joinToken: string;
beforeAll(async () => {
  ({ joinToken } = await fixture.cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {}));
});

/** An agent with its own directory, whose engines the text of TOML tables names. */
class Host {
  readonly name: string;
  readonly directory: string;
  program: Program;

  constructor(name: string, engines: string) {
    const { cluster } = fixture;
    this.name = name;
    this.directory = join(cluster.directory, name);
    mkdirSync(this.directory);
    const top = `edge = "${cluster.url}"\nname = "${name}"\ndata_dir = "${this.directory}"\n`;
    writeFileSync(join(this.directory, 'agent.toml'), top + engines);
    this.program = this.start();
  }

  start(): Program {
    const argv = [agentMain, '--config', join(this.directory, 'agent.toml')];
    this.program = fixture.cluster.startProgram(this.name, argv, { COGNITORA_JOIN_TOKEN: joinToken });
    return this.program;
  }

  status(): Promise<StatusAnswer> {
    return cgnJson(['agent', 'status', '--data-dir', this.directory]);
  }

  /** As `/status` says, without a program in between. */
  async replica(name: string): Promise<ReplicaStatus | undefined> {
    const { url } = JSON.parse(readFileSync(join(this.directory, 'status.json'), 'utf8')) as { url: string };
    const status = (await (await fetch(`${url}/status`)).json()) as StatusAnswer;
    return status.replicas.find((replica) => replica.name === name);
  }

  replicaIs(what: string, name: string, is: (replica: ReplicaStatus) => boolean): Promise<ReplicaStatus> {
    const look = async () => {
      const replica = await this.replica(name).catch(() => undefined);
      return replica !== undefined && is(replica) && replica;
    };
    return until(`${name} of ${this.name} ${what}`, look, upMsMax);
  }

  ready(name: string): Promise<ReplicaStatus> {
    return this.replicaIs('to be ready', name, ({ state }) => state === 'ready');
  }

  /** Processes of its engines. */
  engines(): readonly Leftover[] {
    const { pid } = this.program;
    return leftoversOf(this.directory).filter((process) => process.pid !== pid);
  }
}

const embedded = (more = '') =>
  `[[engine]]\nname = "e"\nprofile = "embedded"\nmodel = "tiny"\nserved_name = "toy"\n` +
  `arguments = ["--models-dir", "${join(fixture.cluster.directory, 'models')}"]\n${more}\n`;

const fake = (name: string, more: string) =>
  `[[engine]]\nname = "${name}"\nprofile = "vllm"\nmodel = "${name}"\ncommand = "${fakeProgram}"\n` +
  `environment = { FAKE_ENGINE = "vllm", ${more} }\n`;

const ask = (model: string, maxTokens = 4) =>
  fixture.cluster.sdk().chat.completions.create({
    model,
    messages: [{ role: 'user', content: 'Say it.' }],
    max_tokens: maxTokens,
  });

describe('an engine that the agent starts', () => {
  let host: Host;
  let startMs: number;
  beforeAll(async () => {
    const sinceMs = performance.now();
    host = new Host('supervised', embedded());
    await host.ready('e');
    startMs = performance.now() - sinceMs;
  });

  test('serves a client, and its cache is known by its own events', async () => {
    const answer = await ask('toy');
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
    const { replicas } = await host.status();
    expect(replicas[0]).toMatchObject({ source: 'launched', launch: { state: 'ready', restarts: 0 } });
    await host.replicaIs('to be known', 'e', ({ caches }) => caches.some(({ trust }) => trust === 'exact'));
  });

  test('is started again when it is killed, and serves within ten seconds beside its start', async () => {
    const before = await host.ready('e');
    const killedMs = performance.now();
    process.kill(before.launch?.pid ?? 0, 'SIGKILL');
    await host.replicaIs('to be gone', 'e', ({ state }) => state === 'failed');
    const served = () => ask('toy').catch(() => undefined);
    await until('a client to be served again', served, startMs + backMsMax);
    fixture.cluster.log.add('test', `served again after ${Math.round(performance.now() - killedMs)} ms`);
    const after = await host.ready('e');
    expect(after.launch?.restarts).toBe(1);
    expect(after.launch?.pid).not.toBe(before.launch?.pid);
    const log = readFileSync(join(host.directory, 'logs/e.log'), 'utf8');
    expect(log).toContain('[agent] was ended by SIGKILL');
    await host.replicaIs('to be known', 'e', ({ caches }) => caches.some(({ trust }) => trust === 'exact'));
  });
});

test('an agent that is asked to end finishes its live stream before it ends its engine', async () => {
  const host = new Host('drained', fake('slow', 'FAKE_FAILURE = "slow"'));
  await host.ready('slow');
  const stream = await fixture.cluster.sdk().chat.completions.create({
    model: 'slow',
    messages: [{ role: 'user', content: 'Count.' }],
    stream: true,
  });
  const words: string[] = [];
  for await (const { choices } of stream) {
    words.push(choices[0]?.delta.content ?? '');
    if (words.length === 3) process.kill(host.program.pid, 'SIGTERM');
    if (words.length === 6) expect((await host.replica('slow'))?.launch?.state).toBe('draining');
  }
  expect(words.join('').trim()).toBe(Array.from({ length: 20 }, (_, word) => word).join(' '));
  await host.program.exited;
  expect(host.engines()).toEqual([]);
  expect(fixture.cluster.log.text()).toContain('drained: ended: 0');
});

test('replicas have their GPUs; an agent that is killed leaves none of them, and the next one serves', async () => {
  const host = new Host('killed', embedded('replicas = 2\ngpus = [0, 1]'));
  const replicas = await Promise.all([host.ready('e-0'), host.ready('e-1')]);
  for (const [gpu, { launch }] of replicas.entries()) {
    const environment = readFileSync(`/proc/${launch?.pid}/environ`, 'utf8').split('\0');
    expect(environment).toContain(`CUDA_VISIBLE_DEVICES=${gpu}`);
    expect(environment.join(' ')).not.toContain(joinToken);
  }
  expect(host.engines().length).toBeGreaterThanOrEqual(2);
  await host.program.kill();
  await until('its engines to be gone', () => host.engines().length === 0);
  host.start();
  await Promise.all([host.ready('e-0'), host.ready('e-1')]);
  await host.program.stop();
  expect(host.engines()).toEqual([]);
});

describe('engines that fail', () => {
  let host: Host;
  beforeAll(() => {
    host = new Host(
      'failing',
      fake('slow', 'FAKE_LOAD_MS = "2000"') +
        fake('hung', 'FAKE_FAILURE = "hang at start"') +
        fake('loop', 'FAKE_FAILURE = "crash"'),
    );
  });

  test('by a slow start load until they are ready, beside one that never is', async () => {
    await host.replicaIs('to load', 'slow', ({ launch }) => launch?.state === 'loading');
    const seen = new Set<string>();
    await host.replicaIs('to be ready', 'slow', ({ state }) => seen.add(state) && state === 'ready');
    expect([...seen].every((state) => state === 'loading' || state === 'ready')).toBe(true);
    expect((await ask('slow')).choices).toHaveLength(1);
    expect(await host.replica('hung')).toMatchObject({ state: 'loading', launch: { state: 'loading' } });
  });

  test('in a loop are given up, told everywhere, and cost nothing more', async () => {
    const given = await host.replicaIs('to be given up', 'loop', ({ launch }) => launch?.state === 'gave-up');
    expect(given.launch).toMatchObject({ restarts: 4 });
    expect(given.launch?.pid).toBeUndefined();
    expect(given.launch?.lastLines.join('\n')).toContain('CUDA error');
    expect(given.why).toMatch(/^ended with status 1, given up after 5 ends in a row; .*CUDA error/);
    const node = await fixture.cluster.node('failing');
    expect(node.replicas.find(({ name }) => name === 'loop')?.state).toBe('failed');
    const ticks = cpuTicks(host.program.pid);
    await new Promise((accept) => setTimeout(accept, 2_000));
    // A hundred ticks are one second of one CPU.
    expect(cpuTicks(host.program.pid) - ticks).toBeLessThan(50);
    expect((await host.replica('loop'))?.launch?.restarts).toBe(4);
  });

  test('are tried again when the operator asks', async () => {
    process.kill(host.program.pid, 'SIGHUP');
    await host.replicaIs('to be tried again', 'loop', ({ launch }) => launch?.restarts === 5);
  });

  test('end with their agent all the same', async () => {
    await host.program.stop();
    expect(host.engines()).toEqual([]);
  });
});

/** User and system time of a process. */
const cpuTicks = (pid: number): number => {
  const stat = execFileSync('cat', [`/proc/${pid}/stat`], { encoding: 'utf8' });
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
};
