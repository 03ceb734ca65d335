/**
 * How many attempts a region makes beyond the first of each request: a share of those, so that retries never become the
 * load that makes requests fail, and some at once, so that a node that dies with all its requests loses none. Answers
 * that were begun take nothing of it. Pure; needs no time. Decides nothing of where or when.
 */
import { retriesAtOnceMax, retriesPerRequest } from '@cognitora/protocol/limits';

export class RetryBudget {
  #left = retriesAtOnceMax;
  #refused = 0;

  /** A request got its first replica. */
  first(): void {
    this.#left = Math.min(retriesAtOnceMax, this.#left + retriesPerRequest);
  }

  /** One more attempt; false: there is none left. */
  take(): boolean {
    if (this.#left >= 1) {
      this.#left -= 1;
      return true;
    }
    this.#refused += 1;
    return false;
  }

  get view(): { readonly left: number; readonly refused: number } {
    return { left: Math.floor(this.#left), refused: this.#refused };
  }
}
