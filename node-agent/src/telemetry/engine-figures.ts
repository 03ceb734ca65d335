/**
 * What one page of an engine's metrics says, in our words: the profile tells under which names. Pure. What the page
 * does not say is undefined, never zero.
 */
import { engineRequestsMax } from '@cognitora/protocol/telemetry';
import type { MetricNames, Metrics } from '../engines/profiles/profile.ts';
import { type Samples, samplesOf } from './prometheus.ts';

/** Counters, in tokens but for the preemptions, as the engine counts them: they begin anew when it does. */
export interface EngineCounters {
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
  readonly generatedTokens: number | undefined;
  readonly preemptions: number | undefined;
}

export interface EngineFigures {
  readonly running: number | undefined;
  readonly waiting: number | undefined;
  /** 0 to 1. */
  readonly kvUsage: number | undefined;
  readonly counters: EngineCounters;
}

type Page = ReadonlyMap<string, Samples>;

const firstOf = (page: Page, names: MetricNames): Samples | undefined => {
  for (const name of names) {
    const samples = page.get(name);
    if (samples !== undefined) return samples;
  }
  return undefined;
};

/** Requests of all its series: an engine that runs as several ranks has one for each. */
const requestsOf = (page: Page, names: MetricNames): number | undefined => {
  const sum = firstOf(page, names)?.sum;
  return sum === undefined || sum < 0 || sum > engineRequestsMax ? undefined : Math.round(sum);
};

/** Beyond whole numbers nothing is counted; sums of such would end as no number at all. */
const countOf = (page: Page, names: MetricNames): number | undefined => {
  const sum = firstOf(page, names)?.sum;
  return sum === undefined || sum < 0 || sum > Number.MAX_SAFE_INTEGER ? undefined : sum;
};

/** Engines round; what is further off is no share. */
const roundingMax = 0.001;

const shareOf = (value: number): number | undefined =>
  value >= 0 && value <= 1 + roundingMax ? Math.min(1, value) : undefined;

/** Of several ranks, each with a share of its own, the mean. */
const kvUsageOf = (page: Page, names: Metrics['kvUsage']): number | undefined => {
  if ('used' in names) {
    const [used, capacity] = [countOf(page, names.used), countOf(page, names.capacity)];
    return used === undefined || capacity === undefined || capacity === 0
      ? undefined
      : shareOf(used / capacity);
  }
  const samples = firstOf(page, names);
  return samples && shareOf(samples.sum / samples.count);
};

const namesIn = ({ kvUsage, ...metrics }: Metrics): ReadonlySet<string> =>
  new Set([
    ...('used' in kvUsage ? [...kvUsage.used, ...kvUsage.capacity] : kvUsage),
    ...[metrics.running, metrics.waiting, metrics.promptTokens, metrics.cachedTokens].flat(),
    ...[metrics.generatedTokens, metrics.preemptions].flat(),
  ]);

/** Where an engine counts computed tokens alone, those of the prompt are known only with those that were cached. */
const promptTokensOf = (
  { promptTokensAreAll }: Metrics,
  counted: number | undefined,
  cached: number | undefined,
): number | undefined => {
  if (promptTokensAreAll || counted === undefined) return counted;
  return cached === undefined ? undefined : counted + cached;
};

export const readFigures = (text: string, metrics: Metrics): EngineFigures => {
  const page = samplesOf(text, namesIn(metrics));
  const cachedTokens = countOf(page, metrics.cachedTokens);
  return {
    running: requestsOf(page, metrics.running),
    waiting: requestsOf(page, metrics.waiting),
    kvUsage: kvUsageOf(page, metrics.kvUsage),
    counters: {
      promptTokens: promptTokensOf(metrics, countOf(page, metrics.promptTokens), cachedTokens),
      cachedTokens,
      generatedTokens: countOf(page, metrics.generatedTokens),
      preemptions: countOf(page, metrics.preemptions),
    },
  };
};
