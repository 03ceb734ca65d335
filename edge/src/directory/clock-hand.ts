/**
 * The order in which a table's slots are looked at, again and again, for something to drop: each slot once a round.
 * Not straight on: a table is ordered by digest, new digests come everywhere, and a hand that thinned out one stretch
 * after the other would leave the stretches before it to overflow. So it takes a few slots in a row, which memory gives
 * at the price of one, and then goes on 0.618 of the table away; what it has seen is spread evenly at all times.
 */

const slotsInRow = 16;
const goldenShare = 0.618;

const commonDivisor = (left: number, right: number): number =>
  right === 0 ? left : commonDivisor(right, left % right);

export class ClockHand {
  readonly #slots: number;
  readonly #rows: number;
  /** Rows to the next one; shares no divisor with their number, so that none is left out. */
  readonly #stride: number;
  #row = 0;
  #inRow = 0;

  constructor(slots: number) {
    this.#slots = slots;
    this.#rows = Math.ceil(slots / slotsInRow);
    let stride = Math.max(1, Math.floor(this.#rows * goldenShare));
    while (commonDivisor(this.#rows, stride) !== 1) stride -= 1;
    this.#stride = stride;
  }

  /** The next slot's number. */
  next(): number {
    const slot = this.#row * slotsInRow + this.#inRow;
    this.#inRow += 1;
    if (this.#inRow === slotsInRow || slot + 1 === this.#slots) {
      this.#inRow = 0;
      this.#row = (this.#row + this.#stride) % this.#rows;
    }
    return slot;
  }
}
