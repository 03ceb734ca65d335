/**
 * Engines that the agent starts, as real processes: the embedded engine from one TOML file, and fake programs that
 * fail. What is killed comes back or is told, and nothing outlives its agent.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReplicaStatus } from '@cognitora/protocol/agent-status';
import { drainMsMax, replicaWhyCharsMax } from '@cognitora/protocol/limits';
import { beforeAll, describe, expect, test } from 'vitest';
import { cgn } from '../cli/run-cgn.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { isAlive } from '../robustness/processes.ts';
import { fakeEngine, Host, openChat, tellFake, wordsOf } from './host.ts';

/** Everything is back within this time without hands, beside what a start takes on a busy host. */
const backMsMax = 10_000;

const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
let joinToken: string;
beforeAll(async () => {
  ({ joinToken } = await fixture.cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {}));
});

const newHost = (name: string, engines: string): Host =>
  new Host({ cluster: fixture.cluster, joinToken }, name, engines);

const embedded = (more = '') =>
  `[[engine]]\nname = "e"\nprofile = "embedded"\nmodel = "tiny"\nserved_name = "toy"\n` +
  `arguments = ["--models-dir", "${join(fixture.cluster.directory, 'models')}"]\n${more}\n`;

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
    host = newHost('supervised', embedded());
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
    // A look at its port may fail a moment before its end is heard of.
    const ended = ({ state, why = '' }: ReplicaStatus) =>
      state === 'failed' && why.startsWith('was ended by SIGKILL');
    const gone = await host.replicaIs('to be gone', 'e', ended);
    expect(gone.why).toMatch(/^was ended by SIGKILL, starts again in 1 s/);
    // Its events for programs are no reason for a person.
    expect(gone.why).not.toContain('{');
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
  const host = newHost('drained', fakeEngine('slow', 'FAKE_FAILURE = "slow"'));
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

test('an engine killed under live streams: they go on with the next or are told, all within ten seconds', async () => {
  // Beside other tests that wait: `robustness/kills.test.ts` has the machine for itself, and 200.
  const streams = 50;
  const host = newHost('struck', fakeEngine('struck', 'FAKE_SLOW_WORDS = "1000"'));
  const before = await host.ready('struck');
  const { launch } = before;
  await tellFake(before, 'failure', 'slow');
  const opened = await Promise.all(
    Array.from({ length: streams }, () => openChat(fixture.cluster, 'struck')),
  );
  await Promise.all(opened.map(({ begun }) => begun));
  const killedMs = performance.now();
  process.kill(launch?.pid ?? 0, 'SIGKILL');
  const texts = await Promise.all(opened.map(({ text }) => text));
  for (const text of texts) {
    const isTold = /data: \{"error":\{.*"code":"engine_broke_off"\}\}\n\n$/.test(text);
    expect([isTold, text.endsWith('data: [DONE]\n\n')]).toEqual([isTold, !isTold]);
    expect(text.split('"error"').length - 1).toBe(isTold ? 1 : 0);
  }
  // Nobody but the agent starts it again.
  const again = await until('a client to be served again', async () => {
    const next = await openChat(fixture.cluster, 'struck').catch(() => undefined);
    return next?.status === 200 && next;
  });
  await again.begun;
  const backMs = performance.now() - killedMs;
  expect(backMs).toBeLessThan(backMsMax);
  process.stdout.write(
    `[figure] a launched engine killed under ${streams} streams: served again after ${backMs.toFixed(0)} ms\n`,
  );
  const after = await host.ready('struck');
  expect([after.launch?.restarts, after.live]).toEqual([1, expect.any(Number)]);
  expect(after.launch?.pid).not.toBe(launch?.pid);
  await until('nothing to be left', async () => (await host.replica('struck'))?.live === 0);
  await host.program.stop();
  expect(host.engines()).toEqual([]);
});

test('an engine that is deaf to SIGTERM is killed, though never while a stream has time left', async () => {
  const host = newHost('deaf', fakeEngine('deaf', 'FAKE_SLOW_WORDS = "1000", FAKE_DEAF = "1"'));
  const replica = await host.ready('deaf');
  await tellFake(replica, 'failure', 'slow');
  const pid = replica.launch?.pid ?? 0;
  const stream = await openChat(fixture.cluster, 'deaf');
  await stream.begun;
  const askedMs = performance.now();
  process.kill(host.program.pid, 'SIGTERM');
  let lastWordMs = 0;
  stream.onText(() => {
    lastWordMs = performance.now();
  });
  // It would go on for 100 s: its words come to the end of the time that it has.
  const text = await stream.text;
  const drainedMs = performance.now() - askedMs;
  expect(lastWordMs - askedMs).toBeGreaterThanOrEqual(drainMsMax - 1_000);
  expect(drainedMs).toBeGreaterThanOrEqual(drainMsMax);
  expect(wordsOf(text).length).toBeGreaterThan((drainMsMax / 100) * 0.5);
  expect(text).toContain('"code":"replica_gone"');
  expect(text).not.toContain('[DONE]');
  expect(isAlive(pid)).toBe(true);
  await host.program.exited;
  const log = readFileSync(join(host.directory, 'logs/deaf.log'), 'utf8');
  expect(log.split('does not hear SIGTERM')).toHaveLength(2);
  expect(log).toContain('[agent] was ended by SIGKILL');
  expect(fixture.cluster.log.text()).toContain('engine process did not end when asked, killed');
  expect(host.engines()).toEqual([]);
  process.stdout.write(
    `[figure] a deaf engine: its stream ended ${drainedMs.toFixed(0)} ms after SIGTERM to the agent, ` +
      `all was gone after ${(performance.now() - askedMs).toFixed(0)} ms\n`,
  );
});

test('replicas have their GPUs; an agent that is killed leaves none of them, and the next one serves', async () => {
  const host = newHost('killed', embedded('replicas = 2\ngpus = [0, 1]'));
  const replicas = await Promise.all([host.ready('e-0'), host.ready('e-1')]);
  for (const [gpu, { launch }] of replicas.entries()) {
    const environment = readFileSync(`/proc/${launch?.pid}/environ`, 'utf8').split('\0');
    expect(environment).toContain(`CUDA_VISIBLE_DEVICES=${gpu}`);
    expect(environment).toContain('CUDA_DEVICE_ORDER=PCI_BUS_ID');
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
    host = newHost(
      'failing',
      fakeEngine('slow', 'FAKE_LOAD_MS = "2000"') +
        fakeEngine('hung', 'FAKE_FAILURE = "hang at start"') +
        fakeEngine('late', 'FAKE_FAILURE = "hang at start"', 'loading_timeout = "3s"') +
        fakeEngine('loop', 'FAKE_FAILURE = "crash"'),
    );
  });

  test('by a slow start load until they are ready, beside one that never is', async () => {
    await host.replicaIs('to load', 'slow', ({ launch }) => launch?.state === 'loading');
    const seen = new Set<string>();
    await host.replicaIs('to be ready', 'slow', ({ state }) => seen.add(state) && state === 'ready');
    expect([...seen].every((state) => state === 'loading' || state === 'ready')).toBe(true);
    await host.ready('slow');
    expect((await ask('slow')).choices).toHaveLength(1);
    expect(await host.replica('hung')).toMatchObject({ state: 'loading', launch: { state: 'loading' } });
  });

  test('by a load that takes longer than it may are ended and started again, and it is told why', async () => {
    const late = await host.replicaIs('to be started again', 'late', ({ launch }) => launch?.restarts === 1);
    expect(late.state).not.toBe('ready');
    const log = readFileSync(join(host.directory, 'logs/late.log'), 'utf8');
    expect(log).toContain('[agent] was not ready after 3 s (loading_timeout), asked to end');
    expect(log).toContain('[agent] was not ready after 3 s (loading_timeout), ended with status 0');
    // The other one that hangs has the time that nobody said.
    expect((await host.replica('hung'))?.launch).toMatchObject({ state: 'loading', restarts: 0 });
  });

  test('in a loop are given up, told everywhere, and cost nothing more', async () => {
    const given = await host.replicaIs('to be given up', 'loop', ({ launch }) => launch?.state === 'gave-up');
    expect(given.launch).toMatchObject({ restarts: 4 });
    expect(given.launch?.pid).toBeUndefined();
    expect(given.launch?.lastLines.join('\n')).toContain('CUDA error');
    expect(given.why).toMatch(
      /^ended with status 1, given up after 5 ends, each within 60 s of its start; .*CUDA error/,
    );
    const node = await fixture.cluster.node('failing');
    const told = node.replicas.find(({ name }) => name === 'loop');
    expect(told).toMatchObject({ state: 'failed', why: given.why?.slice(0, replicaWhyCharsMax) });
    const environment = { COGNITORA_ADMIN_KEY: fixture.cluster.adminKey };
    const shown = await cgn(['nodes', '--edge', fixture.cluster.url], environment);
    expect(shown.out).toMatch(
      / loop +failed .* ended with status 1, given up after 5 ends, each within 60 s of its start/,
    );
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
