/**
 * `cgn up` as a person runs it: what it prints is read, pasted into a shell, and does what it says. With the toy; with
 * a model of the hub, whose place a small one of ours takes; and with a file of one's own.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildTiny } from '../../embedded-engine/src/models/tiny.ts';
import { Hub } from '../../embedded-engine/src/testing/hub.ts';
import { leftoversOf } from '../harness/leftovers.ts';
import { until } from '../harness/until.ts';
import { startUpByHand, temporaryDirectory, type Up } from './run-cgn.ts';

const root = resolve(import.meta.dirname, '../..');
const hasCurl = (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, 'curl')));

/** Runs a command in the repository, as pasted there. */
const paste = async (command: string): Promise<string> =>
  (
    await promisify(execFile)('sh', ['-c', command], {
      ...{ cwd: root, timeout: 60_000 },
      env: { ...process.env, PATH: `${join(root, 'bin')}:${process.env.PATH}` },
    })
  ).stdout;

/** The first command of the text that begins so, whole. */
const commandIn = (text: string, beginning: string): string => {
  const from = text.indexOf(`  ${beginning}`);
  const [command = ''] = /^(?:[^\n]*\\\n)*[^\n]*/.exec(text.slice(from + 2)) ?? [];
  expect(command.startsWith(beginning)).toBe(true);
  return command;
};

/** Checks that a pasted `curl` streamed a whole answer. A toy with random weights may say very little. */
const expectStreamed = (answer: string): void => {
  const events = answer.split('\n\n').filter((event) => event.startsWith('data: '));
  expect(events.pop()).toBe('data: [DONE]');
  const chunks = events.map((event) => JSON.parse(event.slice('data: '.length)));
  expect(chunks.map(({ object }) => object)).toEqual(chunks.map(() => 'chat.completion.chunk'));
  expect(chunks.map(({ choices }) => choices[0]?.finish_reason)).toContainEqual(
    expect.stringMatching(/^(?:stop|length)$/),
  );
};

const stop = async (up: Up): Promise<void> => {
  up.signal('SIGINT');
  expect(await up.exited).toBe(0);
  expect(leftoversOf(up.directory)).toEqual([]);
};

describe('the toy', () => {
  const directory = temporaryDirectory();
  let up: Up;
  let text = '';
  beforeAll(async () => {
    up = await startUpByHand(directory);
    text = await up.readyInWords();
  });
  afterAll(() => up.down());

  test('says what it serves, where, with which key, that it is a toy, and how to get a real model', () => {
    expect(text).toMatch(/^\nCognitora serves tiny \(ready after \d+\.\d s\)\n/);
    expect(text).toMatch(/^ {2}endpoint {2}http:\/\/127\.0\.0\.1:\d+\/v1$/m);
    expect(text).toMatch(/^ {2}API key {3}cgk_\S+$/m);
    expect(text).toContain('tiny is a toy with random weights');
    const next = commandIn(text, '  cgn up');
    expect(next).toContain(` --data-dir ${directory} `);
    expect(next).toContain(' --model hf:OWNER/REPO/FILE.gguf');
  });

  test('tells its progress on standard error, a step at a time, and nothing else', () => {
    const lines = up.said.errors.trimEnd().split('\n');
    for (const line of lines) expect(line).toMatch(/^ {2}(?:edge|engine|agent|model) +\S/);
    const steps = lines.map((line) => line.trim().replaceAll(/ +/g, ' '));
    expect(steps).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^edge listens at http/),
        expect.stringMatching(/^engine generated the toy model/),
        expect.stringMatching(/^engine serving "tiny"/),
        'agent linked to the edge',
        'model tiny: waiting for the first answer',
        'model tiny answers',
      ]),
    );
    expect(new Set(steps).size).toBe(steps.length);
  });

  test.skipIf(!hasCurl)('the curl, pasted into a shell, streams an answer', async () => {
    expectStreamed(await paste(commandIn(text, 'curl')));
  });

  test('the other commands, pasted, find this edge', async () => {
    expect(await paste(commandIn(text, 'cgn nodes'))).toMatch(/ready +0 .* tiny /);
    expect(await paste(commandIn(text, 'cgn keys ls'))).toMatch(/cgn up +default/);
    expect(await paste(commandIn(text, 'cgn keys join'))).toMatch(/cgj_/);
  });

  test('Ctrl-C ends it in words', async () => {
    await stop(up);
    expect(up.said.errors).toContain('Stopping; live streams get a few seconds.');
  });
});

describe('a model of the hub', () => {
  const directory = temporaryDirectory();
  const elsewhere = temporaryDirectory();
  const mine = join(elsewhere, 'mine.gguf');
  const downloaded = join(directory, 'models/hf/owner/repo/small.gguf');
  let hub: Hub;
  let up: Up;
  beforeAll(async () => {
    hub = await new Hub(buildTiny()).start();
  });
  afterAll(async () => {
    await up.down();
    await hub.stop();
    rmSync(elsewhere, { recursive: true, force: true });
  });

  /** Starts, checks what is said to be served, and lets the pasted command prove it. */
  const serves = async (name: string, argv: readonly string[], endpoint: string): Promise<void> => {
    up = await startUpByHand(directory, argv, { HF_ENDPOINT: endpoint });
    const text = await up.readyInWords();
    expect(text).toContain(`Cognitora serves ${name} (`);
    expect(text).not.toContain('toy');
    if (hasCurl) expectStreamed(await paste(commandIn(text, 'curl')));
  };

  test('is downloaded once for two replicas, its progress shown', async () => {
    await serves('small', ['--model', 'hf:owner/repo/small.gguf', '--replicas', '2'], hub.endpoint);
    expect(up.said.errors).toMatch(/engine(?: 1)? +small\.gguf: 100 % of \d+\.\d MB/);
    expect(hub.ranges).toEqual([undefined]);
    const nodes = commandIn(up.said.out, 'cgn nodes');
    const both = /r0 +ready +0 .* small .*\n.*r1 +ready +0 .* small /;
    await until('both replicas to serve', async () => both.test(await paste(nodes)), 30_000);
    expect(existsSync(`${downloaded}.verified`)).toBe(true);
    await stop(up);
  });

  test('is the default from then on, the hub unasked', async () => {
    hub.seen = [];
    await serves('small', [], 'http://127.0.0.1:1');
    await stop(up);
    // Named again it is not asked for either: what was verified is known.
    await serves('small', ['--model', 'hf:owner/repo/small.gguf'], 'http://127.0.0.1:1');
    expect(hub.seen).toEqual([]);
    await stop(up);
  });

  test('gives way to a file that is named', async () => {
    copyFileSync(downloaded, mine);
    await serves('mine', ['--model', mine], 'http://127.0.0.1:1');
  });
});
