/**
 * How long something of which many are seen nearly always takes: the mean and how far they stray from it, the latest
 * counting most. Pure.
 */

/** As TCP measures round trips: eight samples of memory for the mean, four for what strays. */
const meanGain = 1 / 8;
const strayGain = 1 / 4;
/** Beyond the mean: all but a few in a hundred are within it. */
const strays = 2;

export class LikelyTime {
  #meanMs: number | undefined;
  #strayMs = 0;

  saw(ms: number): void {
    if (this.#meanMs === undefined) {
      this.#meanMs = ms;
      this.#strayMs = ms / 2;
      return;
    }
    this.#strayMs += strayGain * (Math.abs(ms - this.#meanMs) - this.#strayMs);
    this.#meanMs += meanGain * (ms - this.#meanMs);
  }

  /** What nearly all take; 0 as long as nobody knows. */
  get likelyMs(): number {
    return this.#meanMs === undefined ? 0 : this.#meanMs + strays * this.#strayMs;
  }
}
