/** The chaos run's tables and verdicts, from what its phases saw. Pure. */
import type { Goal } from '../report/result.ts';
import { rounded, type Summary, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import type { StreamRecord } from './client-messages.ts';
import { type Outcome, outcomes } from './outcome.ts';
import type { PhaseResult } from './phases.ts';
import type { RealFigures } from './real-streams.ts';
import type { Travel } from './trails.ts';

/** Where nothing disturbs it, a stream's chunks are far closer to each other. */
const pauseMsMin = 1_000;

export interface PhaseFigures {
  readonly requests: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly rightShare: number;
  /** Of those told or refused or broken: by code. */
  readonly codes: Readonly<Record<string, number>>;
  readonly oddities: Readonly<Record<string, number>>;
  /** Right streams that began at an engine more than once: with a part of the answer, or from nothing. */
  readonly continued: number;
  readonly retried: number;
  /** Right streams that stood still, whatever for, and went on at the engine where they were. */
  readonly paused: number;
  /** The longest pause of a right stream, in milliseconds. */
  readonly continuedPauseMs: Summary;
  readonly pausedMs: Summary;
  readonly ttftMs: Summary;
  readonly strikes: Readonly<Record<string, number>>;
  /** Those of real engines are counted here and in `rightShare` alone; undefined: there were none. */
  readonly real: RealFigures | undefined;
}

const countBy = (keys: readonly string[]): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
};

export const figuresOf = (
  { records, strikes }: PhaseResult,
  travelOf: (requestId: string) => Travel,
  real?: RealFigures,
): PhaseFigures => {
  const counts = countBy(records.map(({ outcome }) => outcome));
  const right = records.filter(({ outcome }) => outcome === 'right');
  const travelled = right.map((record) => ({ ...record, ...travelOf(record.requestId) }));
  const continued = travelled.filter(({ continuations }) => continuations > 0);
  const isPaused = ({ continuations, longestGapMs }: Travel & StreamRecord): boolean =>
    continuations === 0 && longestGapMs >= pauseMsMin;
  const paused = travelled.filter(isPaused);
  return {
    requests: records.length,
    outcomes: Object.fromEntries(outcomes.map((one) => [one, counts[one] ?? 0])) as Record<Outcome, number>,
    rightShare: (right.length + (real?.complete ?? 0)) / (records.length + (real?.requests ?? 0)),
    codes: countBy(records.flatMap(({ code }) => code ?? [])),
    oddities: countBy(records.flatMap(({ oddities }) => oddities)),
    continued: continued.length,
    retried: travelled.filter(({ retries }) => retries > 0).length,
    paused: paused.length,
    continuedPauseMs: summarize(continued.map(({ longestGapMs }) => longestGapMs)),
    pausedMs: summarize(paused.map(({ longestGapMs }) => longestGapMs)),
    ttftMs: summarize(records.map(({ ttftMs }) => ttftMs).filter((ms) => !Number.isNaN(ms))),
    strikes: countBy(strikes.map(({ kind }) => kind)),
    real,
  };
};

const shownCounts = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([what, count]) => `${count} x ${what}`)
    .join(', ') || 'none';

const pause = ({ p50, p99, max }: Summary): string =>
  Number.isNaN(p50) ? '-' : `${[p50, p99, max].map((ms) => (ms / 1e3).toFixed(2)).join(' / ')} s`;

const tellReal = (phase: string, real: RealFigures | undefined): readonly string[] => {
  if (real === undefined) return [];
  const { requests, complete, continued, wrong, otherwise, samples, same, sharesInCommon } = real;
  return [
    `${phase}: llama.cpp: ${complete} of ${requests} streams complete, ${continued} of them continued; ` +
      `put together wrong: ${shownCounts(wrong)}; not complete: ${shownCounts(otherwise)}`,
    `${phase}: llama.cpp: ${same} of ${samples} continuations are what the same engine says when asked ` +
      `directly; of the others this much is: ${sharesInCommon.join(', ') || '-'}`,
  ];
};

/** For people. */
export const tellPhases = (phases: readonly (readonly [PhaseResult, PhaseFigures])[]): string => {
  const rows: [string, ...string[]][] = outcomes.map((outcome) => [
    outcome,
    ...phases.map(([, figures]) => String(figures.outcomes[outcome])),
  ]);
  const row = (what: string, of: (figures: PhaseFigures) => string): void => {
    rows.push([what, ...phases.map(([, figures]) => of(figures))]);
  };
  row('complete and right', ({ rightShare }) => `${(100 * rightShare).toFixed(2)} %`);
  row('of these continued elsewhere', ({ continued }) => String(continued));
  row('stood still for a second or more, same engine', ({ paused }) => String(paused));
  row('begun again before a word', ({ retried }) => String(retried));
  row('pause of the continued p50 / p99 / max', ({ continuedPauseMs }) => pause(continuedPauseMs));
  row('pause of those', ({ pausedMs }) => pause(pausedMs));
  row('first chunk', ({ ttftMs }) => pause(ttftMs));
  const head = phases.map(([{ phase }, { requests }]) => `${phase}: ${requests} streams`);
  const notes = phases.flatMap(([{ phase, edgeKills }, { strikes, codes, oddities, real }]) => [
    `${phase}: faults: ${shownCounts(strikes)}`,
    `${phase}: codes: ${shownCounts(codes)}; oddities: ${shownCounts(oddities)}`,
    ...tellReal(phase, real),
    ...edgeKills.map(
      ({ streams, downMs, clientsToldMs, enginesIdleMs, edgeIdleMs }) =>
        `${phase}: edge killed under ${streams} streams, down for ${downMs} ms: clients knew after ` +
        `${clientsToldMs} ms, engines idle after ${enginesIdleMs}, edge idle after ${edgeIdleMs}`,
    ),
  ]);
  return `${table(['how it ended', ...head], rows)}\n\n${notes.join('\n')}`;
};

const noneOf = (phases: readonly PhaseFigures[], outcome: Outcome): Goal => {
  const value = phases.reduce((sum, figures) => sum + figures.outcomes[outcome], 0);
  return { goal: `no stream: ${outcome}`, value, met: value === 0 };
};

/** Where nothing was continued, nobody could be asked. */
const sameOf = (reals: readonly RealFigures[]): Goal => {
  const [continued, samples, same] = (['continued', 'samples', 'same'] as const).map((what) =>
    reals.reduce((sum, real) => sum + real[what], 0),
  );
  return {
    goal: 'llama.cpp: each continuation that is asked for again directly, at least one, is the same text',
    value: `${same} of ${samples}, ${continued} continued`,
    met: continued === 0 ? null : samples !== 0 && same === samples,
  };
};

const enginesIdleMsMax = 10_000;

export const goalsOf = (
  phases: readonly (readonly [PhaseResult, PhaseFigures])[],
): Readonly<Record<string, Goal>> => {
  const goals: Record<string, Goal> = {};
  const all = phases.map(([, figures]) => figures);
  for (const [{ phase }, { rightShare }] of phases) {
    if (phase === 'C') continue;
    goals[`complete${phase}`] = {
      goal: `phase ${phase}: at least 99 % complete and right`,
      value: `${rounded(100 * rightShare)} %`,
      met: rightShare >= 0.99,
    };
  }
  goals.wrongText = noneOf(all, 'wrong text');
  goals.textLost = noneOf(all, 'clean end, text lost');
  goals.wrongEnd = noneOf(all, 'wrong end');
  goals.hung = noneOf(all, 'hung');
  const realHung = all.reduce((sum, { real }) => sum + (real?.otherwise['hung hung'] ?? 0), 0);
  if (realHung > 0) goals.realHung = { goal: 'no stream of llama.cpp: hung', value: realHung, met: false };
  const odd = all.flatMap(({ oddities }) => Object.values(oddities)).reduce((sum, count) => sum + count, 0);
  goals.oneStream = { goal: 'one id, one role, a usage that adds up', value: odd, met: odd === 0 };
  const reals = all.flatMap(({ real }) => real ?? []);
  if (reals.length > 0) {
    const wrong = reals.flatMap(({ wrong }) => Object.values(wrong)).reduce((sum, count) => sum + count, 0);
    goals.realText = {
      goal: 'llama.cpp: what was sent before a break is kept, and the rest is what the taking engine said',
      value: `${wrong} wrong of ${reals.reduce((sum, { complete }) => sum + complete, 0)}`,
      met: wrong === 0,
    };
    goals.realSame = sameOf(reals);
  }
  const kills = phases.flatMap(([{ edgeKills }]) => edgeKills);
  if (kills.length > 0) {
    const worstMs = Math.max(...kills.map(({ enginesIdleMs }) => enginesIdleMs));
    const edgeMs = Math.max(...kills.map(({ edgeIdleMs, downMs }) => edgeIdleMs - downMs));
    goals.nothingLeft = {
      goal: 'engines idle 10 s after the death of the edge, nothing reserved 10 s after the next one began',
      value: `${worstMs} and ${edgeMs} ms`,
      met: Math.max(worstMs, edgeMs) <= enginesIdleMsMax,
    };
  }
  return goals;
};
