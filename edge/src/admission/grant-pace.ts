/**
 * How fast those who wait for one model are let in: grants in the time in which somebody waited, the latest counting
 * most. Pure; time comes in with each call. Times when nobody waits say nothing and are left out; a long one ends what
 * was known.
 */

/** So much waiting time counts half once as much came after it: a few long answers, and short enough to follow. */
const halfLifeMs = 10_000;
/** Fewer grants than this tell no pace. */
const grantsMin = 4;
/** After so long without anybody waiting, what was measured is of other requests, and maybe of other replicas. */
const idleMsMax = 60_000;

export class GrantPace {
  #grants = 0;
  #samples = 0;
  #waitedMs = 0;
  #idleMs = 0;

  /** Somebody waited for so long. */
  waited(ms: number): void {
    this.#idleMs = 0;
    const left = 2 ** (-ms / halfLifeMs);
    this.#grants *= left;
    this.#waitedMs = this.#waitedMs * left + ms;
  }

  /** Nobody waited for so long. */
  idled(ms: number): void {
    this.#idleMs += ms;
    if (this.#idleMs < idleMsMax) return;
    this.#grants = 0;
    this.#samples = 0;
    this.#waitedMs = 0;
  }

  granted(): void {
    this.#grants += 1;
    this.#samples += 1;
  }

  /** How long so many take until they are all let in; undefined while there is no pace. */
  msFor(tickets: number): number | undefined {
    if (this.#samples < grantsMin || this.#waitedMs === 0) return undefined;
    return (tickets * this.#waitedMs) / this.#grants;
  }
}
