/**
 * How long a try of a fetch stays with its holder. Where somebody else can be asked: no longer than a few times what
 * the path is known to take. Where nobody can: as long as it would be here in time at the rate at which it comes.
 * Pure: knows no timers and no channels.
 */
import { fetchStallMsMax, holderMsMin, holderUnknownMsMax } from './limits.ts';

/** So many times what the path is known to take. */
const timesExpected = 4;

export interface PatienceOptions {
  readonly startedMs: number;
  readonly endsAtMs: number;
  readonly hasOthers: boolean;
  /** What the path takes for so many bytes, alone; undefined: not known. */
  readonly msFor: (bytes: number) => number | undefined;
}

/** A try as it stands. */
export interface Standing {
  readonly nowMs: number;
  /** Bytes that are to come; undefined: the holder has not said how many there are. */
  readonly left: number | undefined;
  /** Bytes that came. */
  readonly came: number;
  /** Tries that share the way with this one, itself included. */
  readonly sharing: number;
}

export class Patience {
  readonly #options: PatienceOptions;
  #leftAtStart: number | undefined;
  #sharingMax = 1;
  #pausedMs = 0;
  #windowMs = 0;
  #cameAtWindow = 0;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /** It was this end that took its time. */
  paused(ms: number): void {
    this.#pausedMs += ms;
  }

  /** The holder is to be left. */
  isOver(standing: Standing): boolean {
    this.#leftAtStart ??= standing.left;
    this.#sharingMax = Math.max(this.#sharingMax, standing.sharing);
    const elapsedMs = standing.nowMs - this.#options.startedMs - this.#pausedMs;
    return this.#options.hasOthers ? elapsedMs >= this.#msMax : this.#isTooSlow(elapsedMs, standing);
  }

  get #msMax(): number {
    const ms = this.#options.msFor(this.#leftAtStart ?? 0);
    return ms === undefined
      ? holderUnknownMsMax
      : Math.max(holderMsMin, timesExpected * ms * this.#sharingMax);
  }

  #isTooSlow(elapsedMs: number, { nowMs, left = 1, came }: Standing): boolean {
    const ms = elapsedMs - this.#windowMs;
    if (ms < fetchStallMsMax) return false;
    const bytesPerMs = (came - this.#cameAtWindow) / ms;
    this.#windowMs = elapsedMs;
    this.#cameAtWindow = came;
    // All of it is here: it is looked at.
    return left > 0 && left / bytesPerMs > this.#options.endsAtMs - nowMs;
  }
}
