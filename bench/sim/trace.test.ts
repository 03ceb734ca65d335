/** Reading traces: what is derived of good ones, and what is said of bad ones. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prefillMs } from './constants.ts';
import { readTrace } from './trace.ts';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'cognitora-trace-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const write = (name: string, bytes: string | Uint8Array): string => {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
};

const lineOf = (timestamp: number, input_length: number, hash_ids: readonly number[]): string =>
  JSON.stringify({ timestamp, input_length, output_length: 5, hash_ids });

const lines = [lineOf(50, 1100, [0, 1, 2]), lineOf(10, 700, [0, 3]), lineOf(90, 1024, [0, 1])].join('\n');

test('requests come in order of time, with the block size that fits, the ceiling and the work', () => {
  const trace = readTrace(write('three.jsonl', `${lines}\n\n`));
  expect(trace.name).toBe('three');
  expect(trace.requests.map(({ atMs }) => atMs)).toEqual([10, 50, 90]);
  expect([trace.blockTokens, trace.spanMs]).toEqual([512, 80]);
  expect(trace.ceiling).toBeCloseTo((512 + 1024) / (700 + 1100 + 1024), 9);
  const workMs = prefillMs(700, 700, 0) + prefillMs(1100, 1100, 0) + prefillMs(1024, 1024, 0);
  expect(trace.prefillWorkMs).toBeCloseTo(workMs, 9);
});

test('a compressed file reads the same', () => {
  const { requests } = readTrace(write('three.jsonl.gz', gzipSync(lines)));
  expect(requests).toEqual(readTrace(write('again.jsonl', lines)).requests);
});

test('what comes with the program reads, with the ceilings that its source has', () => {
  const ceilings = ['agentic_cc_A', 'agent_miniswe_b64'].map((name) => {
    const trace = readTrace(join(import.meta.dirname, 'fixtures', `${name}.packed.txt`));
    return [trace.requests.length, trace.blockTokens, trace.ceiling.toFixed(3)];
  });
  expect(ceilings).toEqual([
    [6557, 512, '0.958'],
    [402, 64, '0.932'],
  ]);
});

test.each([
  ['no JSON', '{"timestamp":1', /bad\.jsonl: line 1: not a JSON object/],
  ['a missing length', '{"timestamp":1,"output_length":3}', /line 1: "input_length" must be a number/],
  ['wrong ids', '{"timestamp":1,"input_length":3,"output_length":3,"hash_ids":["a"]}', /list of integers/],
  ['no lines', '\n', /the trace is empty/],
  ['lengths that no block size fits', lineOf(0, 100_000, [1, 2]), /no block size fits/],
])('%s is told with file and line', (_, text, expected) => {
  expect(() => readTrace(write('bad.jsonl', text))).toThrow(expected);
});
