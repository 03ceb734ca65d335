import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { replicasPerNodeMax } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test } from 'vitest';
import { knownProfiles } from '../engines/known-profiles.ts';
import { timeoutsDefault } from '../engines/timeouts.ts';
import { describeConfig } from './describe.ts';
import { agentHelp } from './help.ts';
import { parseAliases } from './options.ts';
import { parseConfig } from './parse.ts';

const needed = ['--edge', 'https://edge.example', '--engine-url', 'http://127.0.0.1:8000'];
const [joinToken, otherToken] = [1, 2].map(
  (byte) => `cgj_${Buffer.alloc(32, byte).toString('base64url')}`,
) as [string, string];

const options = { profiles: knownProfiles, hostsOwn: '/nonexistent/agent.toml' };

const parse = (argv: readonly string[], environment: NodeJS.ProcessEnv = {}) => {
  const parsed = parseConfig(argv, environment, options);
  if (parsed === 'help') throw new Error('help');
  return parsed.config;
};

const newDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
};

/** A file with that text. */
const written = (text: string, name = 'agent.toml'): string => {
  const path = join(newDirectory(), name);
  writeFileSync(path, text);
  return path;
};

const wholeFile = `edge = "https://file.example"
region = "weur"

[log]
level = "warn"

[[engine]]
profile = "vllm"
url = "http://127.0.0.1:8000"
`;

const parseFile = (text: string, environment: NodeJS.ProcessEnv = {}, argv: readonly string[] = []) =>
  parse(['--config', written(text), ...argv], environment);

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
        source: {
          kind: 'attached',
          url: new URL('http://127.0.0.1:8000'),
          kvEvents: undefined,
          gpus: [],
          kvDirectory: undefined,
        },
        aliases: new Map(),
        timeouts: timeoutsDefault,
        apiKey: undefined,
      },
    ],
    joinToken: undefined,
    kvHandover: undefined,
    kvcached: undefined,
    log: { format: 'auto', level: 'info' },
    status: { host: '127.0.0.1', port: 0 },
    parentPipe: undefined,
  });
});

test('KV moves through one directory, from a directory of each engine', () => {
  const more = ['--kv-handover', '/mnt/kv', '--engine-url', 'http://127.0.0.1:8001', '--kv-directory', '/a'];
  const { engines, kvHandover } = parse([...needed, ...more]);
  expect(kvHandover).toBe('/mnt/kv');
  expect(engines.map(({ source }) => source.kvDirectory)).toEqual(['/a', undefined]);
  expect(() => parse([...needed, '--kv-directory', '/a', '--kv-directory', '/b'])).toThrow(/at most one/);
});

test('KV moves through the daemon of the host, or through a directory', () => {
  expect(parse([...needed, '--kvcached', '/run/kvcached.sock']).kvcached).toBe('/run/kvcached.sock');
  const both = ['--kvcached', '/run/kvcached.sock', '--kv-handover', '/mnt/kv'];
  expect(() => parse([...needed, ...both])).toThrow(/kv_handover.*kvcached.*leave one out/);
});

test('what an engine is belongs to the engines in their order', () => {
  const { engines } = parse([...needed, '--engine-url', 'http://b:1', '--profile', 'embedded']);
  expect(engines.map(({ profile }) => profile)).toEqual(['embedded', 'openai']);
  expect(() => parse([...needed, '--profile', 'embeded'])).toThrow(/^--profile.*the nearest is "embedded"/);
  expect(() => parse([...needed, '--profile', 'vllm', '--profile', 'vllm'])).toThrow(
    '--profile is at most one',
  );
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
    COGNITORA_JOIN_TOKEN: ` ${joinToken} `,
    COGNITORA_ENGINE_API_KEY: 'sk',
    COGNITORA_PARENT_PIPE: '1',
  });
  expect(config).toMatchObject({
    region: 'weur',
    name: 'host',
    dataDirectory: '/d',
    joinToken,
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
  expect(parseConfig(['--help', '--edge', 'x'], {}, options)).toBe('help');
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
  ['--name must be a name', [...needed, '--name', '']],
  ['--join-token', [...needed, '--join-token', 'cgj_x']],
  ['cgn agent --help', [...needed, '--unknown']],
  ['cgn agent --help', [...needed, 'positional']],
  ['cannot be read', [...needed, '--join-token-file', '/']],
])('a wrong option names the fix: %s', (words, argv) => {
  const parsing = () => parseConfig(argv, {}, options);
  expect(parsing).toThrow(ConfigError);
  expect(parsing).toThrow(words);
});

test('a value whose option npm kept is said with what npm wants, where npm runs it, and only there', () => {
  const parsing = (script: string) => () =>
    parseConfig([...needed, 'positional'], { npm_lifecycle_event: script }, options);
  expect(parsing('cgn')).toThrow('Options go after "--": npm run cgn -- agent --edge URL.');
  expect(parsing('')).not.toThrow('npm');
});

test.each([
  ['--engine-url', 'http://user:hunter2@127.0.0.1:8000', 'COGNITORA_ENGINE_API_KEY'],
  ['--engine-url', 'http://hunter2@127.0.0.1:8000/v1', 'COGNITORA_ENGINE_API_KEY'],
  ['--engine-url', 'https://:hunter2@engine.example', 'COGNITORA_ENGINE_API_KEY'],
  ['--edge', 'https://user:hunter2@edge.example', 'COGNITORA_JOIN_TOKEN'],
  ['--edge', 'https://user:hunter2@', 'COGNITORA_JOIN_TOKEN'],
])('a secret in the URL of %s is refused and not repeated: %s', (option, url, instead) => {
  const parsing = () => parseConfig([...without(option), option, url], {}, options);
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
  const file = written(`${otherToken}\n`, 'token');
  const argv = [...needed, '--join-token-file', file];
  expect(parse(argv, { COGNITORA_JOIN_TOKEN: joinToken }).joinToken).toBe(otherToken);
  writeFileSync(file, '\n');
  expect(() => parse(argv)).toThrow('is empty');
});

test.each([
  ['of another kind', joinToken.replace('cgj_', 'cgk_')],
  ['cut short', joinToken.slice(0, -1)],
  ['with a space in it', `${joinToken.slice(0, 20)} ${joinToken.slice(20)}`],
  ['with more lines behind it', `${joinToken}\n\nFor 16 host(s)`],
  ['that is prose', 'hunter2'],
])('a join token %s is refused where it is given, and not repeated', (_, token) => {
  const file = written(token, 'token');
  for (const [argv, environment, from] of [
    [needed, { COGNITORA_JOIN_TOKEN: token }, 'COGNITORA_JOIN_TOKEN'],
    [[...needed, '--join-token-file', file], {}, file],
  ] as const) {
    const parsing = () => parse(argv, environment);
    expect(parsing).toThrow(`${from} holds no join token: that is "cgj_" and 43 letters`);
    expect(parsing).not.toThrow(token);
  }
});

test('a token’s file that is gone stops nobody: an enrolled host needs none', () => {
  const path = join(newDirectory(), 'gone');
  const config = parseFile(`join_token_file = "${path}"\n${wholeFile}`);
  expect(config).toMatchObject({ joinToken: undefined, joinTokenMissing: path });
  expect(describeConfig({ config, path: undefined }, knownProfiles)).toContain(
    `${path} is not there; needed only for the first start\n`,
  );
  const withVariable = parse(needed, { COGNITORA_JOIN_TOKEN_FILE: path, COGNITORA_JOIN_TOKEN: joinToken });
  expect(withVariable).toMatchObject({ joinToken });
  expect(withVariable.joinTokenMissing).toBeUndefined();
});

test('an option goes before a variable, a variable before the file, the file before the default', () => {
  const file = written(wholeFile);
  const variables = { COGNITORA_REGION: 'enam', COGNITORA_LOG_LEVEL: 'error', COGNITORA_CONFIG: file };
  expect(parse([], { COGNITORA_CONFIG: file })).toMatchObject({
    edge: new URL('https://file.example'),
    region: 'weur',
    log: { format: 'auto', level: 'warn' },
  });
  expect(parse([], variables)).toMatchObject({ region: 'enam', log: { level: 'error' } });
  expect(parse(['--region', 'apac'], variables)).toMatchObject({ region: 'apac' });
});

test('the host’s own file is read where none is named, if it is there', () => {
  const hostsOwn = written(wholeFile);
  const parsed = parseConfig([], {}, { ...options, hostsOwn });
  expect(parsed).toMatchObject({ path: hostsOwn, config: { region: 'weur' } });
  expect(parseConfig(['--config', '/dev/null', ...needed], {}, { ...options, hostsOwn })).toMatchObject({
    config: { region: undefined },
  });
});

test('engines that options name go before all of the file’s', () => {
  const { engines } = parseFile(wholeFile, {}, ['--engine-url', 'http://other:1']);
  expect(engines).toMatchObject([{ profile: 'openai', source: { url: new URL('http://other:1') } }]);
});

test.each([
  ['an unknown key', wholeFile.replace('region', 'regoin'), ':2: there is no key "regoin"', 'is "region"'],
  ['in a table', wholeFile.replace('level', 'lvl'), ':5: there is no key "lvl" in [log]', 'is "level"'],
  ['an unknown table', `${wholeFile}[stats]\nlisten = "off"\n`, ':10: there is no key "stats"', 'nearest'],
  ['of an engine', `${wholeFile}gpu = [0]\n`, ':10: there is no key "gpu" in [[engine]]', 'is "gpus"'],
  [
    'below a table',
    `${wholeFile}edge = "http://x"\n`,
    ':10: there is no key "edge"',
    'at the top of the file',
  ],
  ['a wrong type', wholeFile.replace('"weur"', '7'), ':2: region must be a lower-case name', 'not 7'],
  ['a wrong word', wholeFile.replace('"warn"', '"warning"'), ':5: level must be one of', '"warn", "error"'],
  ['no TOML', `${wholeFile}url =\n`, ':10: ', ''],
  ['a value for a table', 'log = 1\n', ':1: "log" must be a table', '[log]'],
  ['a table for engines', '[engine]\nprofile = "vllm"\n', ':1: each engine', '[[engine]]'],
])('a wrong file is told with its line and the fix: %s', (_, text, where, fix) => {
  const path = written(text);
  const parsing = () => parse(['--config', path, ...(text.includes('edge') ? [] : ['--edge', 'http://x'])]);
  expect(parsing).toThrow(ConfigError);
  expect(parsing).toThrow(`${path}${where}`);
  expect(parsing).toThrow(fix);
});

test('a file that is missing, or no configuration at all, is told', () => {
  expect(() => parse(['--config', '/nonexistent/agent.toml'])).toThrow('cannot be read: ENOENT');
  expect(() => parse(['--config', '/dev/zero'])).toThrow('is longer than');
});

test.each([
  ['join_token = "cgj_hunter2"\n', 'join_token_file = '],
  ['api_key = "hunter2"\n', '_file = '],
])('a secret in the file is refused and not repeated: %s', (line, fix) => {
  const parsing = () => parseFile(line + wholeFile);
  expect(parsing).toThrow(fix);
  expect(parsing).not.toThrow('hunter2');
});

test('where the agent tells of itself is loopback unless other hosts are let in', () => {
  const status = (table: string) => parseFile(`${wholeFile}[status]\n${table}`).status;
  expect(status('listen = "[::1]:9400"')).toEqual({ host: '::1', port: 9400 });
  expect(status('listen = "off"')).toBeUndefined();
  expect(status('listen = "0.0.0.0:1"\nallow_remote = true')).toEqual({ host: '0.0.0.0', port: 1 });
  for (const remote of ['0.0.0.0:9400', '[::]:9400', '10.0.0.1:0', '128.0.0.1:1']) {
    expect(() => status(`listen = "${remote}"`)).toThrow('allow_remote = true');
  }
  for (const wrong of ['127.0.0.1', '127.0.0.1:70000', '::1:80', '1.2.3:4', 'rack-7:1', '']) {
    expect(() => status(`listen = "${wrong}"`)).toThrow('listen must be an address and a port');
  }
});

test('a configuration is shown without its secrets', () => {
  const key = written('sk-hunter2', 'key');
  const token = written(joinToken, 'token');
  const config = parseFile(`join_token_file = "${token}"\n${wholeFile}api_key_file = "${key}"\n`);
  const shown = describeConfig({ config, path: 'agent.toml' }, knownProfiles);
  expect(config.engines[0]?.apiKey).toBe('sk-hunter2');
  expect(shown).toContain('vllm, runs at http://127.0.0.1:8000');
  expect(shown).not.toContain('hunter2');
  expect(shown).not.toContain(joinToken);
});

test('an engine to start is shown as it would be run', () => {
  const config = parseFile(
    `${wholeFile.replace(/url = .*/, 'model = "qwen"')}arguments = ["--a b"]\ngpus = [1]\n`,
  );
  const shown = describeConfig({ config, path: undefined }, knownProfiles);
  expect(shown).toMatch(/^r0 +vllm, started with qwen\n +GPUs 1\n +runs .* "qwen" .* "--a b"$/m);
});

test('what moves KV is shown, and which engines leave it out', () => {
  const engine = (text: string): string => `[[engine]]\n${text}\n`;
  const slots = 'profile = "llama-cpp"\nurl = "http://127.0.0.1:1"';
  const config = parseFile(
    'edge = "http://x"\nkvcached = "~/kv.sock"\n' +
      engine(`${slots}\nkv_directory = "/slots"`) +
      engine(slots.replace(':1', ':2')) +
      engine('profile = "vllm"\nurl = "http://127.0.0.1:3"\nkv_directory = "/kv"'),
  );
  const shown = describeConfig({ config, path: undefined }, knownProfiles);
  expect(shown).toMatch(/^kvcached +\/.*\/kv\.sock$/m);
  expect(shown).toMatch(/^ +kv_directory \/slots$/m);
  expect(shown).toMatch(/:2\n.*\n +no kv_directory: its KV is not handed over/);
  expect(shown).toMatch(/ kv_directory \/kv does nothing: a running vllm/);
  const alone = parseFile(`edge = "http://x"\n${engine(slots)}`);
  expect(describeConfig({ config: alone, path: undefined }, knownProfiles)).not.toContain('kv_directory');
});

test('the help names every option and where the keys are described', () => {
  for (const words of ['--config FILE', '--check-config', '--edge URL', '--data-dir DIR', '--alias']) {
    expect(agentHelp()).toContain(words);
  }
  expect(agentHelp()).toContain('docs/agent-config.md');
});

test('all that is wrong in a table is told at once, each with its line', () => {
  const reading = () =>
    parseFile(wholeFile.replace('region = "weur"', 'region = "W!"\nnmae = "x"\nedgee = 1'));
  expect(reading).toThrow(
    /agent\.toml:3: there is no key "nmae".*\n.*agent\.toml:4: there is no key "edgee"/,
  );
  const values = () => parseFile(wholeFile.replace('region = "weur"', 'region = "W!"\nname = 7'));
  expect(values).toThrow(/agent\.toml:2: region must be .*\n.*agent\.toml:3: name must be /);
});
