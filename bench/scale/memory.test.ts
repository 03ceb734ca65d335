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
      Number.POSITIVE_INFINITY,
    );
    expect(verdict).toMatchObject({ isBounded: true, isFlat: true });
  });

  it('ignores the growth of the start', () => {
    expect(
      judgeMemory(
        run(120, (second) => Math.min(second, 50) * 3 * MiB),
        bound,
        Number.POSITIVE_INFINITY,
      ).isFlat,
    ).toBe(true);
  });

  it('finds a leak of 64 bytes per chunk at 4,000 chunks a second', () => {
    expect(
      judgeMemory(
        run(120, (second) => 100 * MiB + second * 4000 * 64),
        bound,
        Number.POSITIVE_INFINITY,
      ).isFlat,
    ).toBe(false);
  });

  it('is not misled by what is freed when the streams end', () => {
    // Leaks 9 MiB a minute until the first stream ends, then gives 100 MiB back within 4 s.
    const leak = run(124, (second) => (second < 120 ? 200 + second * 0.15 : 218 - (second - 119) * 25) * MiB);
    expect(judgeMemory(leak, bound, 124).isFlat).toBe(true);
    expect(judgeMemory(leak, bound, 119.8).isFlat).toBe(false);
    // And a peak at the very end counts all the same.
    const peak = run(124, (second) => (second < 123 ? 100 * MiB : bound + 1));
    expect(judgeMemory(peak, bound, 119.8)).toMatchObject({ isBounded: false, isFlat: true });
  });

  it('finds a peak above the bound', () => {
    expect(
      judgeMemory(
        run(120, () => bound + 1),
        bound,
        Number.POSITIVE_INFINITY,
      ).isBounded,
    ).toBe(false);
  });

  it('does not judge a run that is too short', () => {
    expect(
      judgeMemory(
        run(10, () => MiB),
        bound,
        Number.POSITIVE_INFINITY,
      ).isFlat,
    ).toBeUndefined();
  });
});
