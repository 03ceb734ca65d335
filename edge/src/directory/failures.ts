/**
 * How often in a row a replica failed, and for how long it is left alone for that. A request that fails at once frees
 * its place at once, so by load alone a broken replica looks idle and draws the traffic. Pure; time comes in with each
 * call. Owns the count and the one trial at a time; never decides who is tried (`eligibility.ts`).
 *
 *   sound --3 failures in a row--> failing, waits --time is up--> one trial --failed--> waits twice as long
 *                                                                         \-worked--> sound
 */
import type { Reservation } from './load.ts';

/** What the end of a request says of its replica. Absent: nothing, as when the client left or asked for nonsense. */
export type Verdict = 'worked' | 'failed';

/** One failure may be the request's own fault or a blip, and costs a retry; three in a row rarely are. */
export const failuresInRowMax = 3;
/** About what an engine that only stumbled needs; a burst of thousands costs its clients three failures. */
export const failingMsMin = 1_000;
/** A replica that was mended serves again within this; one that was not costs two requests a minute. */
export const failingMsMax = 30_000;

export class Failures {
  #inRow = 0;
  #waitMs = 0;
  #untilMs = 0;
  #trial: Reservation | undefined;

  get isFailing(): boolean {
    return this.#inRow >= failuresInRowMax;
  }

  /** When it may be tried again. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /** It is not to be given a request now: its time is not up, or somebody is trying it. */
  keepsBack(nowMs: number): boolean {
    return this.isFailing && (this.#trial !== undefined || this.#isWaiting(nowMs));
  }

  /** A request goes there. */
  booked(reservation: Reservation): void {
    if (this.isFailing) this.#trial = reservation;
  }

  /** That request is answered, or over: the next trial may begin. */
  tried(reservation: Reservation): void {
    if (this.#trial === reservation) this.#trial = undefined;
  }

  ended(verdict: Verdict | undefined, nowMs: number): void {
    if (verdict === 'worked') this.#clear();
    if (verdict === 'failed') this.#count(nowMs);
  }

  #clear(): void {
    this.#inRow = 0;
    this.#waitMs = 0;
    this.#trial = undefined;
  }

  /** What fails while it waits began before, or had nowhere else to go: only a failed trial doubles the time. */
  #count(nowMs: number): void {
    this.#inRow = Math.min(failuresInRowMax, this.#inRow + 1);
    if (!this.isFailing || this.#isWaiting(nowMs)) return;
    this.#waitMs = Math.min(failingMsMax, Math.max(failingMsMin, 2 * this.#waitMs));
    this.#untilMs = nowMs + this.#waitMs;
  }

  /** A time that lies further ahead than any wait is from before the clock was set back. */
  #isWaiting(nowMs: number): boolean {
    return nowMs < this.#untilMs && this.#untilMs - nowMs <= this.#waitMs;
  }
}
