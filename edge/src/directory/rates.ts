/**
 * How fast replicas are, learned from what they did: the time of a prefill and of a decode step. Pure. What a cell's
 * replicas did together gives the lines, which begin with the prior that stands here; a replica's own rates are those
 * lines at its own pace.
 */
import { LinearFit } from './linear-fit.ts';
import { Pace } from './pace.ts';

/**
 * Prefill, ms: a fixed part, per 1,000 uncached tokens, the same times context (attention), the same times decoding
 * requests (they share the device). The prior is a mid-size model on one data-center GPU.
 */
const prefillPrior = [
  { value: 20, spread: 50 },
  { value: 150, spread: 300 },
  { value: 0, spread: 5 },
  { value: 0, spread: 5 },
];
/** Decode step, ms: a fixed part, and per decoding request. */
const decodePrior = [
  { value: 20, spread: 30 },
  { value: 0.5, spread: 2 },
];
/** Durations below this differ for reasons that are not the replica's. */
const prefillFloorMs = 20;
const stepFloorMs = 2;
/** Prefills after which the rates are the engine's rather than the prior's. */
const learnedSamples = 8;

export interface PrefillWork {
  readonly uncachedTokens: number;
  readonly contextTokens: number;
  /** Requests that decode beside it. */
  readonly decoding: number;
}

export class Rates {
  readonly #prefill = new LinearFit({ prior: prefillPrior, floor: prefillFloorMs });
  readonly #decode = new LinearFit({ prior: decodePrior, floor: stepFloorMs });
  /** The most uncached tokens of a prefill that was seen. */
  #longestTokens = 0;
  readonly #prefillFeatures = new Float64Array(prefillPrior.length);
  readonly #decodeFeatures = new Float64Array(decodePrior.length);

  /** Whether predictions rest on what replicas did. */
  get isLearned(): boolean {
    return this.#prefill.samples >= learnedSamples;
  }

  /** Whether what is predicted for so many uncached tokens is more than a guess: as many were seen. */
  foresees(uncachedTokens: number): boolean {
    return this.isLearned && uncachedTokens <= this.#longestTokens;
  }

  prefillMs(work: PrefillWork): number {
    return this.#prefill.predict(this.#featuresOf(work));
  }

  /** One token of each of `batch` decoding requests. */
  stepMs(batch: number): number {
    return this.#decode.predict(this.#batchOf(batch));
  }

  sawPrefill(work: PrefillWork, ms: number): void {
    if (ms < 0) return;
    this.#longestTokens = Math.max(this.#longestTokens, work.uncachedTokens);
    this.#prefill.learn(this.#featuresOf(work), ms);
  }

  sawSteps(batch: number, stepMs: number): void {
    if (stepMs >= 0) this.#decode.learn(this.#batchOf(batch), stepMs);
  }

  #featuresOf({ uncachedTokens, contextTokens, decoding }: PrefillWork): Float64Array {
    const thousands = uncachedTokens / 1000;
    const features = this.#prefillFeatures;
    features[0] = 1;
    features[1] = thousands;
    features[2] = (thousands * contextTokens) / 1000;
    features[3] = thousands * decoding;
    return features;
  }

  #batchOf(batch: number): Float64Array {
    this.#decodeFeatures[0] = 1;
    this.#decodeFeatures[1] = batch;
    return this.#decodeFeatures;
  }
}

/** One replica's: what it did teaches its pace, and the lines of all. */
export class ReplicaRates {
  readonly #common: Rates;
  readonly #prefillPace = new Pace();
  readonly #decodePace = new Pace();

  constructor(common: Rates) {
    this.#common = common;
  }

  get isLearned(): boolean {
    return this.#common.isLearned;
  }

  foresees(uncachedTokens: number): boolean {
    return this.#common.foresees(uncachedTokens);
  }

  prefillMs(work: PrefillWork, nowMs: number): number {
    return this.#common.prefillMs(work) * this.#prefillPace.factorAt(nowMs);
  }

  stepMs(batch: number, nowMs: number): number {
    return this.#common.stepMs(batch) * this.#decodePace.factorAt(nowMs);
  }

  sawPrefill(work: PrefillWork, ms: number, nowMs: number): void {
    if (ms < 0) return;
    const expectedMs = this.#common.prefillMs(work);
    this.#prefillPace.learn(Math.max(ms, prefillFloorMs), Math.max(expectedMs, prefillFloorMs), nowMs);
    this.#common.sawPrefill(work, ms);
  }

  sawSteps(batch: number, stepMs: number, nowMs: number): void {
    if (stepMs < 0) return;
    const expectedMs = this.#common.stepMs(batch);
    this.#decodePace.learn(Math.max(stepMs, stepFloorMs), Math.max(expectedMs, stepFloorMs), nowMs);
    this.#common.sawSteps(batch, stepMs);
  }
}
