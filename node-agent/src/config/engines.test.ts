import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { gpusPerNodeMax, replicasPerNodeMax } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test } from 'vitest';
import type { LaunchedEngine } from '../engines/engine-config.ts';
import { knownProfiles } from '../engines/known-profiles.ts';
import { timeoutsDefault } from '../engines/timeouts.ts';
import { gpusOfReplicas } from './engines.ts';
import { loadingMsDefault } from './limits.ts';
import { parseConfig } from './parse.ts';

const written = (text: string, name: string): string => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};

/** The engines of a file of which only the entries are given; the first one begins on line 2. */
const enginesOf = (entries: string, environment: NodeJS.ProcessEnv = {}) => {
  const path = written(`edge = "https://edge.example"\n${entries}`, 'agent.toml');
  const options = { profiles: knownProfiles, hostsOwn: '/nonexistent' };
  const parsed = parseConfig(['--config', path], environment, options);
  if (parsed === 'help') throw new Error('help');
  return parsed.config.engines;
};

const launched = (keys = '') => `[[engine]]\nprofile = "vllm"\nmodel = "qwen"\n${keys}\n`;
const attached = (keys = '') => `[[engine]]\nprofile = "vllm"\nurl = "http://127.0.0.1:8000"\n${keys}\n`;
const sourceOf = (entries: string) => enginesOf(entries).map(({ source }) => source as LaunchedEngine);

test('a running engine is where its url says, with what it tells of its cache', () => {
  const keys =
    'kv_events = "tcp://127.0.0.1:1"\nkv_events_replay = "tcp://127.0.0.1:2"\nkv_events_ranks = 2\n' +
    'role = "decode"\nkv_offload = "nixl"';
  expect(enginesOf(attached(`${keys}\ngpus = [0, 3]\naliases = { "gpt-4o" = "qwen" }`))).toEqual([
    {
      name: 'r0',
      profile: 'vllm',
      role: 'decode',
      kvOffload: 'nixl',
      source: {
        kind: 'attached',
        url: new URL('http://127.0.0.1:8000'),
        kvEvents: { events: 'tcp://127.0.0.1:1', replay: 'tcp://127.0.0.1:2', ranks: 2 },
        gpus: [0, 3],
        kvDirectory: undefined,
      },
      aliases: new Map([['gpt-4o', 'qwen']]),
      apiKey: undefined,
      timeouts: timeoutsDefault,
    },
  ]);
});

test('an engine to start has all that starting it takes', () => {
  const token = written('hf_x\n', 'token');
  const keys = `served_name = "q"\ncommand = "/bin/vllm"\narguments = ["--a", "1"]\nkv_offload = "lmcache"
kv_directory = "/kv"\nenvironment = { A = "1", HF_TOKEN = { file = "${token}" } }`;
  expect(enginesOf(launched(keys))).toMatchObject([
    {
      kvOffload: 'lmcache',
      source: {
        kind: 'launched',
        command: '/bin/vllm',
        model: 'qwen',
        servedName: 'q',
        gpus: [],
        tensorParallel: 1,
        arguments: ['--a', '1'],
        environment: new Map([
          ['A', '1'],
          ['HF_TOKEN', 'hf_x'],
        ]),
        secrets: ['hf_x'],
        kvDirectory: '/kv',
      },
    },
  ]);
});

test.each([
  ['', loadingMsDefault],
  ['loading_timeout = "1s"', 1_000],
  ['loading_timeout = "90s"', 90_000],
  ['loading_timeout = "30m"', 1_800_000],
  ['loading_timeout = "8h"', 28_800_000],
  ['loading_timeout = "7d"', 604_800_000],
])('an engine to start has its time to load: %s', (keys, loadingMsMax) => {
  expect(sourceOf(launched(keys))[0]?.loadingMsMax).toBe(loadingMsMax);
});

test.each(['"0s"', '"8d"', '"169h"', '"1.5h"', '"30"', '30', '"30 m"', '"30min"', '""'])(
  'a time to load of %s is refused with what is possible',
  (value) => {
    const words = 'loading_timeout must be a time from "1s" to "7d", such as "90s"';
    expect(() => enginesOf(launched(`loading_timeout = ${value}`))).toThrow(words);
  },
);

const timeouts = (times: readonly string[]): string =>
  ['connect', 'first_token', 'inter_token', 'total', 'ack']
    .map((name, at) => (times[at] === undefined ? '' : `${name}_timeout = ${times[at]}\n`))
    .join('');

test('an engine has its own times for each step of a request, and the usual ones where it has none', () => {
  for (const entry of [launched, attached]) {
    const [own, usual] = enginesOf(entry(timeouts(['"2s"', '"90s"', '"1m"', '"1h"', '"5s"'])) + entry());
    expect(own?.timeouts).toEqual({
      ...{ connectMsMax: 2_000, firstTokenMsMax: 90_000, interTokenMsMax: 60_000, totalMsMax: 3_600_000 },
      ackMsMax: 5_000,
    });
    expect(usual?.timeouts).toEqual(timeoutsDefault);
  }
});

test.each([
  [['"61s"'], ':5: connect_timeout must be a time from "1s" to "1m"'],
  [['"1s"', '"0s"'], ':6: first_token_timeout must be a time from "1s" to "1h"'],
  [['"1s"', '"1s"', '30'], ':7: inter_token_timeout must be a time'],
  [
    ['"1s"', '"1s"', '"1s"', '"2h"'],
    ':8: total_timeout must be a time from "1s" to "1h", such as "90s" or "30m"',
  ],
  [['"1s"', '"1s"', '"1s"', '"1s"', '"16s"'], ':9: ack_timeout must be a time from "1s" to "15s", not'],
])('times of %j are refused with what is possible', (times, words) => {
  expect(() => enginesOf(attached(timeouts(times)))).toThrow(words);
});

test('replicas are named after their entry, or by their number on the host', () => {
  const entries =
    attached() + launched('name = "q"\nreplicas = 2') + launched('replicas = 2') + launched('name = "s"');
  expect(enginesOf(entries).map(({ name }) => name)).toEqual(['r0', 'q-0', 'q-1', 'r3', 'r4', 's']);
});

test.each([
  [[0, 1], 2, undefined, [[0], [1]]],
  [
    [0, 1, 2, 3],
    2,
    undefined,
    [
      [0, 1],
      [2, 3],
    ],
  ],
  [[0, 1], 1, undefined, [[0, 1]]],
  [[], 3, undefined, [[], [], []]],
  [
    [0, 1],
    3,
    2,
    [
      [0, 1],
      [0, 1],
      [0, 1],
    ],
  ],
  [[0], 2, 1, [[0], [0]]],
  [[0, 1, 2], 2, undefined, undefined],
  [[0, 1, 2], 2, 2, undefined],
  [[0, 1, 2, 3], 2, 1, undefined],
  [[], 2, 1, undefined],
])('GPUs %j for %i replicas, %s for each: %j', (gpus, replicas, perReplica, shares) => {
  expect(gpusOfReplicas(gpus, replicas, perReplica)).toEqual(shares);
});

test('a model is split between all GPUs of its replica unless it is said otherwise', () => {
  const keys = 'replicas = 2\ngpus = [0, 1, 2, 3]';
  expect(sourceOf(launched(keys))).toMatchObject([
    { gpus: [0, 1], tensorParallel: 2 },
    { gpus: [2, 3], tensorParallel: 2 },
  ]);
  expect(sourceOf(launched(`${keys}\ntensor_parallel = 1`))[1]).toMatchObject({ tensorParallel: 1 });
});

test('an engine’s own key goes before the one for all', () => {
  const environment = { COGNITORA_ENGINE_API_KEY: 'all' };
  const own = attached(`api_key_file = "${written('own\n', 'key')}"`);
  expect(enginesOf(own + attached(), environment).map(({ apiKey }) => apiKey)).toEqual(['own', 'all']);
});

test.each([
  ['neither url nor model', '[[engine]]\nprofile = "vllm"', ':2: an engine needs url'],
  ['no profile', '[[engine]]\nurl = "http://x"', ':2: "profile" in [[engine]] is missing'],
  [
    'an unknown profile',
    attached().replace('vllm', 'vlm'),
    ':3: there is no profile "vlm"; the nearest is "vllm"',
  ],
  ['an unknown profile’s list', attached().replace('vllm', 'vlm'), 'sglang, llama-cpp, trtllm'],
  ['what only starts', attached('replicas = 2'), ':5: "replicas" is for an engine that the agent starts'],
  ['a load of what runs', attached('loading_timeout = "1h"'), ':5: "loading_timeout" is for an engine'],
  ['url and model', attached('model = "m"'), ':5: "model" is for an engine that the agent starts'],
  [
    'what only runs',
    launched('kv_events = "tcp://a:1"'),
    ':5: "kv_events" is for an engine that runs already',
  ],
  [
    'a replay without events',
    attached('kv_events_replay = "tcp://a:1"'),
    ':5: kv_events_replay needs kv_events',
  ],
  ['a name twice', attached('name = "a"') + attached('name = "a"'), ':9: another engine is named "a"'],
  ['a name that a number makes', attached('name = "r1"') + attached(), 'another engine is named "r1"'],
  ['an odd name', attached('name = "a/b"'), ':5: name must be a name of at most 64'],
  ['GPUs that cannot be divided', launched('gpus = [0, 1, 2]\nreplicas = 2'), ':5: 3 gpus cannot be divided'],
  [
    'too few GPUs',
    launched('gpus = [0]\nreplicas = 2\ngpus_per_replica = 2'),
    ':7: 2 replicas with 2 GPUs each',
  ],
  ['a GPU twice', launched('gpus = [0, 0]'), ':5: gpus names one GPU twice'],
  [
    'a GPU that no edge would read of',
    launched(`gpus = [0, ${gpusPerNodeMax}]`),
    `GPU numbers from 0 to ${gpusPerNodeMax - 1}, not [0,${gpusPerNodeMax}].`,
  ],
  ['split too far', launched('gpus = [0]\ntensor_parallel = 2'), ':6: tensor_parallel = 2 needs 2 GPUs'],
  [
    'no number',
    launched('replicas = "two"'),
    `:5: replicas must be a whole number from 1 to ${replicasPerNodeMax}`,
  ],
  ['half a replica', launched('replicas = 1.5'), 'replicas must be a whole number'],
  ['a socket without a path', attached('kv_events = "ipc://"'), ':5: kv_events must be an endpoint such as'],
  ['no endpoint', attached('kv_events = "tcp://*:5557"'), ':5: kv_events must be an endpoint such as'],
  [
    'an argument that is no text',
    launched('arguments = ["--ctx-size", 4096]'),
    ':5: arguments must be a list',
  ],
  ['an unknown word', launched('kv_offload = "mooncake"'), '"none", "nixl", "lmcache", "hicache", "kvbm"'],
  ['a secret for all to see', launched('environment = { HF_TOKEN = "hunter2" }'), 'HF_TOKEN = { file = '],
  [
    'a secret as an argument',
    launched('arguments = ["--api-key=hunter2"]'),
    ':5: --api-key would show a secret',
  ],
  ['no variable', launched('environment = { "A-B" = "1" }'), ':5: A-B is no variable'],
  [
    'a file that is not there',
    attached('api_key_file = "/nonexistent/key"'),
    ":5: the engine's key: the file",
  ],
  ['a pair that its engine has not', launched('role = "prefill"'), 'Possible are, with their roles: none'],
  ['what its profile cannot', launched().replace('vllm', 'openai'), ':2: "openai" can only be attached'],
  [
    'too many',
    launched(`replicas = ${replicasPerNodeMax}`) + launched(),
    `At most ${replicasPerNodeMax} engines`,
  ],
])('a wrong engine is told with its line and the fix: %s', (_, entries, words) => {
  const parsing = () => enginesOf(entries);
  expect(parsing).toThrow(ConfigError);
  expect(parsing).toThrow(words);
  expect(parsing).not.toThrow('hunter2');
});

test('a tokenizer may be named of any engine, and is shown', () => {
  const [one, two] = enginesOf(
    launched('tokenizer = "Qwen/Qwen3-8B"') + attached('tokenizer = "/models/qwen"'),
  );
  expect([one?.tokenizer, two?.tokenizer]).toEqual(['Qwen/Qwen3-8B', '/models/qwen']);
  expect(() => enginesOf(attached('tokenizer = ""'))).toThrow(/a directory or the name of a model/);
  expect(() => enginesOf(attached('tokeniser = "x"'))).toThrow(/"tokenizer"/);
});
