/**
 * GPUs as `nvidia-smi` tells of them: one process that writes a line for each GPU once a second, started again when it
 * ends or falls silent. Measured on an H200 with driver 580: 10 ms of CPU in 14 s and 22 MB, where a process for each
 * reading takes 17 ms and, without persistence mode, wakes the driver each time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { gpusPerNodeMax } from '@cognitora/protocol/limits';
import { type GpuReport, gpuCelsiusMax, gpuMemoryMiBMax, gpuWattsMax } from '@cognitora/protocol/telemetry';
import { known } from './known.ts';
import type { PowerSource, PowerSourceOptions } from './power-source.ts';

const program = 'nvidia-smi';
const columns = ['index', 'uuid', 'memory.total', 'memory.used', 'power.draw'];
const moreColumns = ['temperature.gpu', 'utilization.gpu'];
const argv = [
  `--query-gpu=${[...columns, ...moreColumns].join(',')}`,
  '--format=csv,noheader,nounits',
  '--loop-ms=1000',
];
/** A reading takes milliseconds; the driver's first start up to some seconds. */
const silenceMsMax = 15_000;
/** Between its ends and its next start; the last of them again and again, also where there is no such program. */
const restartMs = [1_000, 5_000, 60_000] as const;
/** A line is about 70 characters. */
const lineCharsMax = 1_024;

/** `[N/A]`, `[Not Supported]`, `[Unknown Error]` and whatever is beyond reason are unknown. */
const numberIn = (text: string | undefined, max: number): number | undefined => {
  const value = text === undefined || text === '' ? Number.NaN : Math.round(Number(text));
  return value >= 0 && value <= max ? value : undefined;
};

/** One line of its CSV; undefined for what is none, such as an error in words. */
export const parseGpuLine = (line: string): GpuReport | undefined => {
  const cells = line.split(',').map((cell) => cell.trim());
  const [index = '', uuid = '', memoryMiB, usedMiB, watts, celsius, busy] = cells;
  if (cells.length !== columns.length + moreColumns.length || !/^\d+$/.test(index)) return undefined;
  const gpu = Number(index);
  if (gpu >= gpusPerNodeMax) return undefined;
  const figures = known({
    memoryMiB: numberIn(memoryMiB, gpuMemoryMiBMax),
    memoryUsedMiB: numberIn(usedMiB, gpuMemoryMiBMax),
    watts: numberIn(watts, gpuWattsMax),
    celsius: numberIn(celsius, gpuCelsiusMax),
    busyPercent: numberIn(busy, 100),
  });
  const id = /^[\w-]{1,64}$/.test(uuid) ? { id: uuid } : {};
  return { gpu, ...id, ...figures };
};

class Reader {
  readonly #options: PowerSourceOptions;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #ends = 0;
  #rest = '';
  #stopped = false;
  #toldWhy: string | undefined;

  constructor(options: PowerSourceOptions) {
    this.#options = options;
  }

  start(): void {
    const { PATH, LD_LIBRARY_PATH } = process.env;
    const child = spawn(program, argv, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH, LD_LIBRARY_PATH, LC_ALL: 'C' },
    });
    this.#child = child;
    this.#rest = '';
    this.#expect(child);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(child, text));
    child.once('error', (error) => this.#ended(child, error.message));
    child.once('close', (code, signal) => this.#ended(child, `it ended: ${signal ?? code}`));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#restart);
    clearTimeout(this.#silence);
    this.#child?.kill('SIGKILL');
  }

  #read(child: ChildProcess, text: string): void {
    if (this.#stopped || child !== this.#child) return;
    const lines = (this.#rest + text).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, lineCharsMax);
    const reports = lines.flatMap((line) => parseGpuLine(line) ?? []);
    if (reports.length === 0) return;
    this.#ends = 0;
    this.#toldWhy = undefined;
    this.#expect(child);
    for (const report of reports) this.#options.onGpu(report);
  }

  /** A lost GPU may hold it up for good. */
  #expect(child: ChildProcess): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      child.kill('SIGKILL');
      this.#ended(child, `it said nothing for ${silenceMsMax} ms`);
    }, silenceMsMax);
  }

  #ended(child: ChildProcess, why: string): void {
    if (this.#stopped || child !== this.#child) return;
    this.#child = undefined;
    clearTimeout(this.#silence);
    const inMs = restartMs[Math.min(this.#ends, restartMs.length - 1)];
    this.#ends += 1;
    if (why !== this.#toldWhy) this.#options.log('info', 'GPUs are not known', { program, why });
    this.#toldWhy = why;
    this.#restart = setTimeout(() => this.start(), inMs);
  }
}

export const nvidiaSmi: PowerSource = {
  name: program,
  start: (options) => {
    const reader = new Reader(options);
    reader.start();
    return () => reader.stop();
  },
};
