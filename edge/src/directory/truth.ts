/**
 * Whether a replica's claims hold: cached tokens that were predicted for it against those that its engine reported,
 * over its latest requests. Pure. What it says scales every further claim of that replica, and demotes a liar.
 */

/** How much the edge knows of what a replica has cached. */
export const trusts = ['exact', 'approximate', 'blind'] as const;
export type Trust = (typeof trusts)[number];

/** Requests that are remembered. */
const windowRequests = 64;
/** Fewer than this say nothing. */
const judgedRequestsMin = 16;
/** A replica whose claims fall short by more than this share of what was predicted is believed less. */
const approximateShortShare = 0.2;
const blindShortShare = 0.5;
/** Requests with so few predicted tokens are a matter of rounding. */
const predictedTokensMin = 128;

export class Truth {
  readonly #predicted = new Float64Array(windowRequests);
  readonly #confirmed = new Float64Array(windowRequests);
  #next = 0;
  #requests = 0;
  #predictedSum = 0;
  #confirmedSum = 0;

  /** Requests that were compared, all in all. */
  get requests(): number {
    return this.#requests;
  }

  get predictedTokens(): number {
    return this.#predictedSum;
  }

  /** Of the predicted tokens, those that the engine had. */
  get confirmedTokens(): number {
    return this.#confirmedSum;
  }

  /** What share of a claim to believe, 0 to 1; all of it before there is something to judge by. */
  get share(): number {
    if (this.#requests < judgedRequestsMin || this.#predictedSum === 0) return 1;
    return this.#confirmedSum / this.#predictedSum;
  }

  /** The most that may be said of a replica that announces `announced`. */
  limit(announced: Trust): Trust {
    const short = 1 - this.share;
    if (short > blindShortShare) return 'blind';
    if (short > approximateShortShare && announced === 'exact') return 'approximate';
    return announced;
  }

  compare(predictedTokens: number, reportedTokens: number): void {
    if (predictedTokens < predictedTokensMin) return;
    const confirmed = Math.min(predictedTokens, reportedTokens);
    this.#predictedSum += predictedTokens - (this.#predicted[this.#next] ?? 0);
    this.#confirmedSum += confirmed - (this.#confirmed[this.#next] ?? 0);
    this.#predicted[this.#next] = predictedTokens;
    this.#confirmed[this.#next] = confirmed;
    this.#next = (this.#next + 1) % windowRequests;
    this.#requests += 1;
  }

  /** The replica begins anew: its engine restarted, or its claims were taken afresh. */
  forget(): void {
    this.#predicted.fill(0);
    this.#confirmed.fill(0);
    this.#next = 0;
    this.#requests = 0;
    this.#predictedSum = 0;
    this.#confirmedSum = 0;
  }
}
