import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { replicasPerNodeMax } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigError } from './agent-config.ts';
import { parseAliases, parseConfig } from './parse.ts';

const needed = ['--edge', 'https://edge.example', '--engine-url', 'http://127.0.0.1:8000'];

const parse = (argv: readonly string[], environment: NodeJS.ProcessEnv = {}) => {
  const config = parseConfig(argv, environment);
  if (config === 'help') throw new Error('help');
  return config;
};

test('what is needed is enough', () => {
  const config = parse(needed);
  expect(config).toEqual({
    edge: new URL('https://edge.example'),
    region: undefined,
    name: hostname(),
    dataDirectory: join(homedir(), '.cognitora', 'agent'),
    engines: [
      {
        name: 'r0',
        profile: 'openai',
        role: 'both',
        kvOffload: 'none',
        source: { kind: 'attached', url: new URL('http://127.0.0.1:8000'), kvEvents: undefined },
        aliases: new Map(),
        apiKey: undefined,
      },
    ],
    joinToken: undefined,
    parentPipe: undefined,
  });
});

test('KV events belong to the engines in their order', () => {
  const more = [
    '--engine-url',
    'http://b:1',
    '--kv-events',
    'tcp://127.0.0.1:5557',
    '--kv-events',
    'tcp://b:2',
  ];
  const { engines } = parse([...needed, ...more, '--kv-events-replay', 'tcp://127.0.0.1:5558']);
  expect(engines.map(({ source }) => source)).toMatchObject([
    { kvEvents: { events: 'tcp://127.0.0.1:5557', replay: 'tcp://127.0.0.1:5558' } },
    { kvEvents: { events: 'tcp://b:2', replay: undefined } },
  ]);
  for (const wrong of [
    ['--kv-events', 'tcp://*:5557'],
    ['--kv-events', '127.0.0.1:5557'],
    ['--kv-events-replay', 'tcp://a:1'],
    ['--kv-events', 'tcp://a:1', '--kv-events', 'tcp://a:2'],
  ]) {
    expect(() => parse([...needed, ...wrong])).toThrow('--kv-events');
  }
});

test('every option and variable is read', () => {
  const argv = ['--engine-url', 'http://b:1/v1', '--region', 'weur', '--alias', 'a=x=y', '--alias', 'b=z'];
  const config = parse([...needed, ...argv, '--name', 'host', '--data-dir', '/d'], {
    COGNITORA_JOIN_TOKEN: ' cgj_x ',
    COGNITORA_ENGINE_API_KEY: 'sk',
    COGNITORA_PARENT_PIPE: '1',
  });
  expect(config).toMatchObject({
    region: 'weur',
    name: 'host',
    dataDirectory: '/d',
    joinToken: 'cgj_x',
    parentPipe: 'stdin',
  });
  const aliases = new Map([
    ['a', 'x=y'],
    ['b', 'z'],
  ]);
  expect(config.engines).toMatchObject([
    { name: 'r0', source: { url: new URL('http://127.0.0.1:8000') }, aliases, apiKey: 'sk' },
    { name: 'r1', source: { url: new URL('http://b:1/v1') }, aliases, apiKey: 'sk' },
  ]);
});

test('the parent may hold another pipe than standard input, which stays free then', () => {
  expect(parse(needed, { COGNITORA_PARENT_PIPE: '3' }).parentPipe).toBe('descriptor 3');
  expect(parse(needed, { COGNITORA_PARENT_PIPE: '0' }).parentPipe).toBeUndefined();
});

test('an empty variable is one that is not set', () => {
  const config = parse(needed, { COGNITORA_JOIN_TOKEN: '', COGNITORA_ENGINE_API_KEY: '' });
  expect(config.joinToken).toBeUndefined();
  expect(config.engines[0]?.apiKey).toBeUndefined();
});

test('help is asked for before anything is missed', () => {
  expect(parseConfig(['--help'], {})).toBe('help');
});

const without = (option: string): string[] => {
  const at = needed.indexOf(option);
  return needed.filter((_, index) => index !== at && index !== at + 1);
};

test.each([
  ['--edge https://', without('--edge')],
  ['--engine-url http://', without('--engine-url')],
  ['--edge must be a URL', ['--edge', 'edge.example', ...without('--edge')]],
  ['--edge must be a URL', ['--edge', 'ftp://edge.example', ...without('--edge')]],
  ['--engine-url must be a URL', [...without('--engine-url'), '--engine-url', 'localhost:8000']],
  [
    `At most ${replicasPerNodeMax}`,
    [...needed, ...Array.from({ length: replicasPerNodeMax }, () => ['--engine-url', 'http://x']).flat()],
  ],
  ['--region must be', [...needed, '--region', 'EU West']],
  ['--alias must be PUBLIC=SERVED', [...needed, '--alias', 'gpt']],
  ['--name must not be empty', [...needed, '--name', '']],
  ['--join-token', [...needed, '--join-token', 'cgj_x']],
  ['cgn agent --help', [...needed, '--unknown']],
  ['cgn agent --help', [...needed, 'positional']],
  ['cannot be read', [...needed, '--join-token-file', '/nonexistent/token']],
])('a wrong option names the fix: %s', (words, argv) => {
  const parsing = () => parseConfig(argv, {});
  expect(parsing).toThrow(ConfigError);
  expect(parsing).toThrow(words);
});

test.each([
  ['--engine-url', 'http://user:hunter2@127.0.0.1:8000', 'COGNITORA_ENGINE_API_KEY'],
  ['--engine-url', 'http://hunter2@127.0.0.1:8000/v1', 'COGNITORA_ENGINE_API_KEY'],
  ['--engine-url', 'https://:hunter2@engine.example', 'COGNITORA_ENGINE_API_KEY'],
  ['--edge', 'https://user:hunter2@edge.example', 'COGNITORA_JOIN_TOKEN'],
])('a secret in the URL of %s is refused and not repeated: %s', (option, url, instead) => {
  const parsing = () => parseConfig([...without(option), option, url], {});
  expect(parsing).toThrow(ConfigError);
  expect(parsing).toThrow(instead);
  expect(parsing).not.toThrow('hunter2');
});

test.each(['gpt', '=x', 'gpt=', '', `${'x'.repeat(257)}=m`, `m=${'x'.repeat(257)}`])(
  'the alias %j is refused',
  (pair) => {
    expect(() => parseAliases([pair])).toThrow(ConfigError);
  },
);

test('a token’s file goes before the environment, and must hold one', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'token');
  writeFileSync(file, 'cgj_file\n');
  const argv = [...needed, '--join-token-file', file];
  expect(parse(argv, { COGNITORA_JOIN_TOKEN: 'cgj_environment' }).joinToken).toBe('cgj_file');
  writeFileSync(file, '\n');
  expect(() => parse(argv)).toThrow('is empty');
});
