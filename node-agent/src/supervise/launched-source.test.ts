import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { expect, onTestFinished, test, vi } from 'vitest';
import { launchedEngine } from '../../testing/launch-plans.ts';
import { systemClock } from '../clock.ts';
import type { LaunchPorts } from '../engines/profiles/profile.ts';
import { vllm } from '../engines/profiles/vllm.ts';
import { launchedSource } from './launched-source.ts';
import { PortAllocator } from './ports.ts';

const showsItsFile = 'echo up; cat "$0"; exec sleep 1000';

/** A source whose engine is that script, told its file, beside the plan's ports as they were last. */
const started = async (tensorParallel: number, script = showsItsFile) => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'cognitora-launched-source-'));
  onTestFinished(() => rmSync(dataDirectory, { recursive: true, force: true }));
  const plans: LaunchPorts[] = [];
  const ports = new PortAllocator();
  const row = vi.spyOn(ports, 'row');
  const config = launchedEngine({ gpus: [], tensorParallel });
  const source = await launchedSource({
    config: {
      ...{ name: 'e' as ReplicaName, profile: 'vllm', role: 'both', kvOffload: 'none', source: config },
      ...{ aliases: new Map(), apiKey: undefined },
    },
    source: config,
    profile: {
      ...vllm,
      launching: {
        ...{ program: '/bin/sh', helpArgv: [], splits: 'any', namesModel: true, keepsKvOnDisk: [] },
        render: ({ directory, ports: given }) => {
          plans.push(given);
          const file = join(directory, 'engine.yaml');
          return { argv: ['-c', script, file], files: { [file]: 'seed: 7\n' } };
        },
      },
    },
    ...{ dataDirectory, environment: process.env, ports },
    ...{ clock: systemClock, log: () => {} },
  });
  onTestFinished(() => source.stop());
  const ends: string[] = [];
  source.start({ began: () => {}, ended: (why) => void ends.push(why) });
  // What asks it to end before that is not heard: the shell that becomes the engine is deaf for a moment.
  await vi.waitFor(() => expect(source.launch?.lastLines).toContain('up'), { timeout: 10_000 });
  return { source, ends, ports: plans.at(-1), counts: row.mock.calls.map(([count]) => count) };
};

test('an engine finds the files of its launch', async () => {
  const { source } = await started(1);
  const wrote = (): void => expect(source.launch?.lastLines).toContain('seed: 7');
  await vi.waitFor(wrote, { timeout: 10_000 });
});

test.each([
  ['echo out of memory', ': out of memory'],
  [`echo '{"event":"stop","message":"stopping: SIGTERM"}'`, ': stopping: SIGTERM'],
  [`echo '{"event":"listening","url":"http://127.0.0.1:1"}'`, ''],
])('an engine that ends after %s is told with its words for people', async (said, words) => {
  const { ends } = await started(1, `echo up; ${said}; exit 3`);
  await vi.waitFor(() => expect(ends).toHaveLength(1), { timeout: 10_000 });
  expect(ends[0]).toMatch(/^ended with status 3, starts again in 1 s/);
  expect(ends[0]?.replace(/^.* in 1 s/, '')).toBe(words);
});

test('transfers have ports beside that for HTTP, and no other engine gets one of them', async () => {
  const { source, ports, counts } = await started(3);
  const http = Number(source.url.port);
  expect(ports).toEqual({ http, transfer: http + 1 });
  // For HTTP, and for each of the three parts of the model; asked for at first and at the start.
  expect(counts).toEqual([4, 4]);
});
