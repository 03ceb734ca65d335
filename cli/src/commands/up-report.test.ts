import { execFileSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { asCalled } from '../terminal.ts';
import { type Served, upReport } from './up-report.ts';

const served: Served = {
  url: 'http://127.0.0.1:8080',
  apiKey: 'cgk_key',
  model: 'm',
  surface: { path: '/v1/embeddings', example: { input: 'Hello' }, probe: {} },
  isToy: true,
  isUnnamed: false,
  dataDirectory: join(homedir(), '.cognitora'),
  port: 8_080,
  seconds: '1.0',
};

/** A command as a shell reads it. */
const wordsOf = (command: string): string[] =>
  execFileSync('sh', ['-c', `printf '%s\\n' ${command}`], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
/** The commands of a report: what stands from a program's name on, without the remark behind it. */
const commandsOf = (report: string, program: string): string[][] =>
  [...report.matchAll(new RegExp(`(?:^|  )(${program} (?:\\\\\\n|[^\\n])*)`, 'gm'))].map(([, command]) =>
    wordsOf(command?.replace(/ {2,}(?:downloaded|an engine).*/, '') ?? ''),
  );

test('with the default data directory the commands are short', () => {
  expect(upReport(served)).not.toContain('--data-dir');
  expect(upReport(served)).toContain('npm start -- --model hf:');
  expect(upReport({ ...served, isToy: false })).not.toMatch(/toy|npm start/);
});

test('with another data directory every command of this host names it, whatever characters it has', () => {
  const dataDirectory = `/tmp/it's a "dir" $HOME`;
  const option = ['--data-dir', dataDirectory];
  expect(commandsOf(upReport({ ...served, dataDirectory }), 'npm')).toEqual([
    ['npm', 'start', '--', ...option, '--model', 'hf:OWNER/REPO/FILE.gguf'],
    ['npm', 'start', '--', ...option, '--engine-url', 'http://127.0.0.1:8000', '--profile', 'vllm'],
    ['npm', 'run', 'cgn', '--', 'keys', 'join', ...option],
    ['npm', 'run', 'cgn', '--', 'keys', 'ls', ...option],
    ['npm', 'run', 'cgn', '--', 'nodes', ...option],
  ]);
});

test('the curl asks the surface that answered, and survives any name of a model', () => {
  const model = `it's "one" $HOME`;
  const [curl] = commandsOf(upReport({ ...served, model }), 'curl');
  expect(curl?.[2]).toBe('http://127.0.0.1:8080/v1/embeddings');
  expect(JSON.parse(curl?.at(-1) ?? '')).toEqual({ model, input: 'Hello' });
});

test('an engine of which nobody said what it is gets a word on what that costs; a named one does not', () => {
  expect(upReport({ ...served, isToy: false, isUnnamed: true })).toContain('--profile vllm');
  expect(upReport({ ...served, isToy: false })).not.toContain('--profile');
});

test('another port is kept by the hints of another start, and by them alone', () => {
  const report = upReport({ ...served, port: 9_000 });
  expect(report.match(/npm start -- --port 9000/g)).toHaveLength(2);
  expect(report.match(/--port/g)).toHaveLength(2);
});

test('where a release is installed its commands are cgn’s own', () => {
  const hint = 'Options go after "--": npm run -s cgn -- nodes --json.';
  expect(asCalled(hint)).toBe('Write it so: cgn nodes --json.');
  const told = asCalled(upReport({ ...served, port: 9_000 }));
  expect(told).not.toContain('npm');
  expect(told).toContain('cgn up --port 9000 --model hf:OWNER/REPO/FILE.gguf');
  expect(told).toContain('cgn keys join\n');
});
