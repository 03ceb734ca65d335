import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GpuReport } from '@cognitora/protocol/telemetry';
import { expect, onTestFinished, test, vi } from 'vitest';
import { nvidiaSmi, parseGpuLine } from './nvidia-smi.ts';

// Recorded: `nvidia-smi --query-gpu=... --format=csv,noheader,nounits` of driver 580.159.04 on an H200.
const recorded = '0, GPU-024775e5-4dde-a0ed-cbba-9c9ad82e3f14, 143771, 0, 128.40, 43, 0';

test('a line is one GPU', () => {
  expect(parseGpuLine(recorded)).toEqual({
    gpu: 0,
    id: 'GPU-024775e5-4dde-a0ed-cbba-9c9ad82e3f14',
    memoryMiB: 143_771,
    memoryUsedMiB: 0,
    watts: 128,
    celsius: 43,
    busyPercent: 0,
  });
});

// Constructed: words as `nvidia-smi --help-query-gpu` and its manual have them.
test.each([
  ['1, GPU-1, [N/A], [Not Supported], N/A, [Unknown Error], [GPU is lost]', { gpu: 1, id: 'GPU-1' }],
  ['1, , , , , , ', { gpu: 1 }],
  ['1, GPU-1, -5, 1e300, 1e9, 0, 101', { gpu: 1, id: 'GPU-1', celsius: 0 }],
  ['Field "nonsense" is not a valid field to query.', undefined],
  ['No devices were found', undefined],
  ['index, uuid, memory.total, memory.used, power.draw, temperature.gpu, utilization.gpu', undefined],
  ['64, GPU-1, 1, 1, 1, 1, 1', undefined],
  ['-1, GPU-1, 1, 1, 1, 1, 1', undefined],
  ['', undefined],
])('what is not known is absent, never zero: %s', (line, gpu) => {
  expect(parseGpuLine(line)).toEqual(gpu);
});

/** A program of that name on the PATH. */
const installed = (script: string): string => {
  const directory = mkdtempSync(join(tmpdir(), 'nvidia-smi-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'nvidia-smi');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${directory}:${before}`;
  onTestFinished(() => {
    process.env.PATH = before;
  });
  return directory;
};

const started = () => {
  const gpus: GpuReport[] = [];
  const said: string[] = [];
  const log = (_: string, message: string, facts?: object): number =>
    said.push(`${message} ${JSON.stringify(facts)}`);
  const stop = nvidiaSmi.start({ onGpu: (gpu) => gpus.push(gpu), log });
  onTestFinished(stop);
  return { gpus, said, stop };
};

test('it is asked for a line for each GPU once a second, and each is told', async () => {
  const directory = installed(`echo "$*" > "$(dirname "$0")/argv"
printf '%s\\n1, GPU-2, [N/A], 7, 3' '${recorded}'; sleep 0.05; echo '1.6, 40, 5'; exec sleep 60`);
  const { gpus, stop } = started();
  await vi.waitFor(() => expect(gpus).toHaveLength(2), 10_000);
  expect(gpus[1]).toEqual({ gpu: 1, id: 'GPU-2', memoryUsedMiB: 7, watts: 32, celsius: 40, busyPercent: 5 });
  stop();
  expect(readFileSync(join(directory, 'argv'), 'utf8')).toBe(
    '--query-gpu=index,uuid,memory.total,memory.used,power.draw,temperature.gpu,utilization.gpu ' +
      '--format=csv,noheader,nounits --loop-ms=1000\n',
  );
});

test('it is started again when it ends', async () => {
  const directory = installed(`cd "$(dirname "$0")"; echo x >> starts; echo '${recorded}'`);
  const { gpus, said } = started();
  await vi.waitFor(() => expect(gpus.length).toBeGreaterThan(1), 10_000);
  expect(readFileSync(join(directory, 'starts'), 'utf8').length).toBeGreaterThan(2);
  expect(said[0]).toContain('it ended: 0');
});

test('a host without it has no GPUs, told once', async () => {
  const before = process.env.PATH;
  process.env.PATH = '/nonexistent';
  onTestFinished(() => {
    process.env.PATH = before;
  });
  const { gpus, said } = started();
  await vi.waitFor(() => expect(said).toHaveLength(1), 10_000);
  expect(said[0]).toContain('ENOENT');
  expect(gpus).toEqual([]);
});
