/** The figures of one simulation from what happened in it. Pure. */
import { quantile } from '../report/statistics.ts';
import { decodeTokenMs } from './constants.ts';

/** What happened, as counted while it did. */
export interface Run {
  /** Of the trace: the hit ratio of one infinite cache. */
  readonly ceiling: number;
  readonly cells: number;
  readonly ttftMs: readonly number[];
  /** Prompt tokens that each node computed. */
  readonly computedTokens: readonly number[];
  readonly hitTokens: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly refused: number;
  readonly joules: number;
  /** Of each engine: tokens decoded at each batch size. */
  readonly tokensByBatch: readonly (readonly number[])[];
}

export interface SimulationFigures {
  /** Cached tokens of all prompt tokens, and that as a share of the trace's ceiling; NaN where that is 0. */
  readonly hitRatio: number;
  readonly ceilingShare: number;
  readonly ttftMeanMs: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  readonly interTokenP99Ms: number;
  /** Standard deviation over mean of the prompt tokens that nodes computed. */
  readonly balanceCv: number;
  /** Prompt tokens that a node of the busiest cell computed, over the mean of all; 1 with one cell. */
  readonly cellImbalance: number;
  readonly refused: number;
  readonly joules: number;
  /** Prompt and output tokens. */
  readonly tokensPerJoule: number;
}

export const figuresOf = (run: Run): SimulationFigures => {
  const { ceiling, ttftMs, computedTokens, hitTokens, promptTokens, outputTokens, refused, joules } = run;
  const hitRatio = hitTokens / Math.max(1, promptTokens);
  return {
    hitRatio,
    ceilingShare: ceiling === 0 ? Number.NaN : hitRatio / ceiling,
    ttftMeanMs: mean(ttftMs),
    ttftP50Ms: quantile(ttftMs, 0.5),
    ttftP99Ms: quantile(ttftMs, 0.99),
    interTokenP99Ms: interTokenMs(run.tokensByBatch, 0.99),
    balanceCv: deviation(computedTokens) / mean(computedTokens),
    cellImbalance: cellImbalance(computedTokens, run.cells),
    refused,
    joules,
    tokensPerJoule: (promptTokens + outputTokens) / joules,
  };
};

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const deviation = (values: readonly number[]): number => {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
};

/** The step time that `share` of all decoded tokens do not exceed; NaN when none was decoded. */
const interTokenMs = (tokensByBatch: readonly (readonly number[])[], share: number): number => {
  const longest = Math.max(0, ...tokensByBatch.map(({ length }) => length));
  const sums = Array.from({ length: longest }, (_, batch) =>
    tokensByBatch.reduce((sum, tokens) => sum + (tokens[batch] ?? 0), 0),
  );
  let left = share * sums.reduce((sum, tokens) => sum + tokens, 0);
  for (const [batch, tokens] of sums.entries()) {
    left -= tokens;
    if (tokens > 0 && left <= 0) return decodeTokenMs(batch);
  }
  return Number.NaN;
};

const cellImbalance = (computedTokens: readonly number[], cells: number): number => {
  const size = Math.ceil(computedTokens.length / cells);
  const ofCells = Array.from({ length: cells }, (_, cell) =>
    mean(computedTokens.slice(cell * size, (cell + 1) * size)),
  );
  return Math.max(...ofCells) / mean(computedTokens);
};
