/**
 * How much slower or faster one replica is than its cell's replicas in general: one factor, learned from its own
 * durations against what all of them together would let expect. Pure. One number is known after a few requests and
 * hardly moves with noise, where a replica that learned a whole line of its own would differ from its equals by chance,
 * and be preferred or shunned for it. Sums of times, not of ratios: long work says more than short.
 */

/** The factor 1 that a replica begins with counts as so many samples of the usual length. */
const priorSamples = 8;
/** Older samples count half once so many came after them. */
const memorySamples = 128;
/**
 * Equal replicas look so much different by chance, on hosts that others share. Within that they count as equal, and
 * what is new is spread over them by lot instead of going to whichever looks a trifle faster.
 */
const noiseRatio = 1.25;
/**
 * Without new ones samples count half after so long, down to nothing: a replica that was slow while others used its
 * host gets no requests, and would never be found quick again. A slow one is so tried once in a minute or two.
 */
const halfLifeMs = 30_000;
/** One sample counts as at most so many times slower or faster than expected. */
const ratioMax = 4;

export class Pace {
  #observedMs = 0;
  #expectedMs = 0;
  #counted = 0;
  #learnedAtMs = 0;

  /** 1 for a replica like the others. */
  factorAt(nowMs: number): number {
    const measured = this.#measuredAt(nowMs);
    return measured > noiseRatio || measured < 1 / noiseRatio ? measured : 1;
  }

  #measuredAt(nowMs: number): number {
    if (this.#counted === 0) return 1;
    const left = this.#leftAt(nowMs);
    const priorMs = (priorSamples * this.#expectedMs) / this.#counted;
    return (this.#observedMs * left + priorMs) / (this.#expectedMs * left + priorMs);
  }

  /** What share of its samples' weight is left. */
  #leftAt(nowMs: number): number {
    return 2 ** (-Math.max(0, nowMs - this.#learnedAtMs) / halfLifeMs);
  }

  /** It took so long, where its equals were expected to take that long. */
  learn(observedMs: number, expectedMs: number, nowMs: number): void {
    if (expectedMs <= 0) return;
    const likelyMs = expectedMs * this.#measuredAt(nowMs);
    const left = this.#leftAt(nowMs);
    this.#observedMs *= left;
    this.#expectedMs *= left;
    this.#counted *= left;
    this.#learnedAtMs = nowMs;
    this.#observedMs += Math.max(likelyMs / ratioMax, Math.min(likelyMs * ratioMax, observedMs));
    this.#expectedMs += expectedMs;
    this.#counted += 1;
    if (this.#counted < memorySamples) return;
    this.#observedMs /= 2;
    this.#expectedMs /= 2;
    this.#counted /= 2;
  }
}
