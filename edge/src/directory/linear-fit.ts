/**
 * A line through noisy samples, learned as they come: recursive least squares with forgetting, pure. Errors count
 * relative to the size of what is predicted; one outlier moves a line that is known no further than two typical errors
 * would. Coefficients stay at or above zero, since all of them are durations. Starts from a stated prior.
 *
 * Source of the recursion: Ljung, System Identification, 2nd edition, section 11.2.
 */

export interface LinearFitOptions {
  /** What each coefficient is believed to be before the first sample, and how far off that may be. */
  readonly prior: readonly { readonly value: number; readonly spread: number }[];
  /** Predictions are taken for at least this much when errors are weighed. */
  readonly floor: number;
}

/** A sample's weight falls to half after some 140 further ones. */
const forgetting = 0.995;
/** A sample is expected to be off by about this share of its prediction. */
const noiseShare = 0.3;
const typicalErrorsMax = 2;
/** Below this all errors are alike. */
const typicalErrorMin = 0.2;
/** How fast the typical error follows, per sample. */
const errorPace = 0.1;
/** Uncertainty of a coefficient never grows beyond this many times its prior's: a fleet that idles forgets nothing. */
const spreadGrowthMax = 4;

export class LinearFit {
  readonly #theta: Float64Array;
  readonly #priorSpread: Float64Array;
  /** Row-major covariance of the coefficients, in units of the noise. */
  readonly #covariance: Float64Array;
  readonly #gain: Float64Array;
  readonly #floor: number;
  #typicalError = 1;
  #samples = 0;

  constructor({ prior, floor }: LinearFitOptions) {
    const size = prior.length;
    this.#theta = Float64Array.from(prior, ({ value }) => value);
    this.#priorSpread = Float64Array.from(prior, ({ spread }) => spread);
    this.#covariance = new Float64Array(size * size);
    for (const [at, { spread }] of prior.entries()) this.#covariance[at * size + at] = spread * spread;
    this.#gain = new Float64Array(size);
    this.#floor = floor;
  }

  get samples(): number {
    return this.#samples;
  }

  predict(features: Float64Array): number {
    let sum = 0;
    for (let at = 0; at < features.length; at += 1) sum += (this.#theta[at] ?? 0) * (features[at] ?? 0);
    return sum;
  }

  learn(features: Float64Array, observed: number): void {
    const predicted = this.predict(features);
    const scale = Math.max(this.#floor, predicted) * noiseShare;
    const error = Math.abs(observed - predicted) / scale;
    const limit = typicalErrorsMax * this.#typicalError;
    // Huber's weights: what is off by more is believed less, but the more the less is known so far.
    const doubt = Math.sqrt(Math.max(1, error / limit));
    this.#typicalError += errorPace * (Math.min(error, limit) - this.#typicalError);
    this.#typicalError = Math.max(typicalErrorMin, this.#typicalError);
    this.#samples += 1;
    this.#step(features, scale * doubt, (observed - predicted) / (scale * doubt));
  }

  #step(features: Float64Array, scale: number, error: number): void {
    const size = features.length;
    const covariance = this.#covariance;
    let denominator = forgetting;
    for (let row = 0; row < size; row += 1) {
      let sum = 0;
      for (let column = 0; column < size; column += 1) {
        sum += (covariance[row * size + column] ?? 0) * ((features[column] ?? 0) / scale);
      }
      this.#gain[row] = sum;
      denominator += sum * ((features[row] ?? 0) / scale);
    }
    for (let row = 0; row < size; row += 1) {
      const moved = (this.#theta[row] ?? 0) + ((this.#gain[row] ?? 0) / denominator) * error;
      this.#theta[row] = Math.max(0, moved);
    }
    for (let row = 0; row < size; row += 1) {
      for (let column = 0; column < size; column += 1) {
        const at = row * size + column;
        const taken = ((this.#gain[row] ?? 0) * (this.#gain[column] ?? 0)) / denominator;
        covariance[at] = ((covariance[at] ?? 0) - taken) / forgetting;
      }
    }
    this.#bound(size);
  }

  #bound(size: number): void {
    for (let at = 0; at < size; at += 1) {
      const variance = this.#covariance[at * size + at] ?? 0;
      const most = ((this.#priorSpread[at] ?? 0) * spreadGrowthMax) ** 2;
      if (variance <= most) continue;
      const shrink = Math.sqrt(most / variance);
      for (let other = 0; other < size; other += 1) {
        this.#covariance[at * size + other] = (this.#covariance[at * size + other] ?? 0) * shrink;
        this.#covariance[other * size + at] = (this.#covariance[other * size + at] ?? 0) * shrink;
      }
    }
  }
}
