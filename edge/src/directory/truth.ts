/**
 * Whether a replica's claims hold: cached tokens that were predicted for it against those that its engine reported,
 * over its latest requests. Pure. What it says scales every further claim of that replica, and demotes a liar.
 */
import type { Trust } from '@cognitora/protocol/kv';

/** Requests that are remembered. */
const windowRequests = 64;
/** Fewer than this say nothing. */
const judgedRequestsMin = 16;
/** A replica whose claims fall short by more than this share of what was predicted is believed less. */
const approximateShortShare = 0.2;
const blindShortShare = 0.5;
/** Requests with so few predicted tokens are a matter of rounding. */
const predictedTokensMin = 128;

/** Of the latest requests, each at its number modulo the window. */
interface Window {
  readonly predicted: Float64Array;
  readonly confirmed: Float64Array;
}

export class Truth {
  /** Made with the first comparison: most replicas of a large fleet have none yet. */
  #window: Window | undefined;
  #requests = 0;
  #predictedSum = 0;
  #confirmedSum = 0;
  /** What it was believed before it began anew: a liar is not cleared by clearing its cache. */
  #shareBefore: number;

  constructor(shareBefore = 1) {
    this.#shareBefore = shareBefore;
  }

  /** Whether there is anything to remember. */
  get isTold(): boolean {
    return this.#requests > 0 || this.#shareBefore < 1;
  }

  /** Requests that were compared since it began. */
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

  /** What share of a claim to believe, 0 to 1; as before, or all of it, until there is something to judge by. */
  get share(): number {
    if (this.#requests < judgedRequestsMin || this.#predictedSum === 0) return this.#shareBefore;
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
    const window = this.#windowMade();
    const at = this.#requests % windowRequests;
    this.#predictedSum += predictedTokens - (window.predicted[at] ?? 0);
    this.#confirmedSum += confirmed - (window.confirmed[at] ?? 0);
    window.predicted[at] = predictedTokens;
    window.confirmed[at] = confirmed;
    this.#requests += 1;
  }

  /** The replica begins anew: its engine restarted. A judgement that is under way goes on, or none would be reached. */
  forget(): void {
    if (this.#requests < judgedRequestsMin) return;
    this.#shareBefore = this.share;
    this.#window = undefined;
    this.#requests = 0;
    this.#predictedSum = 0;
    this.#confirmedSum = 0;
  }

  #windowMade(): Window {
    this.#window ??= {
      predicted: new Float64Array(windowRequests),
      confirmed: new Float64Array(windowRequests),
    };
    return this.#window;
  }
}
