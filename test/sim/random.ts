/** All chance of a run, from its seed: numbers, choices, bytes. A fork has its own course, whatever others draw. */
import { createHash } from 'node:crypto';
import { seededRandom } from '../../bench/sim/random.ts';

export class Chance {
  readonly #name: string;
  readonly next: () => number;

  constructor(name: string) {
    this.#name = name;
    this.next = seededRandom(createHash('sha256').update(name).digest().readUInt32LE(0));
  }

  /** Another source, told apart by its name. */
  fork(name: string): Chance {
    return new Chance(`${this.#name}/${name}`);
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** A whole number from `low` to `high`, both included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  isHit(probability: number): boolean {
    return this.next() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = Math.floor(this.next() * 256);
  }
}
