import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { outputBytesMax, outputLinesMax, outputWindowMs } from './limits.ts';
import { OutputBudget, readPaced } from './paced-output.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Streams call back within the turn; what they hand on further is there some turns later. */
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};
const window = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(outputWindowMs);
  await turns();
};

/** Two outputs of one engine. */
const engine = () => {
  const budget = new OutputBudget();
  const lines: string[] = [];
  const open = (): PassThrough => {
    const output = new PassThrough({ highWaterMark: 64 * 1024 });
    readPaced(output, budget, (line) => lines.push(line));
    return output;
  };
  return { lines, outputs: [open(), open()] as const };
};

test('of short lines so many are read in a window, the writer waits, and none is lost', async () => {
  const { lines, outputs } = engine();
  const [output] = outputs;
  const count = 4 * outputLinesMax;
  const wrote = Array.from({ length: count }, (_, at) => `${at}`);
  for (let at = 0; at < count; at += 1_000) output.write(`${wrote.slice(at, at + 1_000).join('\n')}\n`);
  await turns();
  const windows: number[] = [];
  for (let times = 0; times < 10; times += 1) {
    windows.push(lines.length - windows.reduce((sum, each) => sum + each, 0));
    if (times === 0) expect(output.isPaused()).toBe(true);
    await window();
  }
  // A piece is counted when it was read.
  expect(Math.max(...windows)).toBeLessThan(2 * outputLinesMax + 50);
  expect(lines).toEqual(wrote);
});

test('long lines are bounded in bytes, both outputs together', async () => {
  const { lines, outputs } = engine();
  const line = `${'x'.repeat(1_023)}\n`;
  for (const output of outputs) for (let at = 0; at < 200; at += 1) output.write(line);
  await turns();
  expect(lines.length * line.length).toBeLessThanOrEqual(outputBytesMax + 4 * 1024);
  await window();
  expect(lines).toHaveLength(400);
});

test('last words are there when an output closes, also those that had to wait', async () => {
  const { lines, outputs } = engine();
  const [output] = outputs;
  output.write('y\n'.repeat(3 * outputLinesMax));
  await turns();
  expect(lines.length).toBeLessThan(3 * outputLinesMax);
  output.write('last');
  output.destroy();
  await turns();
  expect(lines.filter((line) => line === 'y')).toHaveLength(3 * outputLinesMax);
});
