/** What is not tried again for a while. Bounded: with more the oldest are forgotten first. */

export class Remembered {
  readonly #untilMs = new Map<string, number>();
  readonly #msMax: number;
  readonly #entriesMax: number;
  readonly #nowMs: () => number;

  constructor(options: {
    readonly msMax: number;
    readonly entriesMax: number;
    readonly nowMs: () => number;
  }) {
    this.#msMax = options.msMax;
    this.#entriesMax = options.entriesMax;
    this.#nowMs = options.nowMs;
  }

  add(what: string): void {
    this.#untilMs.delete(what);
    this.#untilMs.set(what, this.#nowMs() + this.#msMax);
    for (const oldest of this.#untilMs.keys()) {
      if (this.#untilMs.size <= this.#entriesMax) return;
      this.#untilMs.delete(oldest);
    }
  }

  has(what: string): boolean {
    const untilMs = this.#untilMs.get(what);
    if (untilMs === undefined) return false;
    if (untilMs > this.#nowMs()) return true;
    this.#untilMs.delete(what);
    return false;
  }

  delete(what: string): void {
    this.#untilMs.delete(what);
  }

  clear(): void {
    this.#untilMs.clear();
  }
}
