/**
 * What the end of a kept connection calls for. It may be an engine's death, which is to be seen at once; or the habit
 * of an engine that keeps no connection, whose looks would then follow each other without end. Pure.
 */

/** So many looks in a row whose connection was ended: it is a habit. */
const lossesMax = 3;

export class Losses {
  #inARow = 0;
  #isLost = false;
  #isTold = false;

  /** A look begins. */
  looking(): void {
    if (!this.#isLost) this.#inARow = 0;
    this.#isLost = false;
  }

  /** A connection was ended. `told` once, where it is a habit: the next look comes when its time comes. */
  lost(): 'look' | 'told' | 'wait' {
    if (this.#isLost) return 'wait';
    this.#isLost = true;
    this.#inARow += 1;
    if (this.#inARow <= lossesMax) return 'look';
    if (this.#isTold) return 'wait';
    this.#isTold = true;
    return 'told';
  }
}
