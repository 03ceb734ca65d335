import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { ReplicaStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { newDirectory } from '../../testing/directories.ts';
import { agentStatus, statusText } from './agent-status.ts';

const replica: ReplicaStatus = {
  name: 'r0' as ReplicaName,
  profile: 'vllm',
  role: 'both',
  kvOffload: 'none',
  source: 'attached',
  state: 'ready',
  models: ['qwen', 'lora'],
  live: 2,
  requests: 40,
  bodyBytes: 1_234_567,
  errors: { total_timeout: 2 },
  answers: { '2xx': 38 },
  caches: [
    { model: 'qwen', trust: 'exact' },
    { model: 'lora', trust: 'approximate' },
  ],
  load: { running: 3, waiting: 0, kvUsage: 0.256 },
};

const moves = {
  canMove: true,
  saved: { count: 3, bytes: 14_400_000, ms: 120 },
  restored: { count: 0, bytes: 0, ms: 0 },
  refused: { too_late: 2, unused: 1 },
};

const status: StatusAnswer = {
  agent: 'cognitora-agent/0',
  node: 'n0' as NodeId,
  name: 'rack-7',
  link: { state: 'linked', edge: 'https://edge.example', region: 'weur', epoch: 3, sinceMs: 0, redials: 1 },
  live: 2,
  kept: { bytes: 65_536, detached: 1, resumed: 0, unclaimed: 3 },
  replicas: [
    { ...replica, moves },
    {
      ...replica,
      load: { waiting: 4 },
      ...{
        name: 'r1' as ReplicaName,
        state: 'failed',
        why: 'ECONNREFUSED',
        models: [],
        live: 0,
        requests: 0,
      },
      ...{ bodyBytes: 0, errors: {}, caches: [] },
    },
  ],
  gpus: [
    { gpu: 0, memoryMiB: 143_771, memoryUsedMiB: 70_000, watts: 312, celsius: 61, busyPercent: 0 },
    { gpu: 1 },
  ],
  process: { pid: 7, uptimeMs: 0, residentBytes: 99_000_000, heapBytes: 0, logLinesDropped: 0 },
};

const output: string[] = [];
const capture = (): void => {
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => output.push(String(text)) > 0);
};
afterEach(() => {
  vi.restoreAllMocks();
  output.length = 0;
});

/** A data directory whose agent answers with that. */
const agentWith = async (answer: unknown): Promise<string> => {
  const directory = newDirectory();
  const server = createServer((_, response) => response.end(JSON.stringify(answer)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  writeFileSync(join(directory, 'status.json'), JSON.stringify({ url: `http://127.0.0.1:${port}`, pid: 7 }));
  return directory;
};

test('a person sees link, replicas, what failed and why', () => {
  expect(statusText(status, 60_000).split('\n')).toEqual([
    'rack-7  cognitora-agent/0, pid 7, 99 MB',
    'link  linked to https://edge.example (weur, epoch 3, 60 s ago, 1 redial)',
    'live  2, 1 without a link, 3 unclaimed',
    '',
    'REPLICA  PROFILE  STATE   LIVE  RUN  WAIT  KV    REQUESTS  FAILED           SENT    CACHE              MODELS',
    'r0       vllm     ready      2    3     0  26 %        40  2 total_timeout  1.2 MB  exact,approximate  qwen,lora',
    'r1       vllm     failed     0  -       4  -            0  -                0 B     -                  -',
    'r1: ECONNREFUSED',
    'r0: KV moves, 3 saved (14 MB in 120 ms), 0 restored, not: 2 too_late, 1 unused',
    '',
    'GPU  MEMORY             WATTS  TEMP   BUSY',
    '  0  68.4 of 140.4 GiB  312 W  61 °C  0 %',
    '  1  -                  -      -      -',
  ]);
});

test('a person sees whether the KV daemon of the host has joined, and why not', () => {
  const lineOf = (kvcached: NonNullable<StatusAnswer['kvcached']>): string | undefined =>
    statusText({ ...status, kvcached }, 0)
      .split('\n')
      .find((line) => line.startsWith('kvcached'));
  expect(lineOf({ isJoined: true, hosts: 1 })).toBe('kvcached: joined, reaches 1 other host');
  expect(lineOf({ isJoined: false, hosts: 0, why: 'connect ENOENT' })).toBe(
    'kvcached: has not joined: connect ENOENT',
  );
});

test('what an edge or an engine says cannot move the cursor', () => {
  const link = { ...status.link, why: '\u001b[2J' };
  expect(statusText({ ...status, link }, 0)).not.toContain('\u001b');
});

test('a program gets the agent’s own JSON', async () => {
  const directory = await agentWith(status);
  capture();
  expect(await agentStatus(['--json', '--data-dir', directory])).toBe(0);
  expect(JSON.parse(output.join(''))).toEqual(status);
});

test('an agent is found by its file, whose other keys it need not know', async () => {
  const directory = await agentWith(status);
  const config = join(newDirectory(), 'agent.toml');
  writeFileSync(config, `edge = "https://edge.example"\ndata_dir = "${directory}"\nnew = 1\n`);
  capture();
  expect(await agentStatus(['--json', '--config', config])).toBe(0);
  expect(JSON.parse(output.join(''))).toEqual(status);
  // As of the agent, the option goes first.
  const both = ['--config', config, '--data-dir', newDirectory()];
  await expect(agentStatus(both)).rejects.toThrow('No agent that runs has left word');
  writeFileSync(config, 'data_dir = 5\n');
  const wrong = agentStatus(['--config', config]);
  await expect(wrong).rejects.toThrow(`${config}:1: data_dir must be the path of a directory.`);
  await expect(agentStatus(['--config', `${config}.gone`])).rejects.toThrow('cannot be read: ENOENT');
});

test('where nobody runs, or something else answers, it says so', async () => {
  await expect(agentStatus(['--data-dir', newDirectory()])).rejects.toThrow(
    'No agent that runs has left word',
  );
  const other = await agentWith({ hello: 'world' });
  await expect(agentStatus(['--data-dir', other])).rejects.toThrow('is no agent');
  const gone = newDirectory();
  writeFileSync(join(gone, 'status.json'), JSON.stringify({ url: 'http://127.0.0.1:1', pid: 7 }));
  await expect(agentStatus(['--data-dir', gone])).rejects.toThrow('pid 7) does not answer');
  await expect(agentStatus(['--wach'])).rejects.toThrow('cgn agent status --help');
});
