/**
 * The GPUs of this host as they were read last, each once. Pure; time comes in with each call. One that is read no more
 * is told as unknown, not left standing.
 */
import type { GpuReport } from '@cognitora/protocol/telemetry';

/** Several readings may be missed. */
const readingMsMax = 5_000;

export class GpuReadings {
  readonly #read = new Map<number, { readonly report: GpuReport; readonly atMs: number }>();

  read(report: GpuReport, nowMs: number): void {
    this.#read.set(report.gpu, { report, atMs: nowMs });
  }

  /** In the order of their numbers. */
  reports(nowMs: number): readonly GpuReport[] {
    return [...this.#read.values()]
      .map(({ report, atMs }) => (nowMs - atMs <= readingMsMax ? report : { gpu: report.gpu }))
      .sort((left, right) => left.gpu - right.gpu);
  }
}
