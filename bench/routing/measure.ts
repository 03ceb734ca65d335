/**
 * Builds a cell and times the stages over it; the same code in Node and in workerd. A sample is one call where the
 * clock is fine enough, else the mean of as many calls in a row as take 20 of its ticks. Pure but for the clock it
 * is given.
 */
import { quantile, rounded, type Summary, summarize } from '../report/statistics.ts';
import { type MapWorld, mapWorldOf, stages, type Timed } from './stages.ts';
import type { CellPlan, Workload } from './traffic.ts';

export interface Plan extends CellPlan {
  readonly promptTokens: readonly number[];
  /** Of each stage, workload and prompt length. */
  readonly samples: number;
}

/** What one stage took. */
export interface Sampled {
  readonly callsPerSample: number;
  readonly us: Summary;
  /** p99 over prompts of each one's quickest call: what is left when neighbours on the machine are taken out. */
  readonly quickestP99Us: number | undefined;
}

export interface Row extends Sampled {
  readonly stage: string;
  readonly workload: Workload;
  readonly promptTokens: number;
}

export interface CellFigures {
  readonly rows: readonly Row[];
  readonly upkeep: Upkeep;
}

/** What the map costs beside matches. */
export interface Upkeep {
  readonly mapBytes: number;
  readonly blocks: number;
  /** The budget over the blocks that fit. */
  readonly bytesPerBlock: number;
  readonly addNsPerBlock: number;
  /** In a full map: each block costs another its place. */
  readonly addToFullNsPerBlock: number;
  readonly sweepMs: number;
}

export type NowMs = () => number;

const ticksPerSample = 20;
/** Compiled and warm before the first sample. */
const warmUpCalls = 2000;

/** The smallest step that the clock makes. */
const tickMsOf = (nowMs: NowMs): number => {
  let smallestMs = Number.POSITIVE_INFINITY;
  for (let step = 0; step < 5; step += 1) {
    const beforeMs = nowMs();
    let afterMs = beforeMs;
    while (afterMs === beforeMs) afterMs = nowMs();
    smallestMs = Math.min(smallestMs, afterMs - beforeMs);
  }
  return smallestMs;
};

const timeMs = (nowMs: NowMs, run: () => void): number => {
  const beforeMs = nowMs();
  run();
  return nowMs() - beforeMs;
};

/** So many calls take enough ticks: one where the clock ticks far below a call's time. */
const callsPerSampleOf = (tickMs: number, calls: number, spentMs: number): number =>
  tickMs < 1e-3 ? 1 : Math.ceil((ticksPerSample * tickMs * calls) / Math.max(tickMs, spentMs));

export const sample = ({ prompts, run, tidy }: Timed, nowMs: NowMs, samples: number): Sampled => {
  let next = 0;
  const call = (count: number): void => {
    for (let done = 0; done < count; done += 1) {
      run(next);
      next = (next + 1) % prompts;
      if (done < count - 1) tidy?.();
    }
  };
  call(warmUpCalls);
  const spentMs = timeMs(nowMs, () => call(warmUpCalls));
  const callsPerSample = callsPerSampleOf(tickMsOf(nowMs), warmUpCalls, spentMs);
  const count = callsPerSample === 1 ? samples : Math.ceil(samples / 50);
  const first = next;
  const us = Array.from({ length: count }, () => {
    const spent = timeMs(nowMs, () => call(callsPerSample));
    tidy?.();
    return (spent * 1e3) / callsPerSample;
  });
  const quickest = Array.from({ length: prompts }, () => Number.POSITIVE_INFINITY);
  for (const [index, spentUs] of us.entries()) {
    const prompt = (first + index) % prompts;
    quickest[prompt] = Math.min(quickest[prompt] ?? spentUs, spentUs);
  }
  const quickestP99Us = callsPerSample === 1 ? rounded(quantile(quickest, 0.99)) : undefined;
  return { callsPerSample, us: summarize(us), quickestP99Us };
};

const upkeepOf = (nowMs: NowMs, { map, slots, random }: MapWorld, buildMs: number): Upkeep => {
  const { bytes, entries, entriesMax } = map.counts;
  const [first, last] = [slots[0], slots.at(-1)];
  if (first === undefined || last === undefined) throw new Error('a cell has replicas');
  map.add(random.newBlocks(entriesMax - entries), first, 'device');
  const more = random.newBlocks(50_000);
  const fullMs = timeMs(nowMs, () => map.add(more, first, 'device'));
  map.clear(last);
  const sweepMs = timeMs(nowMs, () => {
    while (map.isSweepDue) map.sweep(4096);
  });
  return {
    mapBytes: bytes,
    blocks: entries,
    bytesPerBlock: bytes / entriesMax,
    addNsPerBlock: (buildMs * 1e6) / entries,
    addToFullNsPerBlock: (fullMs * 1e6) / (more.length / 2),
    sweepMs,
  };
};

/** What the map costs beside matches, in a world of its own. */
const measureUpkeep = (plan: CellPlan, nowMs: NowMs): Upkeep => {
  let world: MapWorld | undefined;
  const buildMs = timeMs(nowMs, () => {
    world = mapWorldOf(plan);
  });
  if (world === undefined) throw new Error('no world');
  return upkeepOf(nowMs, world, buildMs);
};

export const measureCell = (plan: Plan, nowMs: NowMs): CellFigures => {
  const rows: Row[] = [];
  for (const stage of stages) {
    const timedOf = stage.prepare(plan);
    for (const workload of stage.workloads) {
      for (const promptTokens of plan.promptTokens) {
        const sampled = sample(timedOf(workload, promptTokens), nowMs, plan.samples);
        rows.push({ stage: stage.name, workload, promptTokens, ...sampled });
      }
    }
  }
  return { rows, upkeep: measureUpkeep(plan, nowMs) };
};
