/**
 * What agents measured of their engines and GPUs: the latest, and how old it is. Older than `telemetryMsMax` it is
 * unknown, and unknown is undefined, never zero. Of requests that others sent to an engine the last word stands beyond
 * that: who fell silent is taken to be full, not idle. Pure; time comes in with each call. Decides nothing.
 */
import type { ReplicaName } from '@cognitora/protocol/ids';
import { telemetryMsMax } from '@cognitora/protocol/limits';
import type { GpuReport, LoadReport } from '@cognitora/protocol/telemetry';

interface Told<Report> {
  readonly report: Report;
  readonly atMs: number;
}

/** Undefined once it is too old. A clock that was set back makes nothing older. */
const fresh = <Report>(told: Told<Report> | undefined, nowMs: number): Report | undefined =>
  told !== undefined && nowMs - told.atMs <= telemetryMsMax ? told.report : undefined;

/**
 * So many are taken to wait in an engine whose agent told of its requests and does no more: more than engines take into
 * a batch. A queue, since that says what a new request would find.
 */
export const staleWaiting = 256;

export interface GpuView extends GpuReport {
  readonly ageMs: number;
  /** Replicas that run on it. */
  readonly replicas: readonly ReplicaName[];
}

export interface LoadView extends Omit<LoadReport, 'name'> {
  readonly ageMs: number;
}

/** The GPUs of one node, each once: replicas only name them. */
export class GpuFigures {
  /** By number, of which there are `gpusPerNodeMax`. */
  readonly #told = new Map<number, Told<GpuReport>>();

  told(reports: readonly GpuReport[], nowMs: number): void {
    for (const report of reports) this.#told.set(report.gpu, { report, atMs: nowMs });
  }

  /** Undefined unless it is known of each of them. */
  watts(gpus: readonly number[], nowMs: number): number | undefined {
    let sum = 0;
    for (const gpu of gpus) {
      const watts = fresh(this.#told.get(gpu), nowMs)?.watts;
      if (watts === undefined) return undefined;
      sum += watts;
    }
    return gpus.length === 0 ? undefined : sum;
  }

  view(replicas: Iterable<readonly [ReplicaName, readonly number[]]>, nowMs: number): readonly GpuView[] {
    const users = [...replicas];
    return [...this.#told.values()]
      .filter((told) => fresh(told, nowMs) !== undefined)
      .map(({ report, atMs }) => ({
        ...report,
        ageMs: Math.max(0, nowMs - atMs),
        replicas: users.filter(([, gpus]) => gpus.includes(report.gpu)).map(([name]) => name),
      }))
      .sort((left, right) => left.gpu - right.gpu);
  }
}

/** The engine of one replica. */
export class LoadFigures {
  readonly #gpus: GpuFigures;
  #told: Told<LoadReport> | undefined;
  /** The last that said something of requests. */
  #counted: Told<LoadReport> | undefined;

  constructor(gpus: GpuFigures = new GpuFigures()) {
    this.#gpus = gpus;
  }

  told(report: LoadReport, nowMs: number): void {
    this.#told = { report, atMs: nowMs };
    if (report.othersRunning !== undefined || report.othersWaiting !== undefined) this.#counted = this.#told;
  }

  /** Its engine begins anew, and with it what is to be told. */
  beginAnew(): void {
    this.#told = undefined;
    this.#counted = undefined;
  }

  /** Its requests were told once, and that is too old. */
  isStale(nowMs: number): boolean {
    return this.#counted !== undefined && fresh(this.#counted, nowMs) === undefined;
  }

  /** Requests in the engine that this edge did not send, as last told; 0 as long as nobody told. */
  get othersRunning(): number {
    return this.#counted?.report.othersRunning ?? 0;
  }

  othersWaiting(nowMs: number): number {
    return Math.max(this.#counted?.report.othersWaiting ?? 0, this.isStale(nowMs) ? staleWaiting : 0);
  }

  gpus(nowMs: number): readonly number[] {
    return fresh(this.#told, nowMs)?.gpus ?? [];
  }

  /** What its GPUs draw, whoever else uses them. */
  watts(nowMs: number): number | undefined {
    return this.#gpus.watts(this.gpus(nowMs), nowMs);
  }

  view(nowMs: number): LoadView | undefined {
    const report = fresh(this.#told, nowMs);
    if (report === undefined) return undefined;
    const { name: _, ...figures } = report;
    return { ...figures, ageMs: Math.max(0, nowMs - (this.#told?.atMs ?? nowMs)) };
  }
}
