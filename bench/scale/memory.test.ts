/** A sawtooth is flat, a leak is not, a short run has no verdict. */
import { describe, expect, it } from 'vitest';
import { judgeMemory, residentBytesMax } from './memory.ts';

const MiB = 1024 * 1024;
const bound = residentBytesMax(1000, 1000);
const run = (seconds: number, bytesAt: (second: number) => number) =>
  Array.from({ length: seconds }, (_, second) => ({ atSeconds: second, bytes: bytesAt(second) }));

describe('the verdict on memory', () => {
  it('takes a sawtooth of the garbage collector for flat', () => {
    const verdict = judgeMemory(
      run(120, (second) => 150 * MiB + (second % 7) * MiB),
      bound,
    );
    expect(verdict).toMatchObject({ isBounded: true, isFlat: true });
  });

  it('ignores the growth of the start', () => {
    expect(
      judgeMemory(
        run(120, (second) => Math.min(second, 50) * 3 * MiB),
        bound,
      ).isFlat,
    ).toBe(true);
  });

  it('finds a leak of 64 bytes per chunk at 4,000 chunks a second', () => {
    expect(
      judgeMemory(
        run(120, (second) => 100 * MiB + second * 4000 * 64),
        bound,
      ).isFlat,
    ).toBe(false);
  });

  it('finds a peak above the bound', () => {
    expect(
      judgeMemory(
        run(120, () => bound + 1),
        bound,
      ).isBounded,
    ).toBe(false);
  });

  it('does not judge a run that is too short', () => {
    expect(
      judgeMemory(
        run(10, () => MiB),
        bound,
      ).isFlat,
    ).toBeUndefined();
  });
});
