import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { ConfigFile } from '@cognitora/protocol/config/config-file';
import { parse } from 'smol-toml';
import { expect, onTestFinished, test, vi } from 'vitest';
import { configHost } from './config-host.ts';

const { toml } = configHost;

vi.mock('smol-toml', async (original) => {
  const toml = await original<typeof import('smol-toml')>();
  return { ...toml, parse: vi.fn(toml.parse) };
});

const text = `# a comment with key = "value"
first = 1

many = [
  "of", # second = 2
  "lines"
]
words = """
third = 3
"""
[table]
inner.dotted = true
inline = { a = 1, b = { c = 2 } }

[[entry]]
name = "one"
[[entry]]

name = "two"
[entry.sub]
last = 0`;

test.each([
  [['first'], 2],
  [['many'], 4],
  [['words'], 8],
  [['table'], 11],
  [['table', 'inner', 'dotted'], 12],
  [['table', 'inline', 'b', 'c'], 13],
  [['entry', 0], 15],
  [['entry', 0, 'name'], 16],
  [['entry', 1], 17],
  [['entry', 1, 'name'], 19],
  [['entry', 1, 'sub', 'last'], 21],
  [['nowhere'], 1],
])('the key %j stands on line %i', (path, line) => {
  const file = new ConfigFile('agent.toml', text, toml);
  expect(file.lineOf(path)).toBe(line);
  expect(file.at(path)).toBe(`agent.toml:${line}`);
});

test('what is no TOML is told with its line', () => {
  const reading = () => new ConfigFile('agent.toml', 'a = 1\nb = [1,\n2\nc = 3\n', toml);
  expect(reading).toThrow(ConfigError);
  expect(reading).toThrow(/^agent\.toml:[34]: /);
  expect(() => new ConfigFile('agent.toml', 'a = 1\na = 2\n', toml)).toThrow('agent.toml:2: ');
});

test('in the longest file a line is found by reading a few parts of it', () => {
  const entries = 3_000;
  const long = Array.from({ length: entries }, (_, at) => `[[entry]]\nname = "${at}"\nlist = [\n  1,\n]\n`);
  const file = new ConfigFile('agent.toml', long.join(''), toml);
  vi.mocked(parse).mockClear();
  for (const at of [0, 1, 1_499, 1_500, entries - 1]) {
    expect(file.lineOf(['entry', at, 'list'])).toBe(5 * at + 3);
  }
  expect(file.lineOf(['entry', entries])).toBe(1);
  expect(vi.mocked(parse).mock.calls.length).toBeLessThan(5 * 60);
});

test('a statement that is the whole file is found where it begins', () => {
  const file = new ConfigFile('agent.toml', `# first\nlist = [\n${'  1,\n'.repeat(500)}]\n`, toml);
  expect(file.lineOf(['list'])).toBe(2);
});

test('what is no file is refused, and nobody waits for it; /dev/null is an empty one', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-config-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [pipe, directory]) {
    expect(() => ConfigFile.read(path, configHost)).toThrow(
      new ConfigError(`The configuration file ${path} is no file.`),
    );
  }
  expect(ConfigFile.read('/dev/null', configHost).table).toEqual({});
});
