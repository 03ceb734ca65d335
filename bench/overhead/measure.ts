/**
 * One visit to one variant: started fresh, warmed up, then its latency at each number of streams, its CPU per
 * one-chunk request and per chunk of long streams. Any wrong byte makes the visit throw: there are no figures
 * of a system that answers wrongly.
 */
import { messageOf } from '@cognitora/protocol/errors';
import type { LoadPlan, LoadResult } from '../load/generator-messages.ts';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { cpuUs } from '../machine/process-figures.ts';
import { type Summary, summarize } from '../report/statistics.ts';
import type { RunningSystem, System } from '../systems/system.ts';

export type Role = 'edge' | 'agent';

export interface Sizes {
  readonly streams: readonly number[];
  /** Requests per connection at each of `streams`. */
  readonly requestsPerConnection: readonly number[];
  readonly warmUpRequests: number;
  readonly shortRequests: number;
}

export const fullSizes: Sizes = {
  streams: [1, 16, 64],
  requestsPerConnection: [8, 7, 3],
  warmUpRequests: 2560,
  shortRequests: 2560,
};
export const quickSizes: Sizes = {
  streams: [1, 16, 64],
  requestsPerConnection: [3, 2, 1],
  warmUpRequests: 640,
  shortRequests: 640,
};

const events = 16;
const intervalMs = 20;
const concurrency = 64;
const longEvents = 100;
const longSpreadMs = 200;
/** The window of the long streams in which all of them run: after the last began, before the first ends. */
const windowMs = { from: 400, to: 1_900 };

export interface Latency {
  readonly streams: number;
  readonly ttftMs: Summary;
  readonly totalMs: Summary;
  readonly chunkDelayMs: Summary;
  readonly gapMs: Summary;
  /** Every request's, in order of their ends. */
  readonly rawTtftMs: readonly number[];
  readonly rawTotalMs: readonly number[];
}

export interface Visit {
  readonly system: string;
  readonly latency: readonly Latency[];
  readonly cpuPerRequestUs: Readonly<Partial<Record<Role, number>>>;
  /** In the window in which all streams run: neither opening nor closing counts. */
  readonly cpuPerChunkUs: Readonly<Partial<Record<Role, number>>>;
  readonly requestsPerSecond: number;
}

export interface Bench {
  readonly enginePort: number;
  readonly sizes: Sizes;
  readonly load: (plan: LoadPlan) => Promise<LoadResult>;
}

type Shape = Omit<LoadPlan, 'target' | 'models'>;

const checked = async (bench: Bench, running: RunningSystem, shape: Shape): Promise<LoadResult> => {
  const result = await bench.load({ target: running.target, models: ['bench'], ...shape });
  const [failure] = result.failures;
  if (failure !== undefined) throw new Error(`a wrong answer: ${failure}`);
  return result;
};

const rounded2 = (values: readonly number[]): readonly number[] =>
  values.map((value) => Math.round(value * 100) / 100);

const latencyAt = async (bench: Bench, running: RunningSystem, index: number): Promise<Latency> => {
  const streams = bench.sizes.streams[index] ?? 1;
  const requests = bench.sizes.requestsPerConnection[index] ?? 1;
  const spreadMs = events * intervalMs;
  const shape = { connections: streams, requests, events, intervalMs, spreadMs };
  const { ttftMs, totalMs, chunkDelayMs, gapMs } = await checked(bench, running, shape);
  return {
    streams,
    ttftMs: summarize(ttftMs),
    totalMs: summarize(totalMs),
    chunkDelayMs: summarize(chunkDelayMs),
    gapMs: summarize(gapMs),
    rawTtftMs: rounded2(ttftMs),
    rawTotalMs: rounded2(totalMs),
  };
};

const cpuNow = ({ pids }: RunningSystem): readonly (readonly [Role, number])[] =>
  (['edge', 'agent'] as const).flatMap((role) => {
    const pid = pids[role];
    return pid === undefined ? [] : [[role, cpuUs(pid)] as const];
  });

/** CPU by role between two readings, per one of `count`. */
const perOne = (
  before: ReturnType<typeof cpuNow>,
  after: ReturnType<typeof cpuNow>,
  count: number,
): Readonly<Partial<Record<Role, number>>> => {
  const used: Partial<Record<Role, number>> = {};
  // A gateway so busy that nothing came out in the window has no figure.
  if (count === 0) return used;
  for (const [index, [role, us]] of after.entries()) used[role] = (us - (before[index]?.[1] ?? us)) / count;
  return used;
};

const shortShape = (requests: number): Shape => ({
  connections: concurrency,
  requests: Math.ceil(requests / concurrency),
  events: 1,
  intervalMs: 0,
  spreadMs: 0,
});

const cpuPerChunk = async (bench: Bench, running: RunningSystem): Promise<Visit['cpuPerChunkUs']> => {
  const load = checked(bench, running, {
    connections: concurrency,
    requests: 1,
    events: longEvents,
    intervalMs,
    spreadMs: longSpreadMs,
    keepArrivals: true,
  });
  // Awaited below; a failure meanwhile must not count as unhandled.
  load.catch(() => {});
  await delayMs(windowMs.from);
  const fromUs = monotonicUs();
  const before = cpuNow(running);
  await delayMs(windowMs.to - windowMs.from);
  const toUs = monotonicUs();
  const after = cpuNow(running);
  const { arrivalsUs } = await load;
  return perOne(before, after, arrivalsUs.filter((us) => us >= fromUs && us < toUs).length);
};

export const visit = async (bench: Bench, system: System): Promise<Visit> => {
  const running = await system.start(bench.enginePort);
  try {
    await checked(bench, running, shortShape(bench.sizes.warmUpRequests));
    await checked(bench, running, { connections: 64, requests: 1, events, intervalMs, spreadMs: 100 });
    const latency: Latency[] = [];
    for (const index of bench.sizes.streams.keys()) latency.push(await latencyAt(bench, running, index));
    const before = cpuNow(running);
    const short = await checked(bench, running, shortShape(bench.sizes.shortRequests));
    const cpuPerRequestUs = perOne(before, cpuNow(running), short.requests);
    return {
      system: system.name,
      latency,
      cpuPerRequestUs,
      cpuPerChunkUs: await cpuPerChunk(bench, running),
      requestsPerSecond: Math.round((short.requests * 1e3) / short.elapsedMs),
    };
  } catch (thrown) {
    throw new Error(`${system.name}: ${messageOf(thrown)}`);
  } finally {
    await running.stop();
  }
};
