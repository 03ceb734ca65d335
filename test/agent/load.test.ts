/**
 * Load, watts and roles from end to end: queues that others fill at an engine move requests to another one, GPUs that
 * replicas share are shown once, what nobody knows is unknown everywhere, never zero, and half an engine serves nobody.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgn } from '../cli/run-cgn.ts';
import { type Kind, LivingFake } from '../fakes/engines/fake.ts';
import { vllm } from '../fakes/engines/vllm.ts';
import { sendJson } from '../fakes/fake-engine.ts';
import { layouts, type NodeView } from '../harness/cluster.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const agentMain = resolve(import.meta.dirname, '../../node-agent/src/main.ts');

/** As `nvidia-smi` writes it once a second (constructed after a recorded line of an H200): little of one GPU. */
const gpuLines = `0, GPU-024775e5, 143771, 70000, 312.40, 61, 97
1, GPU-7b1c9d20, 143771, [N/A], [Not Supported], 40, [N/A]`;

/** As behind a proxy that lets only the API through. */
const withoutMetrics: Kind = {
  ...vllm,
  answer: (serving) => {
    const answer = vllm.answer(serving);
    return (exchange) =>
      exchange.received.path === '/metrics'
        ? sendJson(exchange.response, 404, '{"detail":"Not Found"}')
        : answer(exchange);
  },
};

describe.each(layouts)('what engines and GPUs do, layout %s', (layout) => {
  const engines = [0, 1].map(() => new LivingFake(vllm, { models: ['qwen'] }));
  const silent = new LivingFake(withoutMetrics, { models: ['other'] });
  const prefill = new LivingFake(vllm, { models: ['split'] });
  let directory: string;
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  afterAll(() => Promise.all([...engines, silent, prefill].map((engine) => engine.stop())));

  const fakeNvidiaSmi = (): string => {
    const bin = join(directory, 'bin');
    mkdirSync(bin);
    const program = join(bin, 'nvidia-smi');
    const says = `const say = () => console.log(\`${gpuLines}\`);\nsay();\nsetInterval(say, 1_000);\n`;
    writeFileSync(program, `#!${process.execPath}\n${says}`);
    chmodSync(program, 0o755);
    return `${bin}:${process.env.PATH}`;
  };

  beforeAll(async () => {
    const { cluster } = fixture;
    for (const engine of engines) await engine.start();
    await silent.start();
    await prefill.start();
    directory = join(cluster.directory, 'loaded');
    mkdirSync(directory);
    const { joinToken } = await cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
    const entry = (name: string, url: string, more = ''): string =>
      `[[engine]]\nname = "${name}"\nprofile = "vllm"\nurl = "${url}"\n${more}\n`;
    const file = `edge = "${cluster.url}"\nname = "host"\ndata_dir = "${directory}/data"\n`;
    const entries = [
      ...engines.map(({ url }, at) => entry(`e${at}`, url, 'gpus = [0]')),
      entry('silent', silent.url),
      entry('prefill', prefill.url, 'role = "prefill"'),
    ];
    writeFileSync(join(directory, 'agent.toml'), file + entries.join(''));
    cluster.startProgram('agent', [agentMain, '--config', join(directory, 'agent.toml')], {
      COGNITORA_JOIN_TOKEN: joinToken,
      PATH: fakeNvidiaSmi(),
    });
    await host(({ replicas }) => replicas.length === 4 && replicas.every(({ state }) => state === 'ready'));
  });

  const host = (isAsAsked: (node: NodeView) => boolean) => fixture.cluster.node('host', isAsAsked);
  const loadOf = ({ replicas }: NodeView, name: string) =>
    replicas.find((replica) => replica.name === name)?.load;

  /** How many requests each of the two engines got of some that came one after the other. */
  const shares = async (): Promise<readonly number[]> => {
    const chats = (): number[] =>
      engines.map(({ received }) => received.filter(({ path }) => path === '/v1/chat/completions').length);
    const before = chats();
    for (let request = 0; request < 6; request += 1) {
      await fixture.cluster.sdk().chat.completions.create({
        ...{ model: 'qwen', messages: [{ role: 'user', content: `Question ${request}` }] },
      });
    }
    return chats().map((count, at) => count - (before[at] ?? 0));
  };

  const queueAt = async (waiting: readonly number[]): Promise<void> => {
    for (const [at, engine] of engines.entries()) engine.counts.waiting = waiting[at] ?? 0;
    await host((node) => waiting.every((count, at) => loadOf(node, `e${at}`)?.othersWaiting === count));
  };

  test('a queue of others at one engine moves new requests to the other, and back', async () => {
    await queueAt([50, 0]);
    expect(await shares()).toEqual([0, 6]);
    await queueAt([0, 50]);
    expect(await shares()).toEqual([6, 0]);
  });

  test('an engine whose metrics are missing has no figures, and serves', async () => {
    const node = await host((known) => loadOf(known, 'e0')?.kvPermille === 250);
    expect(Object.keys(loadOf(node, 'silent') ?? {})).toEqual(['ageMs']);
    const answer = await fixture.cluster
      .sdk()
      .chat.completions.create({ model: 'other', messages: [{ role: 'user', content: 'Hi.' }] });
    expect(answer.choices).toHaveLength(1);
  });

  test('an engine for prefill alone is shown as such, and its model needs a whole one', async () => {
    const { replicas } = await host(() => true);
    expect(replicas.map(({ name, role }) => [name, role])).toEqual(
      expect.arrayContaining([
        ['e0', 'both'],
        ['prefill', 'prefill'],
      ]),
    );
    const asked = fixture.cluster
      .sdk()
      .chat.completions.create({ model: 'split', messages: [{ role: 'user', content: 'Hi.' }] });
    await expect(asked).rejects.toMatchObject({
      code: 'no_capacity',
      message: expect.stringContaining('of the role prefill alone'),
    });
  });

  test('a GPU that replicas share is told once, and what it does not say is absent', async () => {
    const { gpus } = await host((known) => known.gpus.length === 2);
    expect(gpus).toEqual([
      {
        ...{ gpu: 0, id: 'GPU-024775e5', memoryMiB: 143_771, memoryUsedMiB: 70_000, watts: 312 },
        ...{ celsius: 61, busyPercent: 97, ageMs: expect.any(Number), replicas: ['e0', 'e1'] },
      },
      {
        ...{ gpu: 1, id: 'GPU-7b1c9d20', memoryMiB: 143_771, celsius: 40 },
        ...{ ageMs: expect.any(Number), replicas: [] },
      },
    ]);
  });

  test('people and Prometheus see it, at the edge and on the host: "-" and no sample where nobody knows', async () => {
    const { cluster } = fixture;
    await host((known) => known.gpus.length === 2 && loadOf(known, 'e1')?.kvPermille === 250);
    const environment = { COGNITORA_ADMIN_KEY: cluster.adminKey };
    const { out } = await cgn(['nodes', '--edge', cluster.url], environment);
    const cells = out.split('\n').map((line) => line.trim().split(/ {2,}/));
    const shown = (name: string) => cells.find((row) => row[3] === name)?.slice(5, 9);
    expect(shown('e1')).toEqual(['0', '0', '50', '25 %']);
    expect(shown('silent')).toEqual(['0', '-', '-', '-']);
    const gpuRow = (gpu: string) => cells.find((row) => row[0] === 'host' && row[2] === gpu)?.slice(3);
    expect(gpuRow('0')).toEqual(['68.4 of 140.4 GiB', '312 W', '61 °C', '97 %', 'e0,e1']);
    expect(gpuRow('1')).toEqual(['- of 140.4 GiB', '-', '40 °C', '-', '-']);
    const answer = await fetch(`${cluster.url}/metrics`, {
      headers: { authorization: `Bearer ${cluster.adminKey}` },
    });
    const page = await answer.text();
    expect(page).toMatch(/^cognitora_replica_engine_waiting\{.*replica="e1"\} 50$/m);
    expect(page).not.toMatch(/cognitora_replica_(engine_\w+|kv_usage)\{.*replica="silent"/);
    expect(page).toMatch(/^cognitora_gpu_watts\{.*host="host",gpu="0"\} 312$/m);
    expect(page).not.toMatch(/cognitora_gpu_watts\{.*gpu="1"/);
    const status = await cgn(['agent', 'status', '--data-dir', join(directory, 'data')]);
    expect(status.out).toMatch(/^e1 +vllm +ready +0 +0 +50 +25 % /m);
    expect(status.out).toMatch(/^silent +vllm +ready +0 +- +- +- /m);
  });

  test('an engine that is gone is unknown, and known again when it is back', async () => {
    const [first] = engines;
    await first?.stop();
    await until('nothing to be known of it', async () => {
      const node = await host(() => true);
      const { running, gpus } = loadOf(node, 'e0') ?? {};
      return running === undefined && gpus !== undefined;
    });
    await first?.start();
    await host((node) => loadOf(node, 'e0')?.running === 0);
  });
});
