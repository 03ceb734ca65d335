import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { expect, onTestFinished, test } from 'vitest';
import { describeOptions } from './describe.ts';
import { kvcachedHelp } from './help.ts';
import { parseOptions } from './parse.ts';

const nowhere = '/nonexistent/kvcached.toml';

const parsedOf = (line: string, environment: NodeJS.ProcessEnv = {}, hostsOwn = nowhere) => {
  const argv = line.split(' ').filter((word) => word !== '');
  const parsed = parseOptions(argv, environment, hostsOwn);
  if (parsed === 'help') throw new Error('help');
  return parsed;
};
const parse = (line: string, environment: NodeJS.ProcessEnv = {}) => parsedOf(line, environment).options;

const newDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-options-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

const written = (text: string): string => {
  const path = join(newDirectory(), 'kvcached.toml');
  writeFileSync(path, text);
  return path;
};

const parseFile = (text: string, line = '', environment: NodeJS.ProcessEnv = {}) =>
  parse(`--config ${written(text)} ${line}`, environment);

test('nothing must be said', () => {
  const data = join(homedir(), '.cognitora', 'kvcached');
  expect(parse('')).toEqual({
    dataDirectory: data,
    ramBytesMax: 2 ** 30,
    ssd: { directory: join(data, 'segments'), bytesMax: 16 * 2 ** 30 },
    resp: [{ host: '127.0.0.1', port: 6379 }],
    status: { host: '127.0.0.1', port: 6380 },
    password: undefined,
    socket: join(data, 'kvcached.sock'),
    ttlMs: undefined,
    peers: undefined,
    namespaces: [],
    mirrors: [],
  });
});

test('a file says all of it, and options and variables go before it', () => {
  const text = `
    data_dir = "/d"
    ram = "2GiB"
    disk = "0"
    listen = ["[::1]:1", "/run/kv.sock"]
    status = "off"
    socket = "/run/kvcached.sock"
    identity = "/d/key"
    ttl = "2d"
    [peers]
    listen = ["0.0.0.0:6381"]
    advertise = ["kv7.example:6381"]
    bandwidth_max = "500MiB/s"
    [[namespace]]
    database = 3
    fields = { model = "m", dtype = "fp8", block_tokens = 256, more = { seed = 0 } }
    [[mirror]]
    directory = "/var/lib/engine/kv/"
    max_bytes = "100GiB"
    replicate = true
    [mirror.fields]
    model = "m"
    hash_algorithm = "sha256"`;
  expect(parseFile(text)).toEqual({
    dataDirectory: '/d',
    ramBytesMax: 2 * 2 ** 30,
    ssd: undefined,
    resp: [{ host: '::1', port: 1 }, { path: '/run/kv.sock' }],
    status: undefined,
    password: undefined,
    socket: '/run/kvcached.sock',
    ttlMs: 2 * 24 * 3_600_000,
    peers: {
      listen: [{ host: '0.0.0.0', port: 6381 }],
      advertise: [{ host: 'kv7.example', port: 6381 }],
      bytesPerSecondMax: 500 * 2 ** 20,
      identity: '/d/key',
    },
    namespaces: [{ database: 3, fields: { model: 'm', dtype: 'fp8', blockTokens: 256, more: { seed: 0 } } }],
    mirrors: [
      {
        directory: '/var/lib/engine/kv',
        bytesMax: 100 * 2 ** 30,
        isReplicated: true,
        fields: { model: 'm', hashAlgorithm: 'sha256' },
      },
    ],
  });
  const before = parseFile(text, '--ram 3GiB --listen 127.0.0.1:7,/run/a.sock', {
    COGNITORA_KV_RAM: '4GiB',
    COGNITORA_KV_PEERS_BANDWIDTH_MAX: '1MiB/s',
  });
  expect(before.ramBytesMax).toBe(3 * 2 ** 30);
  expect(before.resp).toEqual([{ host: '127.0.0.1', port: 7 }, { path: '/run/a.sock' }]);
  expect(before.peers?.bytesPerSecondMax).toBe(2 ** 20);
  expect(parseFile('ram = "2GiB"', '', { COGNITORA_KV_RAM: '4GiB' }).ramBytesMax).toBe(4 * 2 ** 30);
});

test('the file is the one that is named, or the host has; a named one must be there', () => {
  const hostsOwn = written('ram = "2GiB"');
  expect(parsedOf('', {}, hostsOwn)).toMatchObject({ path: hostsOwn, options: { ramBytesMax: 2 * 2 ** 30 } });
  const other = written('ram = "3GiB"');
  expect(parsedOf('', { COGNITORA_KV_CONFIG: other }, hostsOwn).options.ramBytesMax).toBe(3 * 2 ** 30);
  expect(() => parse('--config /nowhere.toml')).toThrow('/nowhere.toml cannot be read: ENOENT');
});

test.each([
  ['--ram 4', '--ram must be a size such as "4GiB", at least "64MiB", not "4".'],
  ['--ram 1MiB', 'at least "64MiB"'],
  ['--disk 1MiB', '--disk must be a size such as "4GiB", at least "1GiB", or "0" for none, not "1MiB".'],
  ['--disk big', 'not "big"'],
  ['--listen 6379', '--listen must be a list of addresses'],
  ['--listen example.org:6379', '--listen must be a list of addresses'],
  ['--advertise a:1,b:1,c:1,d:1,e:1', '--advertise must be a list such as'],
  ['--listen 127.0.0.1:99999', '--listen must be a list of addresses'],
  ['--listen 0.0.0.0:6379', 'listen = "0.0.0.0:6379" can be reached from other hosts'],
  ['--listen 127.0.0.1:1,0.0.0.0:6379', 'give clients a password'],
  ['--status 0.0.0.0:6380', 'status = "0.0.0.0:6380" can be reached from other hosts: take 127.0.0.1.'],
  ['--password-file /nowhere', 'the file /nowhere cannot be read'],
  ['--password x', "Unknown option '--password'"],
  ['--advertise kv7.example:1', 'advertise in [peers] means nothing without listen'],
  ['--bandwidth-max 1MiB', '--bandwidth-max must be bytes a second such as "100MiB/s"'],
  ['--ttl 3', '--ttl must be a time from "1s" to "20d"'],
])('%j is an error that says what is possible', (line, complaint) => {
  expect(() => parse(line)).toThrow(ConfigError);
  expect(() => parse(line)).toThrow(complaint);
});

test.each([
  [
    'rma = "2GiB"',
    /kvcached\.toml:1: there is no key "rma".*the nearest known one is "ram".*docs\/kvcached-config\.md/,
  ],
  ['[peer]\nlisten = []', /the nearest known one is \[peers\]/],
  ['[[namespaces]]\ndatabase = 1', /the nearest known one is \[\[namespace\]\]/],
  ['bandwidth_max = "1MiB/s"', /it belongs in \[peers\]/],
  ['password = "x"', /looks like a secret.*password_file = "\/etc\/cognitora\/password"/],
  ['listen = "127.0.0.1:1"', /kvcached\.toml:1: listen must be a list/],
  ['[[namespace]]\ndatabase = 1', /kvcached\.toml:1: "fields" in \[\[namespace\]\] is missing/],
  [
    '[[namespace]]\ndatabase = 16\nfields = { model = "m" }',
    /:2: database must be a whole number from 0 to 15/,
  ],
  ['[[namespace]]\ndatabase = 1\nfields = { dtype = "m" }', /:3: "model" in fields is missing/],
  [
    '[[namespace]]\ndatabase = 1\nfields = { model = "m", dytpe = "x" }',
    /:3: there is no key "dytpe" in fields; .*"dtype"/,
  ],
  ['[namespace]\ndatabase = 1', /each namespace is an entry of its own: \[\[namespace\]\]/],
  ['[[mirror]]\ndirectory = "kv"\nfields = { model = "m" }', /:2: directory must be the absolute path/],
])('%j in the file is an error with its line', (text, complaint) => {
  expect(() => parseFile(text)).toThrow(complaint);
});

test('a database has one namespace, and mirrors do not overlap', () => {
  const twice = '[[namespace]]\ndatabase = 1\nfields = { model = "m" }\n'.repeat(2);
  expect(() => parseFile(twice)).toThrow(/:5: database 1 has a \[\[namespace\]\] already/);
  const mirror = (directory: string) => `[[mirror]]\ndirectory = "${directory}"\nfields = { model = "m" }\n`;
  expect(() => parseFile(mirror('/a/b') + mirror('/a'))).toThrow(/:5: \/a and \/a\/b overlap/);
  expect(parseFile(mirror('/a/b') + mirror('/a/bc')).mirrors).toHaveLength(2);
});

test('files of other hosts come into a directory that has a bound, and from peers', () => {
  const mirror = '[[mirror]]\ndirectory = "/a"\nfields = { model = "m" }\n';
  expect(parseFile(mirror).mirrors[0]).toMatchObject({ isReplicated: false });
  expect(() => parseFile(`${mirror}replicate = true\n`)).toThrow(
    /:4: replicate needs max_bytes, .*set max_bytes =/,
  );
  const replicated = `${mirror}replicate = true\nmax_bytes = "64MiB"\n`;
  expect(() => parseFile(replicated)).toThrow(/\/a means nothing without peers: --peers/);
  expect(parseFile(replicated, '--peers 127.0.0.1:1').mirrors[0]).toMatchObject({ isReplicated: true });
});

test('all that is wrong is told at once, each with its line', () => {
  const text =
    'ram = 4\nstatsu = "off"\n[peers]\nlisten = ["x"]\n[[namespace]]\ndatabase = 99\nfields = { model = 1 }\n';
  expect(() => parseFile(text)).toThrow(
    /:2: there is no key "statsu".*\n.*:1: ram must .*\n.*:4: listen must .*\n.*:6: database must .*\n.*:7: model must/,
  );
  expect(() => parse('--ram 1 --disk 2')).toThrow(/--ram must be .*\n--disk must be/);
});

test('a key that is none hides no wrong value, nor does a wrong value hide what two have to do with each other', () => {
  const text = 'rma = "1GiB"\nttl = "3"\nstatus = "0.0.0.0:1"\n[peers]\nlsiten = []\nbandwidth_max = "1"\n';
  expect(() => parseFile(text)).toThrow(
    /no key "rma".*\n.*ttl must be .*\nstatus = "0\.0\.0\.0:1" can be .*\n.*"lsiten".*\n.*bandwidth_max must be/,
  );
  expect(() => parseFile('[[mirror]]\ndirectory = "x"\nfields = { model = 1 }')).toThrow(
    /directory must be .*\n.*model must be/,
  );
});

test('an empty list can be said as an option, and what was typed is told', () => {
  expect(parseOptions(['--listen', ''], {}, nowhere)).toMatchObject({ options: { resp: [] } });
  expect(() => parse('--peers 6381')).toThrow(
    '--peers must be a list of addresses such as "10.0.0.7:6381", not "6381".',
  );
});

test('a path that begins with ~/ lies in the home directory, a socket in a list too', () => {
  const { dataDirectory, resp, mirrors } = parseFile(
    'data_dir = "~/kv"\nlisten = ["~/r.sock"]\n[[mirror]]\ndirectory = "~/m"\nfields = { model = "m" }',
  );
  expect(dataDirectory).toBe(join(homedir(), 'kv'));
  expect(resp).toEqual([{ path: join(homedir(), 'r.sock') }]);
  expect(mirrors[0]?.directory).toBe(join(homedir(), 'm'));
});

test('the password comes from a file or the environment, and is not shown', () => {
  const directory = newDirectory();
  writeFileSync(join(directory, 'p'), 'sesame\n');
  writeFileSync(join(directory, 'empty'), '\n');
  expect(parse(`--listen 0.0.0.0:1 --password-file ${directory}/p`).password).toBe('sesame');
  expect(parse('', { COGNITORA_KV_PASSWORD: 'open' }).password).toBe('open');
  expect(parseFile(`password_file = "${directory}/p"`, '', { COGNITORA_KV_PASSWORD: 'open' }).password).toBe(
    'open',
  );
  expect(() => parse(`--password-file ${directory}/empty`)).toThrow('is empty');
  const shown = describeOptions(parsedOf(`--password-file ${directory}/p --check-config`));
  expect(shown).toContain('given');
  expect(shown).not.toContain('sesame');
});

test('the help has each option, within its bound', () => {
  const help = kvcachedHelp();
  for (const option of ['--ram SIZE', '--peers LIST', '--check-config', 'COGNITORA_KV_PASSWORD']) {
    expect(help).toContain(option);
  }
  expect(Math.max(...help.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(112);
});
