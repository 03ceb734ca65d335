/**
 * For how long an engine has shown no sign of life: no look at it was answered, and no byte of any answer came. Counts
 * only time in which somebody looked: an agent that stood still itself has heard nobody, whoever spoke. Pure.
 */

/** Of the time between two sweeps so much counts: they come each second, or the agent was held up. */
const sweepCountsMsMax = 2_000;

export class Silence {
  #isBroken = true;
  #sweptMs: number | undefined;
  #silentMs = 0;

  /** How long it lasted at the last sweep. */
  get lastedMs(): number {
    return this.#silentMs;
  }

  /** HOT: for each read of an answer. */
  broken(): void {
    this.#isBroken = true;
  }

  /** How long it lasts. Called about once a second. */
  sweep(nowMs: number): number {
    const sinceMs = Math.min(sweepCountsMsMax, nowMs - (this.#sweptMs ?? nowMs));
    this.#sweptMs = nowMs;
    this.#silentMs = this.#isBroken ? 0 : this.#silentMs + sinceMs;
    this.#isBroken = false;
    return this.#silentMs;
  }
}
