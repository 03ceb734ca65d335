/**
 * How far away the edge is, from pings and their pongs: smoothed, and told anew only when it changed enough to matter
 * to a decision. Pure; a ping that is never answered says nothing.
 */

/** Weight of the newest sample. */
const newestShare = 0.25;
/** Less than both of these is no news. */
const changeShareMin = 0.25;
const changeMsMin = 1;

export class RoundTrip {
  #pingedAtMs: number | undefined;
  #smoothedMs: number | undefined;
  #toldMs: number | undefined;

  pinged(nowMs: number): void {
    this.#pingedAtMs = nowMs;
  }

  /** The time to tell the edge, in whole ms; undefined when it knows that well enough. */
  ponged(nowMs: number): number | undefined {
    if (this.#pingedAtMs === undefined) return undefined;
    const sampleMs = nowMs - this.#pingedAtMs;
    this.#pingedAtMs = undefined;
    const knownMs = this.#smoothedMs ?? sampleMs;
    this.#smoothedMs = knownMs + newestShare * (sampleMs - knownMs);
    const changeMs = Math.abs(this.#smoothedMs - (this.#toldMs ?? Number.NEGATIVE_INFINITY));
    if (changeMs < Math.max(changeMsMin, changeShareMin * this.#smoothedMs)) return undefined;
    this.#toldMs = this.#smoothedMs;
    return Math.round(this.#smoothedMs);
  }
}
