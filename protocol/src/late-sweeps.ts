/**
 * Whether a sweep comes so late that whoever sweeps was itself held up. What came meanwhile waits to be read, so nobody
 * is blamed for the pause yet; but not for ever. Pure: its owner tells it the time.
 */

/** Late sweeps in a row that judge nobody: one that is always late must still end what is dead. */
const lateSweepsMax = 4;

export class LateSweeps {
  readonly #everyMs: number;
  #sweptAtMs: number;
  #lateSweeps = 0;

  /** Swept every `everyMs` from now on. */
  constructor(everyMs: number, nowMs: number) {
    this.#everyMs = everyMs;
    this.#sweptAtMs = nowMs;
  }

  /** To be asked once a sweep: whether it must not judge. */
  isLate(nowMs: number): boolean {
    const isLate = nowMs - this.#sweptAtMs > 2 * this.#everyMs;
    this.#sweptAtMs = nowMs;
    this.#lateSweeps = isLate ? this.#lateSweeps + 1 : 0;
    return isLate && this.#lateSweeps <= lateSweepsMax;
  }
}
