/** Figures and verdicts from rounds whose numbers are known. */
import { describe, expect, it } from 'vitest';
import { summarize } from '../report/statistics.ts';
import { cpuRatios, differences, figuresOf, goalsOf, p99Goal, type Round } from './figures.ts';
import type { Visit } from './measure.ts';

const visit = (system: string, ttftMs: number, cpuUs: number): Visit => {
  const summary = summarize([ttftMs]);
  const latency = {
    streams: 16,
    ttftMs: summary,
    totalMs: summary,
    chunkDelayMs: summary,
    gapMs: summary,
    rawTtftMs: [ttftMs],
    rawTotalMs: [ttftMs],
  };
  const cpu = { edge: cpuUs };
  return { system, latency: [latency], cpuPerRequestUs: cpu, cpuPerChunkUs: cpu, requestsPerSecond: 1 };
};

const rounds: readonly Round[] = [
  [visit('direct', 1, 0), visit('floor', 2, 100), visit('ours', 2.5, 150)],
  // A slow round: all are 10 ms later, so the differences stay.
  [visit('ours', 12.5, 300), visit('floor', 12, 200), visit('direct', 11, 0)],
  [visit('direct', 1, 0), visit('floor', 2, 100), visit('ours', 3.5, 180)],
];

describe('figures', () => {
  it('takes differences within a round, so that a slow round does not count', () => {
    const question = { base: 'direct', streams: 16, figure: 'ttftMs', share: 'p50' } as const;
    expect(differences(rounds, { system: 'ours', ...question })).toEqual([1.5, 1.5, 2.5]);
    expect(figuresOf(rounds, ['ours']).ours?.added['ttftMs p50 16']).toBe(1.5);
  });

  it('tells CPU as a multiple of the floor in the same round', () => {
    expect(cpuRatios(rounds, 'ours', 'cpuPerRequestUs')).toEqual([1.5, 1.5, 1.8]);
  });

  it('judges the goals, and has no verdict for what was not run', () => {
    const goals = goalsOf(rounds, 'ours', ['peer']);
    expect(goals.addedTtftP50).toMatchObject({ value: 1.5, met: true });
    expect(goals.cpuPerRequest).toMatchObject({ value: 1.5, met: true });
    expect(goals.cpuPerChunk).toMatchObject({ met: false });
    expect(goals['below peer']?.met).toBeNull();
  });
});

describe('the p99 goal', () => {
  const nine = (value: number): number[] => Array.from({ length: 9 }, () => value);

  it('needs nine rounds', () => expect(p99Goal([1, 1], 3).met).toBeNull());
  it('is met by a median below the limit', () => expect(p99Goal(nine(2), 3).met).toBe(true));
  it('is missed when the rounds agree on more', () => expect(p99Goal(nine(4), 3).met).toBe(false));
  it('is not measurable when the rounds disagree by more than the goal', () => {
    const noisy = p99Goal([-20, -10, -5, 0, 5, 10, 20, 30, 40], 3);
    expect(noisy.met).toBeNull();
    expect(noisy.value).toContain('not measurable today');
  });
});
