/** From what each round measured to figures and goals: medians over rounds. Pure. */
import { below, type Goal } from '../report/result.ts';
import { median, rounded } from '../report/statistics.ts';
import type { CellFigures, Row, Upkeep } from './measure.ts';
import { workloads } from './traffic.ts';

export interface CellSize {
  readonly replicas: number;
  readonly blocks: number;
  readonly isScattered: boolean;
}

export const nameOfSize = ({ replicas, blocks, isScattered }: CellSize): string =>
  `${replicas} x ${blocks}${isScattered ? ' scattered' : ''}`;

/** One cell measured in one runtime in one round. */
export interface Visit {
  readonly runtime: string;
  readonly size: CellSize;
  readonly cell: CellFigures;
}

export interface Figure {
  readonly p50Us: number;
  readonly p99Us: number;
  /** NaN where a sample is more than one call. */
  readonly quickestP99Us: number;
}

export type Question = Pick<Row, 'stage' | 'workload' | 'promptTokens'> &
  CellSize & { readonly runtime: string };

const isOf = (visit: Visit, { runtime, ...size }: CellSize & { readonly runtime: string }): boolean =>
  visit.runtime === runtime && nameOfSize(visit.size) === nameOfSize(size);

/** Medians over rounds of the one case; NaN where it was not measured. */
export const figureOf = (visits: readonly Visit[], question: Question): Figure => {
  const rows = visits
    .filter((visit) => isOf(visit, question))
    .flatMap(({ cell }) => cell.rows)
    .filter(({ stage, workload, promptTokens }) => {
      const { stage: asked, workload: load, promptTokens: tokens } = question;
      return stage === asked && workload === load && promptTokens === tokens;
    });
  return {
    p50Us: rounded(median(rows.map(({ us }) => us.p50))),
    p99Us: rounded(median(rows.map(({ us }) => us.p99))),
    quickestP99Us: rounded(median(rows.flatMap(({ quickestP99Us }) => quickestP99Us ?? []))),
  };
};

/** Medians over rounds of what a cell costs beside matches. */
export const upkeepOf = (visits: readonly Visit[], runtime: string, size: CellSize): Upkeep => {
  const upkeeps = visits.filter((visit) => isOf(visit, { runtime, ...size })).map(({ cell }) => cell.upkeep);
  const medianOf = (figure: keyof Upkeep): number => rounded(median(upkeeps.map((upkeep) => upkeep[figure])));
  return {
    mapBytes: medianOf('mapBytes'),
    blocks: medianOf('blocks'),
    bytesPerBlock: medianOf('bytesPerBlock'),
    addNsPerBlock: medianOf('addNsPerBlock'),
    addToFullNsPerBlock: medianOf('addToFullNsPerBlock'),
    sweepMs: medianOf('sweepMs'),
  };
};

export const nameOf = (question: Question): string => {
  const { runtime, stage, workload, promptTokens } = question;
  return `${runtime} ${stage} ${workload} ${promptTokens / 1024}k x ${nameOfSize(question)}`;
};

const matchUsMax = 20;
const decisionUsMax = 500;

type Judged = CellSize & { readonly promptTokens: number };

const goalsOfOne = (visits: readonly Visit[], runtime: string, judged: Judged): Record<string, Goal> => {
  const { promptTokens, isScattered } = judged;
  const name = `${runtime.charAt(0).toUpperCase()}${runtime.slice(1)}${isScattered ? 'Scattered' : ''}`;
  const scattered = isScattered ? ', scattered blocks' : '';
  const match = figureOf(visits, { ...judged, runtime, stage: 'match', workload: 'whole' });
  const decisions = workloads.map((workload) =>
    figureOf(visits, { ...judged, runtime, stage: 'decision', workload }),
  );
  const worst = (figure: keyof Figure): number => Math.max(...decisions.map((one) => one[figure]));
  const length = `${promptTokens / 1024} k tokens${scattered}`;
  const decision = `whole decision p99 < ${decisionUsMax} us in ${runtime}, ${length}`;
  const goals: Record<string, Goal> = {
    [`match${name}`]: below(
      `match p50 < ${matchUsMax} us in ${runtime}, whole prompts of ${length}`,
      match.p50Us,
      matchUsMax,
    ),
    [`decision${name}`]: below(decision, worst('p99Us'), decisionUsMax),
  };
  if (Number.isNaN(worst('quickestP99Us'))) return goals;
  const quickest = `${decision}, quickest call of each prompt`;
  goals[`quickestDecision${name}`] = below(quickest, worst('quickestP99Us'), decisionUsMax);
  return goals;
};

/** Of the largest cases: a match of the longest walk, and whole decisions about whichever prompts take longer. */
export const goalsOf = (
  visits: readonly Visit[],
  runtimes: readonly string[],
  largest: readonly Judged[],
): Readonly<Record<string, Goal>> =>
  Object.fromEntries(
    largest.flatMap((judged) =>
      runtimes.flatMap((runtime) => Object.entries(goalsOfOne(visits, runtime, judged))),
    ),
  );
