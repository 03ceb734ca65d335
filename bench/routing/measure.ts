/**
 * Builds a cell and times the stages over it; the same code in Node and in workerd. A sample is one call where the
 * clock is fine enough, else the mean of as many calls in a row as take 20 of its ticks. Pure but for the clock it
 * is given.
 */
import { type Summary, summarize } from '../report/statistics.ts';
import {
  buildCell,
  type Cell,
  type CellPlan,
  type Prompt,
  promptsOf,
  tokensPerBlock,
  type Workload,
  workloads,
} from './cell.ts';
import { stages } from './stages.ts';

export interface Plan extends CellPlan {
  readonly promptTokens: readonly number[];
  /** Of each stage, workload and prompt length. */
  readonly samples: number;
}

export interface Row {
  readonly stage: string;
  readonly workload: Workload;
  readonly promptTokens: number;
  readonly callsPerSample: number;
  readonly us: Summary;
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

type NowMs = () => number;

const ticksPerSample = 20;
const promptsPrepared = 512;
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

interface Sampled {
  readonly callsPerSample: number;
  readonly us: Summary;
}

/** So many calls take enough ticks: one where the clock ticks far below a call's time. */
const callsPerSampleOf = (tickMs: number, calls: number, spentMs: number): number =>
  tickMs < 1e-3 ? 1 : Math.ceil((ticksPerSample * tickMs * calls) / Math.max(tickMs, spentMs));

const sample = (
  run: (prompt: Prompt) => void,
  prompts: readonly Prompt[],
  nowMs: NowMs,
  samples: number,
): Sampled => {
  let next = 0;
  const call = (count: number): void => {
    for (let done = 0; done < count; done += 1) {
      const prompt = prompts[next % prompts.length];
      next += 1;
      if (prompt !== undefined) run(prompt);
    }
  };
  call(warmUpCalls);
  const spentMs = timeMs(nowMs, () => call(warmUpCalls));
  const callsPerSample = callsPerSampleOf(tickMsOf(nowMs), warmUpCalls, spentMs);
  const count = callsPerSample === 1 ? samples : Math.ceil(samples / 50);
  const us = Array.from({ length: count }, () => {
    const spent = timeMs(nowMs, () => call(callsPerSample));
    return (spent * 1e3) / callsPerSample;
  });
  return { callsPerSample, us: summarize(us) };
};

const upkeepOf = (nowMs: NowMs, cell: Cell, buildMs: number): Upkeep => {
  const { map, slots, newBlocks } = cell;
  const { bytes, entries, entriesMax } = map.counts;
  const [first, last] = [slots[0], slots.at(-1)];
  if (first === undefined || last === undefined) throw new Error('a cell has replicas');
  map.add(newBlocks(entriesMax - entries), first, 'device');
  const more = newBlocks(50_000);
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

export const measureCell = (plan: Plan, nowMs: NowMs): CellFigures => {
  let cell: Cell | undefined;
  const buildMs = timeMs(nowMs, () => {
    cell = buildCell(plan);
  });
  if (cell === undefined) throw new Error('no cell');
  const rows: Row[] = [];
  for (const stage of stages) {
    const run = stage.prepare(cell);
    for (const workload of workloads) {
      for (const promptTokens of plan.promptTokens) {
        const prompts = promptsOf(cell, workload, promptTokens / tokensPerBlock, promptsPrepared);
        rows.push({
          stage: stage.name,
          workload,
          promptTokens,
          ...sample(run, prompts, nowMs, plan.samples),
        });
      }
    }
  }
  return { rows, upkeep: upkeepOf(nowMs, cell, buildMs) };
};
