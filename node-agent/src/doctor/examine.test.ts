import { describe, expect, test } from 'vitest';
import { launchedEngine } from '../../testing/launch-plans.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { EngineConfig } from '../engines/engine-config.ts';
import { launchOf } from '../engines/profiles/launch.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import type { Answered, Check, Host, RanProgram } from './check.ts';
import { isVerified, unknownOptions } from './engine-checks.ts';
import { examine, examineUnconfigured, examineWithout } from './examine.ts';

const engineOf = (more: Partial<EngineConfig> = {}): EngineConfig => ({
  name: 'r0' as EngineConfig['name'],
  profile: 'vllm',
  role: 'both',
  kvOffload: 'none',
  source: launchedEngine({ gpus: [] }),
  aliases: new Map(),
  apiKey: undefined,
  ...more,
});

const attached = (url: string, more: Partial<EngineConfig> = {}): EngineConfig =>
  engineOf({
    source: { kind: 'attached', url: new URL(url), kvEvents: undefined, gpus: [], kvDirectory: undefined },
    profile: 'openai',
    ...more,
  });

const configOf = (...engines: EngineConfig[]): AgentConfig => ({
  edge: new URL('https://edge.example'),
  region: undefined,
  name: 'host',
  dataDirectory: '/var/lib/cognitora',
  engines,
  joinToken: undefined,
  kvHandover: undefined,
  kvcached: undefined,
  log: { format: 'auto', level: 'info' },
  status: undefined,
  parentPipe: undefined,
});

interface Looks {
  readonly programs?: readonly string[];
  readonly runs?: Readonly<Record<string, RanProgram | string>>;
  readonly answers?: Readonly<Record<string, Answered | string>>;
  readonly broken?: readonly string[];
  readonly isNew?: boolean;
  readonly agentPid?: number;
  /** Files. */
  readonly tokenizers?: readonly string[];
  readonly nodeVersion?: string;
}

const edgeAnswers = { 'https://edge.example/healthz': { status: 200, text: '' } };
/** A host with these things, on which all else is in order. */
const hostWith = (looks: Looks) => {
  const { programs = [], runs = {}, answers = {}, broken = [], tokenizers = [], nodeVersion } = looks;
  const asked: Record<string, Readonly<Record<string, string>>> = {};
  const host: Host = {
    nodeVersion: nodeVersion ?? '24.21.0',
    find: (program) => (programs.includes(program) ? `/bin/${program}` : undefined),
    run: async (program) => runs[program] ?? 'nobody said how it runs',
    ask: async (url, headers, socket = '') => {
      asked[url.href] = headers;
      return { ...edgeAnswers, ...answers }[socket + url.href] ?? 'connect ECONNREFUSED';
    },
    directoryTrouble: (path) => (broken.includes(path) ? `${path} cannot be written` : undefined),
    isEnrolled: (directory, edge) =>
      looks.isNew !== true && directory === '/var/lib/cognitora' && edge.origin === 'https://edge.example',
    agentIn: () => looks.agentPid,
    isThere: (path) => !broken.includes(path),
    tokenizerFiles: { isFile: (path) => tokenizers.includes(path), line: () => 'abc' },
    environment: { HF_HUB_CACHE: '/hub' },
  };
  return { host, asked };
};

const allOf = async (checks: AsyncGenerator<Check>): Promise<Record<string, string>> => {
  const found: Record<string, string> = {};
  for await (const { what, outcome, says, fix } of checks) {
    found[what] = `${outcome}: ${says}${fix === undefined ? '' : ` -> ${fix}`}`;
  }
  return found;
};
const examined = (looks: Looks, ...engines: EngineConfig[]) =>
  allOf(examine(hostWith(looks).host, configOf(...engines), '/etc/agent.toml'));

/** A help text with every option that the plan of this engine has. */
const helpOf = (config: EngineConfig): string => {
  const profile = engineProfiles.get(config.profile);
  if (profile === undefined || config.source.kind !== 'launched') throw new Error('not launched');
  const { argv } = launchOf(profile, {
    ...{ config: config.source, role: config.role, kvOffload: config.kvOffload, host: '127.0.0.1' },
    ...{ ports: { http: 1, transfer: 2 }, directory: '.' },
  });
  return argv.filter((word) => word.startsWith('--')).join(' VALUE, ');
};

test('a host in order has nothing that failed', async () => {
  const engine = engineOf();
  const help = helpOf(engine);
  const found = await examined(
    { programs: ['vllm'], runs: { '/bin/vllm': { status: 0, output: help } } },
    engine,
  );
  expect(found).toEqual({
    node: 'ok: 24.21.0',
    configuration: 'ok: /etc/agent.toml',
    'data directory': 'ok: /var/lib/cognitora',
    join: 'ok: this host has joined https://edge.example',
    edge: 'ok: https://edge.example answers',
    GPUs: 'note: nvidia-smi is not found: memory, watts and temperature of GPUs stay unknown',
    'engine r0: program': 'ok: /bin/vllm',
    'engine r0: options': 'ok: it knows all 6 options it will be started with',
    'engine r0: profile': 'ok: "vllm" is verified: held against recorded answers of vLLM 0.32.0 for CPUs',
  });
});

test('an engine whose help lacks an option that it would get is named with that option', async () => {
  const engine = engineOf({ kvOffload: 'nixl' });
  const output = helpOf(engine).replace('--kv-transfer-config', '--kv-transfer');
  const found = await examined({ programs: ['vllm'], runs: { '/bin/vllm': { status: 0, output } } }, engine);
  expect(found['engine r0: options']).toBe(
    'failed: /bin/vllm does not know --kv-transfer-config -> ' +
      'Install a release that does, or take a kv_offload that needs none of these.',
  );
});

test("an interpreter's own options are not looked for in the engine's help", async () => {
  const engine = engineOf({ profile: 'sglang' });
  const output = helpOf(engine).replace('-m ', '');
  const found = await examined(
    { programs: ['python3'], runs: { '/bin/python3': { status: 0, output } } },
    engine,
  );
  expect(found['engine r0: options']).toMatch(/^ok/);
});

test('what the configuration adds and the help lacks is told, and fails nothing', async () => {
  const engine = engineOf({ source: launchedEngine({ gpus: [], arguments: ['--swap-space=4'] }) });
  const output = helpOf(engineOf());
  const found = await examined({ programs: ['vllm'], runs: { '/bin/vllm': { status: 0, output } } }, engine);
  expect(found['engine r0: options']).toBe('note: /bin/vllm does not list --swap-space of "arguments"');
});

test.each<[why: string, ran: RanProgram | string, says: string]>([
  ['cannot be run', 'spawn EACCES', 'could not be run: spawn EACCES'],
  ['hangs', { status: undefined, output: '' }, 'did not end in time'],
  [
    'lacks its libraries',
    { status: 1, output: 'Traceback\nModuleNotFoundError: No module named vllm\n' },
    'ended with status 1: ModuleNotFoundError: No module named vllm',
  ],
])('a program that %s is told with its own words', async (_, ran, says) => {
  const found = await examined({ programs: ['vllm'], runs: { '/bin/vllm': ran } }, engineOf());
  expect(found['engine r0: options']).toContain(says);
  expect(found['engine r0: options']).toMatch(/^failed: .* -> Repair its installation/s);
});

test('what is not there is named: program, model, directory of KV, data directory', async () => {
  const source = launchedEngine({ command: '/opt/vllm', gpus: [], kvDirectory: '/kv' });
  const broken = ['/models/qwen', '/kv', '/var/lib/cognitora'];
  const found = await examined({ broken }, engineOf({ source, kvOffload: 'lmcache' }));
  expect(found['engine r0: program']).toContain('failed: there is no program "/opt/vllm"');
  expect(found['engine r0: model']).toContain('failed: there is no model at /models/qwen');
  expect(found['engine r0: KV directory']).toContain('failed: /kv cannot be written');
  expect(found['data directory']).toContain('failed: /var/lib/cognitora cannot be written');
  expect(found['engine r0: options']).toBeUndefined();
});

describe('what would stop the agent itself is told', () => {
  const of = async (looks: Looks, more: Partial<AgentConfig> = {}) => {
    const config = { ...configOf(attached('http://up:1')), ...more };
    return allOf(examine(hostWith(looks).host, config, '/etc/agent.toml'));
  };

  test('a host that has not joined needs a token', async () => {
    const fix = 'Make one with "cgn keys join", and give it in COGNITORA_JOIN_TOKEN or a join_token_file.';
    expect((await of({ isNew: true })).join).toBe(
      `failed: this host has not joined https://edge.example, and no join token is given -> ${fix}`,
    );
    expect((await of({ isNew: true }, { joinTokenMissing: '/gone' })).join).toBe(
      'failed: this host has not joined https://edge.example, and /gone is not there; needed only for the ' +
        `first start -> ${fix}`,
    );
    expect((await of({ isNew: true }, { joinToken: 'cgj_x' })).join).toBe(
      'ok: not yet, and a join token is given',
    );
    expect((await of({}, { joinTokenMissing: '/gone' })).join).toBe(
      'ok: this host has joined https://edge.example; /gone is not there; needed only for the first start',
    );
  });

  test('an agent that uses the data directory', async () => {
    expect((await of({ agentPid: 7 })).agent).toMatch(
      /^failed: one runs already \(pid 7\) and uses \/var\/lib\/cognitora -> /,
    );
    expect((await of({})).agent).toBeUndefined();
  });

  test('nothing is said of an agent where the data directory cannot be used', async () => {
    const found = await of({ broken: ['/var/lib/cognitora'], isNew: true, agentPid: 7 });
    expect([found.join, found.agent]).toEqual([undefined, undefined]);
  });

  test('directories through which KV moves', async () => {
    const engine = attached('http://up:1', {
      source: {
        ...{ kind: 'attached', url: new URL('http://up:1'), kvEvents: undefined, gpus: [] },
        kvDirectory: '/slots',
      },
    });
    const found = await of({ broken: ['/mnt/kv', '/slots'] }, { kvHandover: '/mnt/kv', engines: [engine] });
    expect(found.kv_handover).toContain('failed: /mnt/kv cannot be written -> ');
    expect(found['engine r0: KV directory']).toContain('failed: /slots cannot be written -> ');
    const fine = await of({}, { kvHandover: '/mnt/kv', engines: [engine] });
    expect([fine.kv_handover, fine['engine r0: KV directory']]).toEqual([undefined, undefined]);
  });
});

test('where nobody configured an agent nothing failed', async () => {
  expect(await allOf(examineUnconfigured(hostWith({}).host))).toMatchObject({
    configuration: 'note: no agent is configured here; name --config or --edge',
  });
});

test('an engine that cannot be launched as it is configured is told why', async () => {
  const config = { ...configOf(engineOf()), dataDirectory: `/${'x'.repeat(100)}` };
  const found = await allOf(examine(hostWith({ programs: ['vllm'] }).host, config, undefined));
  expect(found['engine r0: launch']).toMatch(/^failed: The path .* take a shorter data_dir/);
});

test('a model that is a name is not looked for among files', async () => {
  const source = launchedEngine({ gpus: [], model: 'Qwen/Qwen3-8B' });
  expect(
    (await examined({ broken: ['Qwen/Qwen3-8B'] }, engineOf({ source })))['engine r0: model'],
  ).toBeUndefined();
});

test('an attached engine must list its models, and is asked with its key', async () => {
  const { host, asked } = hostWith({
    answers: {
      'http://up:1/v1/models': { status: 200, text: '{"data":[{"id":"m"}]}' },
      'http://key:1/v1/models': { status: 401, text: '' },
      'http://page:1/v1/models': { status: 200, text: '<html>' },
      'http://loads:1/v1/models': { status: 503, text: '' },
    },
  });
  const urls = ['http://up:1/v1', 'http://key:1', 'http://page:1', 'http://loads:1', 'http://down:1'];
  const engines = urls.map((url, at) =>
    attached(url, { name: `r${at}` as EngineConfig['name'], apiKey: 'k' }),
  );
  const found = await allOf(examine(host, configOf(...engines), undefined));
  expect(urls.map((_, at) => found[`engine r${at}: API`])).toEqual([
    'ok: http://up:1 lists 1 model',
    expect.stringContaining('answers 401: it wants a key, or another one -> Give its key'),
    expect.stringContaining('but with no list of models'),
    expect.stringContaining('answers 503 -> Wait for it'),
    expect.stringContaining('does not answer: connect ECONNREFUSED -> Start the engine'),
  ]);
  expect(asked['http://up:1/v1/models']).toEqual({ authorization: 'Bearer k' });
  expect(Object.keys(asked['https://edge.example/healthz'] ?? {})).toEqual([]);
});

test('an edge that does not answer, or is none, is told with what to do', async () => {
  const answers = (answer: Answered | string) => ({ answers: { 'https://edge.example/healthz': answer } });
  expect((await examined(answers('getaddrinfo ENOTFOUND'))).edge).toMatch(
    /^failed: .*ENOTFOUND -> Correct the URL/,
  );
  expect((await examined(answers({ status: 404, text: '' }))).edge).toMatch(/^failed: .*answers 404/);
});

test('a GPU that an engine names must be there', async () => {
  const output = 'GPU 0: NVIDIA H100 (UUID: GPU-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n';
  const looks = { programs: ['nvidia-smi'], runs: { '/bin/nvidia-smi': { status: 0, output } } };
  const on = (...gpus: number[]) => engineOf({ source: launchedEngine({ gpus }) });
  expect((await examined(looks, on(0, 1))).GPUs).toBe('ok: nvidia-smi -L shows 2 GPUs');
  expect((await examined(looks, on(1, 2))).GPUs).toMatch(
    /^failed: no GPU 2 here: nvidia-smi -L shows 2 GPUs/,
  );
  expect((await examined({}, on(0))).GPUs).toMatch(/^failed: no GPU 0 here: nvidia-smi is not found/);
});

test('an old Node fails, and so does a configuration that cannot be read', async () => {
  const { host } = hostWith({ nodeVersion: '22.4.0' });
  expect(await allOf(examineWithout(host, 'agent.toml:3: there is no "prot"'))).toEqual({
    node: 'failed: 22.4.0 -> Install Node.js 24 or newer.',
    configuration: expect.stringMatching(/^failed: agent.toml:3: there is no "prot" -> /),
    GPUs: expect.stringMatching(/^note: /),
  });
});

test('options are whole words: one that only begins like another is unknown', () => {
  expect(
    unknownOptions(['-m', 'x', '--host', '-1', '--kv-events={}'], '-m, --model\n--hostname\n--kv-events X'),
  ).toEqual(['--host']);
});

test('verified are the profiles that were held against a program, no other', () => {
  const verified = [...engineProfiles.values()].filter(isVerified).map(({ name }) => name);
  expect(verified).toEqual(['vllm', 'llama-cpp', 'embedded']);
});

describe('the tokenizer of an engine that shows no prompts', () => {
  const what = 'engine r0: tokenizer';
  const model = { status: 200, text: '{"data":[{"id":"Qwen/Qwen3-8B"}]}' };
  const inHub = '/hub/models--Qwen--Qwen3-8B/snapshots/abc';
  const of = async (looks: Looks, engine: EngineConfig) => (await examined(looks, engine))[what];

  test('is looked for where the model of a launched one is, or where the configuration says', async () => {
    const launched = engineOf({
      profile: 'trtllm',
      source: launchedEngine({ gpus: [], model: '/models/qwen' }),
    });
    expect(await of({ tokenizers: ['/models/qwen/tokenizer.json'] }, launched)).toBe('ok: /models/qwen');
    expect(await of({}, launched)).toMatch(
      /^note: no tokenizer.json of \/models\/qwen on this host.*approximately -> Name its directory/,
    );
    const named = { ...launched, tokenizer: 'Qwen/Qwen3-8B' };
    expect(await of({ tokenizers: [`${inHub}/tokenizer.json`] }, named)).toBe(`ok: ${inHub}`);
  });

  test('is looked for where a running one says', async () => {
    const engine = attached('http://up:1', { profile: 'sglang' });
    const answers = {
      'http://up:1/v1/models': model,
      'http://up:1/get_model_info': { status: 200, text: '{"model_path":"/m","tokenizer_path":"/t"}' },
      'http://up:1/model_info': { status: 404, text: '' },
    };
    expect(await of({ answers, tokenizers: ['/t/tokenizer.json'] }, engine)).toBe('ok: /t');
    expect(await of({ answers }, engine)).toMatch(/^note: no tokenizer.json of \/t, \/m on this host/);
    expect(await of({}, engine)).toBeUndefined();
  });

  test('has the name of the model where it says no more', async () => {
    const missing = { status: 404, text: '' };
    const answers = {
      ...{ 'http://up:1/v1/models': model, 'http://up:1/model_info': missing },
      'http://up:1/get_model_info': missing,
    };
    const engine = attached('http://up:1', { profile: 'trtllm' });
    expect(await of({ answers, tokenizers: [`${inHub}/tokenizer.json`] }, engine)).toBe(`ok: ${inHub}`);
  });

  test('is nobody’s concern where the engine shows its prompts', async () => {
    expect(await of({}, engineOf())).toBeUndefined();
  });
});

test('of the KV daemon that is named it is told whether it answers', async () => {
  const found = async (answers: Looks['answers'] = {}): Promise<string | undefined> => {
    const config = { ...configOf(), kvcached: '/kv.sock' };
    return (await allOf(examine(hostWith({ answers }).host, config, undefined))).kvcached;
  };
  const at = '/kv.sockhttp://localhost/v1/stat';
  expect(await found({ [at]: { status: 200, text: '' } })).toBe('ok: /kv.sock answers');
  expect(await found({ [at]: { status: 404, text: '' } })).toMatch(/^note: .*answers 404; no KV moves until/);
  expect(await found()).toMatch(/^note: \/kv.sock: connect ECONNREFUSED; no KV moves until "cgn kvcached"/);
  expect(await examined({})).not.toHaveProperty('kvcached');
});
