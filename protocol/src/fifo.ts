/**
 * A queue that a peer may make long: taking from it costs the same however many wait, where an array's `shift` moves
 * all of them. Pure.
 */
export class Fifo<T> {
  #items: T[] = [];
  /** How many at the front were taken already: never more than what waits, so that each is moved about once. */
  #taken = 0;

  get length(): number {
    return this.#items.length - this.#taken;
  }

  get first(): T | undefined {
    return this.#items[this.#taken];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** HOT. */
  shift(): T | undefined {
    const item = this.#items[this.#taken];
    this.#taken += 1;
    if (this.#taken >= this.#items.length) this.clear();
    else if (2 * this.#taken > this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }

  clear(): void {
    this.#items.length = 0;
    this.#taken = 0;
  }
}
