/**
 * Walks over all keys in pieces, for SCAN and for the daemon's own list. A cursor is a number that stands for a walk
 * under way, of which there are few: the oldest is given up for a new one, and who had it begins anew, as after a
 * restart. A key that stays is told at least once; one may be told twice.
 */
import type { KvStore } from './store.ts';

const walksMax = 64;

interface Walk {
  readonly prefix: string;
  readonly keys: Iterator<string>;
}

export interface WalkStep {
  readonly prefix: string;
  /** 0 begins. */
  readonly cursor: number;
  /** Keys looked at. */
  readonly looksMax: number;
  /** Keys told. */
  readonly countMax: number;
  /** What is behind the prefix. */
  readonly isAsked?: (rest: string) => boolean;
}

export class KeyWalks {
  readonly #store: KvStore;
  readonly #walks = new Map<number, Walk>();
  #latest = 0;

  constructor(store: KvStore) {
    this.#store = store;
  }

  /** A cursor of 0 is the end; so is one that is not known any more. */
  step({ prefix, cursor, looksMax, countMax, isAsked = () => true }: WalkStep): {
    readonly keys: readonly string[];
    readonly cursor: number;
  } {
    const known = this.#walks.get(cursor);
    if (cursor !== 0 && known?.prefix !== prefix) return { keys: [], cursor: 0 };
    this.#walks.delete(cursor);
    const walk = known ?? { prefix, keys: this.#store.keys() };
    const keys: string[] = [];
    for (let looks = 0; looks < looksMax && keys.length < countMax; looks += 1) {
      const { done, value: key } = walk.keys.next();
      if (done === true) return { keys, cursor: 0 };
      if (key.startsWith(prefix) && isAsked(key.slice(prefix.length))) keys.push(key);
    }
    this.#latest += 1;
    this.#walks.set(this.#latest, walk);
    for (const oldest of this.#walks.keys()) {
      if (this.#walks.size <= walksMax) break;
      this.#walks.delete(oldest);
    }
    return { keys, cursor: this.#latest };
  }
}
