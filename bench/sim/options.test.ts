/** What the command line stands for, and that each complaint tells what to write instead. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseOptions, tracesVariable, UsageError } from './options.ts';

const fixture = join(import.meta.dirname, 'fixtures/agent_miniswe_b64.packed.txt');

test('without anything: all policies on the traces that come with the program, on 16 nodes', () => {
  const { traceFiles, policies, nodes, loads, cells, capacityBlocks } = parseOptions([], {});
  expect(traceFiles).toHaveLength(2);
  expect(policies.map(({ name }) => name)).toContain('scorer');
  expect({ nodes, loads, cells, capacityBlocks }).toEqual({
    ...{ nodes: [16], loads: ['usual'], cells: [1], capacityBlocks: 8192 },
  });
});

test('lists are taken apart', () => {
  const args = ['--nodes', '4, 16', '--load', 'past,0.8', '--seed', '1,2', '--policy', 'random,kv-cost'];
  const { nodes, loads, seeds, policies } = parseOptions([...args, '--trace', fixture], {});
  expect({ nodes, loads, seeds }).toEqual({ nodes: [4, 16], loads: ['past', 0.8], seeds: [1, 2] });
  expect(policies.map(({ name }) => name)).toEqual(['random', 'kv-cost']);
});

test('digests are as long as the edge’s, unless told otherwise', () => {
  const digestTokensOf = (...args: readonly string[]) => parseOptions(args, {}).digestTokens;
  expect(digestTokensOf()).toBe(64);
  expect(digestTokensOf('--digest-tokens', '512')).toBe(512);
});

test('the environment names a directory of traces, and a file on the command line goes first', () => {
  const environment = { [tracesVariable]: join(import.meta.dirname, 'fixtures') };
  expect(parseOptions([], environment).traceFiles).toContain(fixture);
  expect(parseOptions(['--trace', fixture], environment).traceFiles).toEqual([fixture]);
});

test.each([
  [['--polcy', 'random'], /'--polcy'[\s\S]*--policy/],
  [['--policy', 'best'], /"best" is not known: choose from predicted-latency, /],
  [['--trace', 'none.jsonl'], /no file none\.jsonl\. Give the path/],
  [['--traces', 'nowhere'], /no directory nowhere\. Name one/],
  [['--traces', join(import.meta.dirname, 'peers')], /holds no \.jsonl or \.jsonl\.gz/],
  [['--nodes', '0'], /--nodes takes whole numbers from 1 on, not "0"/],
  [['--load', 'full'], /"usual" or "past" \(1\.4 \/ \(1 - ceiling\)\), not "full"/],
  [['--nodes', '256'], /at most 64 replicas: --nodes 256 needs --cells 4 or more/],
  [['--nodes', '2', '--cells', '3'], /--cells 3 is more than --nodes 2/],
  [['--seed', ''], /--seed needs a value/],
])('%j is refused with what to do', (args, expected) => {
  expect(() => parseOptions(args, {})).toThrow(UsageError);
  expect(() => parseOptions(args, {})).toThrow(expected);
});

test('a directory that the environment names and that is not there is told by its name', () => {
  expect(() => parseOptions([], { [tracesVariable]: '/nowhere' })).toThrow(/COGNITORA_TRACES: there is no/);
});
