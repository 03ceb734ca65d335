/** What an overload run amounts to: goodput, shares, outcomes and growth, and the goals they are held against. Pure. */
import type { Goal } from '../report/result.ts';
import { rounded, type Summary, slope, summarize } from '../report/statistics.ts';
import type { Outcome } from './load.ts';

/** Resident memory at one time. */
export interface Sample {
  readonly atSeconds: number;
  readonly edgeMiB: number;
  readonly agentsMiB: number;
}

const growthMiBPerMinuteMax = 4;
/** Of a shorter run memory says nothing. */
const memorySecondsMin = 90;

export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

/** What share of the time from its first event to its end lay in the window. */
const shareIn = ({ sentMs, firstEventMs = 0, endedMs }: Outcome, { fromMs, toMs }: Window): number => {
  const begunMs = sentMs + firstEventMs;
  const within = Math.min(endedMs, toMs) - Math.max(begunMs, fromMs);
  return Math.max(0, within) / Math.max(1, endedMs - begunMs);
};

/**
 * Events a second, within the window, of whole answers that began in time. Events come on a beat: an answer that began
 * before counts with what came since, since engines answer in waves, and whole ones would count now one wave more, now
 * one less.
 */
export const goodput = (outcomes: readonly Outcome[], objectiveMs: number, window: Window): number => {
  let sum = 0;
  for (const outcome of outcomes) {
    const { isWhole, firstEventMs, events } = outcome;
    if (!isWhole || firstEventMs === undefined || firstEventMs > objectiveMs) continue;
    sum += events * shareIn(outcome, window);
  }
  return (1_000 * sum) / (window.toMs - window.fromMs);
};

/** A minute, over the second half. */
const growth = (samples: readonly Sample[], of: (sample: Sample) => number): number => {
  const half = samples.slice(Math.floor(samples.length / 2));
  return rounded(slope(half.map((sample) => ({ x: sample.atSeconds / 60, y: of(sample) }))));
};

const codesOf = (outcomes: readonly Outcome[]): Record<string, number> => {
  const codes: Record<string, number> = {};
  for (const { status, code, isWhole } of outcomes) {
    const name = isWhole ? 'whole' : `${status} ${code ?? 'broken'}`;
    codes[name] = (codes[name] ?? 0) + 1;
  }
  return codes;
};

const firstEventsOf = (outcomes: readonly Outcome[]): Summary =>
  summarize(outcomes.flatMap(({ firstEventMs }) => firstEventMs ?? []));

export interface Run {
  readonly objectiveMs: number;
  readonly seconds: number;
  /** The most that the engines do, in events a second. */
  readonly peak: number;
  readonly outcomes: readonly Outcome[];
  /** Without the time in which the queue fills, and empties. */
  readonly window: Window;
  readonly memory: readonly Sample[];
  /** Requests in the engines a second after the last answer. */
  readonly left: number;
}

/** The tenant that sends less than the other, but more than its half. */
export const smallTenant = 'small';
export const floodTenant = 'flood';

export const figuresOf = ({ objectiveMs, peak, outcomes, window, memory }: Run) => {
  const of = (tenant: string): readonly Outcome[] => outcomes.filter((one) => one.tenant === tenant);
  const good = goodput(outcomes, objectiveMs, window);
  const peakOf = (figure: (sample: Sample) => number): number =>
    Math.round(Math.max(...memory.map((sample) => figure(sample))));
  const [edge, agents] = [(sample: Sample) => sample.edgeMiB, (sample: Sample) => sample.agentsMiB];
  return {
    peakEventsPerSecond: rounded(peak),
    goodEventsPerSecond: rounded(good),
    smallShare: rounded(goodput(of(smallTenant), objectiveMs, window) / good),
    firstEventMs: firstEventsOf(outcomes),
    retryAfterSeconds: summarize(outcomes.flatMap(({ retryAfterSeconds }) => retryAfterSeconds ?? [])),
    tenants: [floodTenant, smallTenant].map((tenant) => {
      const own = of(tenant);
      return { tenant, sent: own.length, outcomes: codesOf(own), firstEventMs: firstEventsOf(own) };
    }),
    memoryGrowthMiBPerMinute: { edge: growth(memory, edge), agents: growth(memory, agents) },
    memoryPeakMiB: { edge: peakOf(edge), agents: peakOf(agents) },
  };
};

export const goalsOf = (
  { objectiveMs, seconds, left }: Run,
  figures: ReturnType<typeof figuresOf>,
): Record<string, Goal> => {
  const { peakEventsPerSecond, goodEventsPerSecond, smallShare, firstEventMs } = figures;
  const { edge, agents } = figures.memoryGrowthMiBPerMinute;
  const ratio = goodEventsPerSecond / peakEventsPerSecond;
  return {
    goodput: {
      goal: 'goodput at 3 x capacity is 90 % of the peak or more',
      value: rounded(ratio),
      met: ratio >= 0.9,
    },
    firstToken: {
      goal: `p99 first event of those let in within ${objectiveMs} ms`,
      value: firstEventMs.p99,
      met: firstEventMs.p99 <= objectiveMs,
    },
    memory: {
      goal: `workerd and agents grow by less than ${growthMiBPerMinuteMax} MiB a minute`,
      value: `${edge} and ${agents}`,
      met: seconds < memorySecondsMin ? null : Math.max(edge, agents) < growthMiBPerMinuteMax,
    },
    share: {
      goal: 'the smaller tenant keeps its half within 10 %',
      value: smallShare,
      met: Math.abs(smallShare - 0.5) <= 0.05,
    },
    nothingLeft: {
      goal: 'nothing is left in the engines a second after the last answer',
      value: left,
      met: left === 0,
    },
  };
};
