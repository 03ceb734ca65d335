/**
 * The three questions of the scale bench, one function each: does it hold steady, how far does it go, how
 * fast does it come back. Each returns what it saw; verdicts are made in `main.ts`.
 */
import type { LoadResult } from '../load/generator-messages.ts';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { cpuUs, residentBytes } from '../machine/process-figures.ts';
import { quantile, rounded, type Summary, summarize } from '../report/statistics.ts';
import type { Fleet } from './fleet.ts';
import type { MemorySample } from './memory.ts';

const sampleMs = 1_000;
/** Streams begin over this time: a rate of chunks is asked for, not a rate of new requests. */
const spreadMs = 4_000;

export interface Steady {
  readonly streams: number;
  readonly offeredPerSecond: number;
  readonly deliveredPerSecond: number;
  readonly events: number;
  readonly chunkDelayMs: Summary;
  readonly failures: readonly string[];
  readonly memory: readonly MemorySample[];
  /** On the clock of the samples: from here on ever fewer streams run. */
  readonly firstEndSeconds: number;
  /** Cores that each kind of process kept busy. */
  readonly cores: Readonly<Record<string, number>>;
}

const cpuByKind = (fleet: Fleet): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(fleet.pids()).map(([kind, pids]) => [
      kind,
      pids.reduce((sum, pid) => sum + cpuUs(pid), 0),
    ]),
  );

export interface Rate {
  readonly streams: number;
  readonly intervalMs: number;
  readonly seconds: number;
}

const runLoad = (fleet: Fleet, { streams, intervalMs, seconds }: Rate): Promise<LoadResult> =>
  fleet.generator.ask({
    target: {
      host: '127.0.0.1',
      port: fleet.edge.port,
      path: '/v1/chat/completions',
      headers: { authorization: `Bearer ${fleet.edge.apiKey}` },
    },
    models: fleet.models,
    connections: streams,
    requests: 1,
    events: Math.ceil((seconds * 1e3) / intervalMs),
    intervalMs,
    spreadMs,
    keepArrivals: true,
  });

/** Runs all streams at one rate, and watches the edge's memory once a second meanwhile. */
export const steady = async (fleet: Fleet, rate: Rate): Promise<Steady> => {
  const memory: MemorySample[] = [];
  const startedUs = monotonicUs();
  const sample = (): void => {
    const atSeconds = (monotonicUs() - startedUs) / 1e6;
    memory.push({ atSeconds: rounded(atSeconds), bytes: residentBytes(fleet.edge.pid()) });
  };
  sample();
  const before = cpuByKind(fleet);
  const timer = setInterval(sample, sampleMs);
  const result = await runLoad(fleet, rate).finally(() => clearInterval(timer));
  const elapsedUs = monotonicUs() - startedUs;
  const cores = Object.fromEntries(
    Object.entries(cpuByKind(fleet)).map(([kind, us]) => [
      kind,
      rounded((us - (before[kind] ?? 0)) / elapsedUs),
    ]),
  );
  // All streams run from the last one's beginning to the first one's end.
  const windowUs = { from: startedUs + spreadMs * 1e3, to: startedUs + rate.seconds * 1e6 };
  const inWindow = result.arrivalsUs.filter((us) => us >= windowUs.from && us < windowUs.to).length;
  return {
    streams: rate.streams,
    offeredPerSecond: Math.round((rate.streams * 1e3) / rate.intervalMs),
    deliveredPerSecond: Math.round((inWindow * 1e6) / (windowUs.to - windowUs.from)),
    events: result.eventsReceived,
    chunkDelayMs: summarize(result.chunkDelayMs),
    failures: result.failures,
    memory,
    firstEndSeconds: rounded(((result.firstEndUs ?? startedUs + elapsedUs) - startedUs) / 1e6),
    cores,
  };
};

/** At least this share of the offered chunks came out in time, and none was late by more than this. */
const sustainedShareMin = 0.95;
const sustainedDelayP99MsMax = 1_000;

export const isSustained = (step: Steady): boolean =>
  step.failures.length === 0 &&
  step.deliveredPerSecond >= sustainedShareMin * step.offeredPerSecond &&
  step.chunkDelayMs.p99 <= sustainedDelayP99MsMax;

/** Raises the rate step by step until it is not sustained, or the steps run out. */
export const ceiling = async (
  fleet: Fleet,
  intervalsMs: readonly number[],
  seconds: number,
  onStep: (step: Steady) => void,
): Promise<readonly Steady[]> => {
  const steps: Steady[] = [];
  for (const intervalMs of intervalsMs) {
    const step = await steady(fleet, { streams: fleet.links, intervalMs, seconds });
    steps.push(step);
    onStep(step);
    if (!isSustained(step)) break;
  }
  return steps;
};

export interface Recovery {
  readonly links: number;
  readonly back: number;
  /** From the cut until 99 % had a lease again; undefined when they had not within the time given. */
  readonly ms99: number | undefined;
  readonly ms50: number;
  /** Links that the edge itself counts at the end. */
  readonly linksAtEdge: number;
}

const linksAtEdge = async (fleet: Fleet): Promise<number> => {
  const { regions } = await fleet.edge.admin('GET', '/admin/nodes');
  const list = Array.isArray(regions) ? (regions as readonly { readonly nodes: readonly unknown[] }[]) : [];
  return list.reduce((sum, region) => sum + region.nodes.length, 0);
};

/** Cuts all links with `cut` and waits until all are back, at most `msMax`. */
export const recovery = async (fleet: Fleet, cut: () => Promise<void>, msMax: number): Promise<Recovery> => {
  const cutUs = monotonicUs();
  await cut();
  let joined: readonly number[] = [];
  while (joined.length < fleet.links && monotonicUs() - cutUs < msMax * 1e3) {
    await delayMs(100);
    joined = await fleet.joinedSince(cutUs);
  }
  const inMs = joined.map((us) => (us - cutUs) / 1e3).sort((left, right) => left - right);
  const at99 = inMs[Math.ceil(fleet.links * 0.99) - 1];
  return {
    links: fleet.links,
    back: joined.length,
    ms99: at99 === undefined ? undefined : Math.round(at99),
    ms50: Math.round(quantile(inMs, 0.5)),
    linksAtEdge: await linksAtEdge(fleet),
  };
};
