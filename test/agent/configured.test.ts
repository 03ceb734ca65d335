/**
 * An agent as an operator runs it: a process with one TOML file, secrets in files of their own, a service manager that
 * is told, and what it tells of itself on its own host.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { StatusAnswer } from '@cognitora/protocol/agent-status';
import { ackMsMax } from '@cognitora/protocol/limits';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgn, cgnJson } from '../cli/run-cgn.ts';
import { LivingFake } from '../fakes/engines/fake.ts';
import { vllm } from '../fakes/engines/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { type ErrorBody, jsonOf, send } from '../harness/http.ts';
import type { Program } from '../harness/program.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { Host } from './host.ts';

const agentMain = resolve(import.meta.dirname, '../../node-agent/src/main.ts');
const fakeProgram = resolve(import.meta.dirname, '../fakes/engine-program.ts');
/** Nothing about them looks like a key. */
const engineKey = 'engine-hunter2';
const hubKey = 'from-the-hub-hunter3';

describe('an agent that is configured by a file', () => {
  let engine: LivingFake;
  let other: LivingFake;
  let agent: Program;
  let directory: string;
  let joinToken: string;
  afterAll(() => Promise.all([engine.stop(), other.stop()]));
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));

  /** A `systemd-notify` that writes down what it was asked to tell. */
  const fakeServiceManager = (): Record<string, string> => {
    const bin = join(directory, 'bin');
    mkdirSync(bin);
    const program = join(bin, 'systemd-notify');
    writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${join(directory, 'told')}\n`);
    chmodSync(program, 0o755);
    return { PATH: `${bin}:${process.env.PATH}`, NOTIFY_SOCKET: '@manager', WATCHDOG_USEC: '900000' };
  };
  const told = (): string => {
    const path = join(directory, 'told');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  };

  beforeAll(async () => {
    const { cluster } = fixture;
    engine = await new LivingFake(vllm, { models: ['qwen'] }).start();
    other = await new LivingFake(vllm, { models: ['qwen'] }).start();
    directory = join(cluster.directory, 'configured');
    mkdirSync(directory);
    ({ joinToken } = await cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {}));
    writeFileSync(join(directory, 'join-token'), `${joinToken}\n`);
    writeFileSync(join(directory, 'engine-key'), `${engineKey}\n`);
    writeFileSync(
      join(directory, 'agent.toml'),
      `edge = "${cluster.url}"
name = "from-the-file"
data_dir = "${directory}/data"
join_token_file = "${directory}/join-token"

[[engine]]
name = "chat"
profile = "vllm"
url = "${engine.url}"
api_key_file = "${directory}/engine-key"
aliases = { public = "qwen" }

[[engine]]
profile = "vllm"
url = "${other.url}"
`,
    );
    const argv = [agentMain, '--config', join(directory, 'agent.toml')];
    agent = cluster.startProgram('agent', argv, fakeServiceManager());
    await cluster.node('from-the-file', ({ replicas }) => replicas.every(({ state }) => state === 'ready'));
  });

  const data = (): string => join(directory, 'data');
  const statusUrl = (): string =>
    (JSON.parse(readFileSync(join(data(), 'status.json'), 'utf8')) as { url: string }).url;
  const health = async (): Promise<string> => {
    const answer = await fetch(`${statusUrl()}/healthz`);
    return `${answer.status} ${(await answer.text()).trim()}`;
  };
  const status = (): Promise<StatusAnswer> => cgnJson(['agent', 'status', '--data-dir', data()]);

  test('a client is served, by the name and with the key that the file gives', async () => {
    const answer = await fixture.cluster
      .sdk()
      .chat.completions.create({ model: 'public', messages: [{ role: 'user', content: 'Grüß mich.' }] });
    expect(answer.choices[0]?.message.content).toContain('Köln');
    const asked = engine.received.filter(({ path }) => path === '/v1/chat/completions');
    expect(asked.at(-1)?.headers.authorization).toBe(`Bearer ${engineKey}`);
    expect(other.received.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  test('it tells of itself on its own host', async () => {
    expect(await health()).toBe('200 2 of 2 replicas ready');
    expect(await status()).toMatchObject({
      name: 'from-the-file',
      link: { state: 'linked', region: 'local', redials: 0 },
      live: 0,
      replicas: [
        {
          name: 'chat',
          profile: 'vllm',
          state: 'ready',
          models: ['public'],
          requests: 1,
          answers: { '2xx': 1 },
        },
        { name: 'r1', models: ['qwen'], requests: 0, bodyBytes: 0 },
      ],
      process: { pid: agent.pid, logLinesDropped: 0 },
    });
    const metrics = await (await fetch(`${statusUrl()}/metrics`)).text();
    expect(metrics).toContain('cognitora_agent_linked{} 1\n');
    expect(metrics).toContain('cognitora_agent_replica_requests_total{replica="chat",profile="vllm"} 1\n');
    // Its figures come with the first look at the engine's metrics.
    await until('the table to show what the engine says', async () =>
      /chat +vllm +ready +0 +0 +0 +25 % +1 /.test((await cgn(['agent', 'status', '--data-dir', data()])).out),
    );
  });

  test('the service manager hears that it is ready, once, and then of its event loop', async () => {
    await until('the service manager to be told', () => /READY=1/.test(told()) && /WATCHDOG=1/.test(told()));
    expect(told().match(/READY=1/g)).toHaveLength(1);
    expect(told()).toMatch(/^@manager .*READY=1.* STATUS=\d of 2 replicas ready/m);
  });

  test('engines that are gone are told with why, everywhere', async () => {
    await Promise.all([engine.stop(), other.stop()]);
    await until('ill health', async () => (await health()).startsWith('503'));
    expect(await health()).toMatch(/^503 no replica is ready: chat failed \(.+\); r1 failed \(.+\)$/);
    await until('the service manager to be told', () => /STATUS=no replica is ready/.test(told()));
    await Promise.all([engine.start(), other.start()]);
    await until('good health', async () => (await health()).startsWith('200'));
  });

  test('its log is JSON, and holds no secret', () => {
    const said = fixture.cluster.log.text();
    expect(said).not.toContain(joinToken);
    expect(said).toMatch(/agent: \{"time":"20\d\d-.*","level":"info","event":"linked"/);
  });

  test('keys that engines print are neither in the log nor among their last lines', async () => {
    const { cluster } = fixture;
    writeFileSync(join(directory, 'hub-key'), hubKey);
    // They name their model when they begin and when they serve, and so does the agent.
    const table = (name: string, key: string, more: string): string =>
      `[[engine]]\nname = "${name}"\nprofile = "vllm"\nmodel = "${key}"\ncommand = "${fakeProgram}"\n${more}\n`;
    const environment = (more: string): string => `environment = { FAKE_ENGINE = "vllm"${more} }`;
    const ofFile = environment(`, HF_TOKEN = { file = "${directory}/hub-key" }`);
    const keyed = `${environment('')}\napi_key_file = "${directory}/engine-key"`;
    const engines = table('keyed', engineKey, keyed) + table('hub', hubKey, ofFile);
    const host = new Host({ cluster, joinToken }, 'printing', engines);
    for (const name of ['keyed', 'hub']) {
      const { launch } = await host.ready(name);
      expect(launch?.lastLines).toContain('fake vllm: loading [hidden]');
      expect(launch?.lastLines.join()).not.toContain('hunter');
      const wrote = `"event":"engine ready","engine":"${name}","models":"[hidden]"`;
      await until('it to be in the log', () => cluster.log.text().includes(wrote));
    }
    expect(cluster.log.text()).not.toContain('hunter');
    await host.program.stop();
  });

  test('a second agent on the same status port is told so, and a wrong file with its line', async () => {
    const { port } = new URL(statusUrl());
    const environment = {
      COGNITORA_STATUS_LISTEN: `127.0.0.1:${port}`,
      COGNITORA_DATA_DIR: `${directory}/second`,
    };
    const config = ['--config', join(directory, 'agent.toml')];
    const taken = await cgn(['agent', ...config], environment);
    expect([taken.status, taken.errors]).toEqual([
      1,
      expect.stringContaining('Choose another status.listen'),
    ]);
    const wrong = join(directory, 'wrong.toml');
    writeFileSync(wrong, `edge = "${fixture.cluster.url}"\n\n[[engine]]\nprofil = "vllm"\n`);
    const refused = await cgn(['agent', '--config', wrong, '--check-config']);
    expect([refused.status, refused.out]).toEqual([2, '']);
    expect(refused.errors).toContain(`${wrong}:4: there is no key "profil" in [[engine]]; the nearest`);
    const checked = await cgn(['agent', ...config, '--check-config']);
    expect([checked.status, checked.errors]).toEqual([0, '']);
    expect(checked.out).toMatch(new RegExp(`chat +vllm, runs at ${engine.url}`));
    expect(checked.out).not.toContain(engineKey);
  });

  test('at its end the service manager hears so, and nothing says that it runs', async () => {
    await agent.stop();
    expect(told()).toMatch(/STOPPING=1/);
    expect(existsSync(join(data(), 'status.json'))).toBe(false);
    const { status: code, errors } = await cgn(['agent', 'status', '--data-dir', data()]);
    expect([code, errors]).toEqual([1, expect.stringContaining('No agent that runs has left word')]);
  });

  test('the host has joined: it starts without its token’s file, and another one says what it lacks', async () => {
    rmSync(join(directory, 'join-token'));
    const config = ['--config', join(directory, 'agent.toml')];
    const another = await cgn(['agent', ...config], { COGNITORA_DATA_DIR: `${directory}/another` });
    expect([another.status, another.errors]).toEqual([
      1,
      expect.stringMatching(`has not joined ${fixture.cluster.url}. .*${directory}/join-token is not there`),
    ]);
    const renamed = fixture.cluster.url.replace('127.0.0.1', 'localhost');
    const moved = await cgn(['agent', ...config, '--edge', renamed], { COGNITORA_DATA_DIR: data() });
    expect([moved.status, moved.errors]).toEqual([
      1,
      expect.stringContaining(`joined ${fixture.cluster.url}: another URL counts as another edge.`),
    ]);
    const again = fixture.cluster.startProgram('agent', [agentMain, ...config]);
    await until('the status of the new start', () => existsSync(join(data(), 'status.json')));
    await until('good health', async () => (await health()).startsWith('200'));
    await again.stop();
  });
});

describe.each(layouts)('a host that says nothing, layout %s', (layout) => {
  const engines = ['patient', 'usual'].map((model) => new LivingFake(vllm, { models: [model] }));
  beforeAll(() => Promise.all(engines.map((engine) => engine.start())));
  afterAll(() => Promise.all(engines.map((engine) => engine.stop())));
  const fixture = useCluster(() => {
    const [patient = '', usual = ''] = engines.map(
      ({ url }) => `[[engine]]\nprofile = "vllm"\nurl = "${url}"\n`,
    );
    const config = `${patient}ack_timeout = "4s"\n${usual}`;
    return { layout, regions: ['local'], agents: [{ name: 'gpu', engines: [], config }] };
  });

  test('it is waited for as its file says of the model', async () => {
    const { cluster } = fixture;
    const ask = async (model: string) => {
      const begunMs = performance.now();
      const answer = await send(`${cluster.url}/v1/chat/completions`, {
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Say it.' }] }),
        headers: { authorization: `Bearer ${cluster.apiKey}` },
      });
      return { answer, tookMs: performance.now() - begunMs };
    };
    const { pid } = cluster.program('gpu');
    process.kill(pid, 'SIGSTOP');
    const [patient, usual] = await Promise.all([ask('patient'), ask('usual')]).finally(() =>
      process.kill(pid, 'SIGCONT'),
    );
    for (const { answer } of [patient, usual]) {
      expect([answer.status, jsonOf<ErrorBody>(answer).error.code]).toEqual([504, 'ack_timeout']);
    }
    expect(usual.tookMs).toBeGreaterThan(ackMsMax);
    expect(usual.tookMs).toBeLessThan(patient.tookMs);
    expect(patient.tookMs).toBeGreaterThan(4_000);
    expect((await ask('patient')).answer.status).toBe(200);
  });
});
