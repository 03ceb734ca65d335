/**
 * How far away the edge is: the shortest of the latest pings, since whatever else a host does only adds; told anew only
 * when it changed enough to matter to a decision. Pure; a ping that is never answered says nothing.
 */

/** Pings that count: 12 s of heartbeats. */
const samplesKept = 4;
/** So many are made one after the other at first: a host that has just started answers late. */
const quickSamples = 3;
/** Less than both of these is no news. */
const changeShareMin = 0.25;
const changeMsMin = 1;

export class RoundTrip {
  readonly #samplesMs: number[] = [];
  #pingedAtMs: number | undefined;
  #toldMs: number | undefined;
  #count = 0;

  /** Whether the next ping should not wait for the heartbeat. */
  get wantsMore(): boolean {
    return this.#count < quickSamples;
  }

  pinged(nowMs: number): void {
    this.#pingedAtMs = nowMs;
  }

  /** The time to tell the edge, in whole ms; undefined when it knows that well enough. */
  ponged(nowMs: number): number | undefined {
    if (this.#pingedAtMs === undefined) return undefined;
    this.#samplesMs.push(nowMs - this.#pingedAtMs);
    this.#pingedAtMs = undefined;
    this.#count += 1;
    if (this.#samplesMs.length > samplesKept) this.#samplesMs.shift();
    const shortestMs = Math.min(...this.#samplesMs);
    const changeMs = Math.abs(shortestMs - (this.#toldMs ?? Number.NEGATIVE_INFINITY));
    if (changeMs < Math.max(changeMsMin, changeShareMin * shortestMs)) return undefined;
    this.#toldMs = shortestMs;
    return Math.round(shortestMs);
  }
}
