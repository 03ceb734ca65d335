/**
 * How fast this host fetches saved KV, how fast its engine takes it in and how fast it computes a prompt, and so
 * whether a restore is quicker than computing anew. Pure. Each speed follows what was seen; until then a stated guess
 * stands.
 */

/** Old measurements count for less with each new one. */
const memory = 0.8;

/** Units per millisecond, as sums of what was seen, so that long measurements count for more. */
class Rate {
  #units: number;
  #ms: number;
  #isGuess = true;

  constructor(priorUnits: number, priorMs: number) {
    this.#units = priorUnits;
    this.#ms = priorMs;
  }

  saw(units: number, ms: number): void {
    if (!(units > 0 && ms > 0)) return;
    const kept = this.#isGuess ? 0 : memory;
    this.#units = this.#units * kept + units;
    this.#ms = this.#ms * kept + ms;
    this.#isGuess = false;
  }

  msFor(units: number): number {
    return (units * this.#ms) / this.#units;
  }
}

/** Questions to the engine and the renaming of files, whatever their size. */
const overheadMs = 10;

export class MoveRates {
  /** Bytes of envelopes; prior: a network of one gigabit. */
  readonly fetch = new Rate(1_000_000, 8);
  /** Bytes of states; prior: a disk. */
  readonly insert = new Rate(1_000_000, 2);
  /** Tokens; prior: a GPU, for which little is worth moving. */
  readonly prefill = new Rate(4_000, 1_000);

  /** `ahead`: restores that come first. */
  isWorthMoving({ bytes, tokens, ahead }: { bytes: number; tokens: number; ahead: number }): boolean {
    const moveMs = overheadMs + this.fetch.msFor(bytes) + this.insert.msFor(bytes);
    return (ahead + 1) * moveMs < this.prefill.msFor(tokens);
  }
}
