/**
 * From the visits of all rounds to figures and goals, pure. A figure is the median over rounds of what each
 * round says; "added" is a variant less `direct` in the same round, so that a slow minute hurts both sides
 * alike.
 */
import { below, type Goal } from '../report/result.ts';
import { interquartileRange, median, rounded } from '../report/statistics.ts';
import type { Latency, Role, Visit } from './measure.ts';

export type Round = readonly Visit[];

const addedFigures = ['ttftMs', 'totalMs', 'chunkDelayMs', 'gapMs'] as const;
type LatencyFigure = (typeof addedFigures)[number];

const visitOf = (round: Round, system: string): Visit | undefined =>
  round.find((visit) => visit.system === system);

const latencyOf = (round: Round, system: string, streams: number): Latency | undefined =>
  visitOf(round, system)?.latency.find((latency) => latency.streams === streams);

export interface Question {
  readonly system: string;
  /** What is taken away. */
  readonly base: string;
  readonly streams: number;
  readonly figure: LatencyFigure;
  readonly share: 'p50' | 'p99';
}

/** Per round: the system's figure less the base's; rounds that lack either are left out. */
export const differences = (rounds: readonly Round[], question: Question): readonly number[] => {
  const { system, base, streams, figure, share } = question;
  return rounds.flatMap((round) => {
    const ours = latencyOf(round, system, streams)?.[figure][share];
    const theirs = latencyOf(round, base, streams)?.[figure][share];
    return ours === undefined || theirs === undefined ? [] : [rounded(ours - theirs)];
  });
};

export type CpuFigure = 'cpuPerRequestUs' | 'cpuPerChunkUs';

/** Per round: the role's CPU in this system. */
export const cpuOf = (
  rounds: readonly Round[],
  system: string,
  figure: CpuFigure,
  role: Role,
): readonly number[] =>
  rounds.flatMap((round) => {
    const us = visitOf(round, system)?.[figure][role];
    return us === undefined ? [] : [us];
  });

/** Per round: the edge's CPU in `system`, as a multiple of the floor's. */
export const cpuRatios = (rounds: readonly Round[], system: string, figure: CpuFigure): readonly number[] =>
  rounds.flatMap((round) => {
    const ours = visitOf(round, system)?.[figure].edge;
    const floor = visitOf(round, 'floor')?.[figure].edge;
    return ours === undefined || floor === undefined ? [] : [rounded(ours / floor)];
  });

export interface SystemFigures {
  readonly ttftMs: Readonly<Record<string, number>>;
  /** By `<figure> <share> <streams>`. */
  readonly added: Readonly<Record<string, number>>;
  readonly cpuPerRequestUs: Readonly<Partial<Record<Role, number>>>;
  readonly cpuPerChunkUs: Readonly<Partial<Record<Role, number>>>;
  readonly requestsPerSecond: number;
}

const systemFigures = (rounds: readonly Round[], system: string): SystemFigures => {
  const visits = rounds.flatMap((round) => visitOf(round, system) ?? []);
  const streamCounts = visits[0]?.latency.map(({ streams }) => streams) ?? [];
  const ttftMs: Record<string, number> = {};
  const added: Record<string, number> = {};
  for (const streams of streamCounts) {
    for (const share of ['p50', 'p99'] as const) {
      const all = rounds.flatMap((round) => latencyOf(round, system, streams)?.ttftMs[share] ?? []);
      ttftMs[`${share} ${streams}`] = rounded(median(all));
      for (const figure of addedFigures) {
        const question = { system, base: 'direct', streams, figure, share };
        added[`${figure} ${share} ${streams}`] = rounded(median(differences(rounds, question)));
      }
    }
  }
  const cpu = (figure: CpuFigure): Partial<Record<Role, number>> => {
    const byRole: Partial<Record<Role, number>> = {};
    for (const role of ['edge', 'agent'] as const) {
      const us = median(cpuOf(rounds, system, figure, role));
      if (!Number.isNaN(us)) byRole[role] = rounded(us);
    }
    return byRole;
  };
  return {
    ttftMs,
    added,
    cpuPerRequestUs: cpu('cpuPerRequestUs'),
    cpuPerChunkUs: cpu('cpuPerChunkUs'),
    requestsPerSecond: Math.round(median(visits.map((visit) => visit.requestsPerSecond))),
  };
};

export const figuresOf = (
  rounds: readonly Round[],
  systems: readonly string[],
): Readonly<Record<string, SystemFigures>> =>
  Object.fromEntries(systems.map((system) => [system, systemFigures(rounds, system)]));

const roundsForP99 = 9;

/**
 * p99 is a claim only over enough rounds, and a miss only when the rounds agree more closely than the goal is
 * wide.
 */
export const p99Goal = (overFloor: readonly number[], limitMs: number): Goal => {
  const goal = `p99 TTFT at 16 streams, median of ${roundsForP99}+ rounds of (ours - floor), < ${limitMs} ms`;
  const middle = rounded(median(overFloor));
  const spread = interquartileRange(overFloor);
  const value = `${middle} ms, interquartile range ${rounded(spread)} ms over ${overFloor.length} rounds`;
  if (overFloor.length < roundsForP99) return { goal, value: `too few rounds: ${value}`, met: null };
  if (middle < limitMs) return { goal, value, met: true };
  if (spread > limitMs) return { goal, value: `not measurable today: ${value}`, met: null };
  return { goal, value, met: false };
};

/** The claims of design.md's table, about the layout with one hop. */
export const goalsOf = (
  rounds: readonly Round[],
  ours: string,
  peers: readonly string[],
): Readonly<Record<string, Goal>> => {
  const at16 = { streams: 16, figure: 'ttftMs' } as const;
  const addedP50 = median(differences(rounds, { system: ours, base: 'direct', ...at16, share: 'p50' }));
  const overFloor = differences(rounds, { system: ours, base: 'floor', ...at16, share: 'p99' });
  const perRequest = median(cpuRatios(rounds, ours, 'cpuPerRequestUs'));
  const perChunk = median(cpuRatios(rounds, ours, 'cpuPerChunkUs'));
  const goals: Record<string, Goal> = {
    addedTtftP50: below('added TTFT p50 at 16 streams < 2 ms', addedP50, 2),
    addedTtftP99: p99Goal(overFloor, 3),
    cpuPerRequest: below("workerd CPU per request <= 2 x the floor's", perRequest, 2, true),
    cpuPerChunk: below("workerd CPU per chunk <= 1.4 x the floor's", perChunk, 1.4, true),
  };
  for (const peer of peers) goals[`below ${peer}`] = peerGoal(rounds, ours, peer);
  return goals;
};

const peerGoal = (rounds: readonly Round[], ours: string, peer: string): Goal => {
  const question = { base: 'direct', streams: 16, figure: 'ttftMs', share: 'p50' } as const;
  const own = rounded(median(differences(rounds, { system: ours, ...question })));
  const other = rounded(median(differences(rounds, { system: peer, ...question })));
  return {
    goal: `added TTFT p50 at 16 streams below ${peer}'s`,
    value: `${own} against ${other} ms`,
    met: Number.isNaN(own) || Number.isNaN(other) ? null : own < other,
  };
};
