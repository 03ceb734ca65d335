/**
 * Times in buckets of powers of two, from a microsecond to a quarter of a minute: counting one is an addition to an
 * array, without a search. Never reads a clock.
 */

/** 2^24 microseconds are 17 s: later than any bound of ours. */
const bucketsMax = 25;

export class Histogram {
  readonly #counts = new Float64Array(bucketsMax + 1);
  #sumMs = 0;

  /** `times` where one that was looked at stands for so many. */
  observe(ms: number, times = 1): void {
    const microseconds = Math.ceil(ms * 1_000);
    // The least power of two that is not below it.
    const bucket = microseconds <= 1 ? 0 : 32 - Math.clz32(Math.min(microseconds, 2 ** 31) - 1);
    const at = bucket < bucketsMax ? bucket : bucketsMax;
    this.#counts[at] = (this.#counts[at] ?? 0) + times;
    this.#sumMs += ms * times;
  }

  /** In seconds, as Prometheus has them: each bucket with all below it, those above the last in `count`. */
  get figures(): {
    readonly buckets: readonly (readonly [leSeconds: number, count: number])[];
    readonly count: number;
    readonly sumSeconds: number;
  } {
    let count = 0;
    const buckets: (readonly [number, number])[] = [];
    for (let bucket = 0; bucket < bucketsMax; bucket += 1) {
      count += this.#counts[bucket] ?? 0;
      buckets.push([2 ** bucket / 1e6, count]);
    }
    return { buckets, count: count + (this.#counts[bucketsMax] ?? 0), sumSeconds: this.#sumMs / 1_000 };
  }
}
