/** What a region's admission did, for metrics: grants, refusals by reason, and for how long who was let in waited. */
import type { HistogramFigures } from '@cognitora/protocol/metrics-page';

/**
 * Why a request was not let in: its tenant has as many as it may, or more than its share of the queue; the queue is
 * full; its first token, or its turn, would come too late, or did; its own deadline passed; its client left.
 */
export const refusalReasons = [
  'tenant_concurrency',
  'tenant_share',
  'queue_full',
  'predicted_late',
  'queue_time',
  'deadline',
  'client_gone',
] as const;
export type RefusalReason = (typeof refusalReasons)[number];

const bucketsSeconds = [0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

export class WaitTimes {
  readonly #counts = new Array<number>(bucketsSeconds.length).fill(0);
  #count = 0;
  #sumMs = 0;

  saw(ms: number): void {
    const at = bucketsSeconds.findIndex((le) => ms <= le * 1_000);
    if (at >= 0) this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#count += 1;
    this.#sumMs += ms;
  }

  get figures(): HistogramFigures {
    let below = 0;
    const buckets = bucketsSeconds.map((le, at) => {
      below += this.#counts[at] ?? 0;
      return [le, below] as const;
    });
    return { buckets, count: this.#count, sumSeconds: this.#sumMs / 1_000 };
  }
}

/** Of one model, or of one tenant. */
export class Counts {
  granted = 0;
  readonly refused = new Map<RefusalReason, number>();

  refuse(reason: RefusalReason): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
}
