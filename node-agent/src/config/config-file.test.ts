import { expect, test } from 'vitest';
import { ConfigError } from './agent-config.ts';
import { ConfigFile } from './config-file.ts';

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
  const file = new ConfigFile('agent.toml', text);
  expect(file.lineOf(path)).toBe(line);
  expect(file.at(path)).toBe(`agent.toml:${line}`);
});

test('what is no TOML is told with its line', () => {
  const reading = () => new ConfigFile('agent.toml', 'a = 1\nb = [1,\n2\nc = 3\n');
  expect(reading).toThrow(ConfigError);
  expect(reading).toThrow(/^agent\.toml:[34]: /);
  expect(() => new ConfigFile('agent.toml', 'a = 1\na = 2\n')).toThrow('agent.toml:2: ');
});
