/** Bytes a second, kept on average: who takes more than there is waits before it takes again. Pure. */

export class TokenBucket {
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  #bytes: number;
  #atMs: number;

  /** The burst is what a tenth of a second brings, or one frame. */
  constructor(bytesPerSecond: number, frameBytes: number, nowMs: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#burstBytes = Math.max(frameBytes, bytesPerSecond / 10);
    this.#bytes = this.#burstBytes;
    this.#atMs = nowMs;
  }

  /** Takes them, into debt if need be, and says for how long the taker is to wait. */
  take(bytes: number, nowMs: number): number {
    const gained = Math.max(0, nowMs - this.#atMs) * this.#bytesPerMs;
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + gained) - bytes;
    this.#atMs = Math.max(this.#atMs, nowMs);
    return this.#bytes >= 0 ? 0 : Math.ceil(-this.#bytes / this.#bytesPerMs);
  }
}
