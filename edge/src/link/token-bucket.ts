/**
 * How much of something may happen: a rate, and a burst that was saved up. Pure but for the clock that is given. May go
 * into debt, down to a bound, for what cannot be undone once it was counted.
 */
import type { Clock } from '../clock.ts';

export interface TokenBucketOptions {
  readonly clock: Clock;
  readonly perSecond: number;
  readonly burst: number;
}

export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #level: number;
  #filledAtMs: number;

  constructor(options: TokenBucketOptions) {
    this.#options = options;
    this.#level = options.burst;
    this.#filledAtMs = options.clock();
  }

  /** What may be taken now; below zero it is a debt. */
  get level(): number {
    const { clock, perSecond, burst } = this.#options;
    const nowMs = clock();
    // A clock that was set back gives nothing.
    const earned = (Math.max(0, nowMs - this.#filledAtMs) * perSecond) / 1000;
    this.#filledAtMs = nowMs;
    this.#level = Math.min(burst, this.#level + earned);
    return this.#level;
  }

  /** Takes it all, or nothing. */
  take(tokens: number): boolean {
    if (this.level < tokens) return false;
    this.#level -= tokens;
    return true;
  }

  /** Takes it whatever is left, down to a debt as large as the burst. */
  charge(tokens: number): void {
    this.#level = Math.max(-this.#options.burst, this.level - tokens);
  }

  give(tokens: number): void {
    this.#level = Math.min(this.#options.burst, this.level + tokens);
  }
}
