/**
 * What this host measures: a watch for each engine whose profile says where its metrics are, the sources of GPUs, and
 * one timer that tells the link what is due. Decides nothing about requests.
 */
import type { EngineLoadStatus } from '@cognitora/protocol/agent-status';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { telemetryMs } from '@cognitora/protocol/limits';
import type { GpuReport, LoadReport, Telemetry } from '@cognitora/protocol/telemetry';
import type { Clock } from '../clock.ts';
import type { Engine } from '../engines/engine.ts';
import type { EngineConfig } from '../engines/engine-config.ts';
import type { Metrics } from '../engines/profiles/profile.ts';
import type { Log } from '../log.ts';
import type { ReplicaCounters } from '../status/counters.ts';
import { EngineWatch } from './engine-watch.ts';
import { GpuReadings } from './gpu-readings.ts';
import { known } from './known.ts';
import type { PowerSource } from './power-source.ts';
import { Untold } from './untold.ts';

export interface WatchedReplica {
  readonly engine: Engine;
  readonly config: Pick<EngineConfig, 'name' | 'source'>;
  readonly counters: ReplicaCounters;
  /** Of its profile; undefined: it has none that we know. */
  readonly metrics: Metrics | undefined;
}

export interface HostTelemetryOptions {
  readonly replicas: readonly WatchedReplica[];
  readonly sources: readonly PowerSource[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Takes figures, or does not: they are offered again then. */
export interface TelemetryLink {
  measured(figures: Omit<Telemetry, 'rttMs'>): boolean;
}

export class HostTelemetry {
  readonly #options: HostTelemetryOptions;
  readonly #watches = new Map<ReplicaName, EngineWatch>();
  readonly #gpus = new GpuReadings();
  #untold = new Untold();
  #link: TelemetryLink | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stops: (() => void)[] = [];

  constructor(options: HostTelemetryOptions) {
    this.#options = options;
    for (const { engine, config, metrics, counters } of options.replicas) {
      if (metrics === undefined) continue;
      this.#watches.set(config.name, new EngineWatch({ engine, metrics, counters, log: options.log }));
    }
  }

  start(): void {
    const { sources, clock, log } = this.#options;
    for (const watch of this.#watches.values()) watch.start();
    const onGpu = (report: GpuReport): void => this.#gpus.read(report, clock.monotonicMs());
    this.#stops = sources.map((source) => source.start({ onGpu, log }));
    this.#timer = setInterval(() => this.tell(), telemetryMs / 2);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const watch of this.#watches.values()) watch.stop();
    for (const stop of this.#stops) stop();
  }

  /** A link that knows nothing yet. */
  linked(link: TelemetryLink): void {
    this.#link = link;
    this.#untold = new Untold();
  }

  unlinked(link: TelemetryLink): void {
    if (this.#link === link) this.#link = undefined;
  }

  /** Tells the link what is due. */
  tell(): void {
    const link = this.#link;
    if (link === undefined) return;
    const nowMs = this.#options.clock.monotonicMs();
    const gpus = this.#gpus.reports(nowMs);
    this.#untold.tell(this.#loads(gpus), gpus, nowMs, (figures) => link.measured(figures));
  }

  get gpus(): readonly GpuReport[] {
    return this.#gpus.reports(this.#options.clock.monotonicMs());
  }

  /** For who asks on this host; undefined while nothing is known. */
  loadOf(name: ReplicaName): EngineLoadStatus | undefined {
    const history = this.#watches.get(name)?.history;
    if (history?.load === undefined) return undefined;
    const { running, waiting, othersRunning, othersWaiting, kvUsage } = history.load;
    return known({ running, waiting, othersRunning, othersWaiting, kvUsage, ...history.totals });
  }

  #loads(readings: readonly GpuReport[]): readonly LoadReport[] {
    return this.#options.replicas.flatMap(({ config }) => {
      const watch = this.#watches.get(config.name);
      const load = watch?.history.load;
      const { running, waiting, othersRunning, othersWaiting, kvUsage } = load ?? {};
      const kvPermille = kvUsage === undefined ? undefined : Math.round(kvUsage * 1_000);
      const gpus = gpusOf(config, readings);
      // Of whom nothing can be known nothing is told.
      if (watch === undefined && gpus === undefined) return [];
      const figures = known({ running, waiting, othersRunning, othersWaiting, kvPermille, gpus });
      return [{ name: config.name, ...figures }];
    });
  }
}

/**
 * Those that the configuration names. An engine that we start without any sees all of the host; of one that runs
 * already nobody knows then.
 */
const gpusOf = (
  { source }: WatchedReplica['config'],
  readings: readonly GpuReport[],
): readonly number[] | undefined => {
  const isAll = source.gpus.length === 0 && source.kind === 'launched';
  const gpus = isAll ? readings.map(({ gpu }) => gpu) : source.gpus;
  return gpus.length === 0 ? undefined : gpus;
};
