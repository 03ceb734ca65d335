/**
 * Which figures the edge is to be told now: those that changed enough, and those that were told too long ago for it to
 * believe them much longer. Pure; one for each link, since a new link knows nothing.
 */
import { telemetryMs, telemetryRefreshMs } from '@cognitora/protocol/limits';
import type { GpuReport, LoadReport, Telemetry } from '@cognitora/protocol/telemetry';

type Figures = Readonly<Record<string, unknown>>;

/** A change of so much is noise. Counts of requests: a twentieth of many, none of few. */
const slack: Readonly<Record<string, number>> = {
  kvPermille: 9,
  memoryUsedMiB: 63,
  // As accurate as boards measure.
  watts: 4,
  celsius: 1,
  busyPercent: 4,
};
const slackShare = 0.05;

const isNear = (name: string, told: unknown, now: unknown): boolean => {
  if (typeof told !== 'number' || typeof now !== 'number')
    return JSON.stringify(told) === JSON.stringify(now);
  // That a queue is empty is worth telling, however short it was.
  if (slack[name] === undefined && (told === 0) !== (now === 0)) return false;
  return Math.abs(told - now) <= Math.max(slack[name] ?? 0, slackShare * Math.min(told, now));
};

const isNearly = (told: Figures, now: Figures): boolean =>
  [...new Set([...Object.keys(told), ...Object.keys(now)])].every((name) =>
    isNear(name, told[name], now[name]),
  );

class Told<Key, Report extends object> {
  readonly #told = new Map<Key, { readonly report: Report; readonly atMs: number }>();

  /** Those that are due. */
  due(reports: readonly (readonly [Key, Report])[], nowMs: number): readonly (readonly [Key, Report])[] {
    return reports.filter(([key, report]) => {
      const told = this.#told.get(key);
      if (told === undefined || nowMs - told.atMs >= telemetryRefreshMs) return true;
      return !isNearly(told.report as Figures, report as Figures);
    });
  }

  told(reports: readonly (readonly [Key, Report])[], nowMs: number): void {
    for (const [key, report] of reports) this.#told.set(key, { report, atMs: nowMs });
  }
}

export class Untold {
  readonly #loads = new Told<string, LoadReport>();
  readonly #gpus = new Told<number, GpuReport>();
  #toldAtMs = Number.NEGATIVE_INFINITY;

  /** Gives `tell` what is due, if anything is; what it does not take is due still. */
  tell(
    loads: readonly LoadReport[],
    gpus: readonly GpuReport[],
    nowMs: number,
    tell: (figures: Omit<Telemetry, 'rttMs'>) => boolean,
  ): void {
    if (nowMs - this.#toldAtMs < telemetryMs) return;
    const dueLoads = this.#loads.due(
      loads.map((load) => [load.name, load]),
      nowMs,
    );
    const dueGpus = this.#gpus.due(
      gpus.map((gpu) => [gpu.gpu, gpu]),
      nowMs,
    );
    if (dueLoads.length + dueGpus.length === 0) return;
    const figures = {
      ...(dueLoads.length === 0 ? {} : { replicas: dueLoads.map(([, load]) => load) }),
      ...(dueGpus.length === 0 ? {} : { gpus: dueGpus.map(([, gpu]) => gpu) }),
    };
    if (!tell(figures)) return;
    this.#toldAtMs = nowMs;
    this.#loads.told(dueLoads, nowMs);
    this.#gpus.told(dueGpus, nowMs);
  }
}
