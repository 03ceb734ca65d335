/**
 * Walks over all keys in pieces, for SCAN and for the daemon's own list. A cursor is a number that stands for a walk
 * under way, of which there are few: the oldest is given up for a new one, and who had it is told, as after a restart,
 * to begin anew. A key that stays is told at least once; one may be told twice.
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
  /** That took long enough: the page ends before its time. */
  readonly isTired?: () => boolean;
}

export interface WalkPage {
  readonly keys: readonly string[];
  /** 0 is the end. */
  readonly cursor: number;
}

export class KeyWalks {
  readonly #store: KvStore;
  readonly #walks = new Map<number, Walk>();
  #latest = 0;

  constructor(store: KvStore) {
    this.#store = store;
  }

  /** Undefined: the cursor is none, or not any more. */
  step({ prefix, cursor, looksMax, countMax, isAsked, isTired }: WalkStep): WalkPage | undefined {
    const known = this.#walks.get(cursor);
    if (cursor !== 0 && known?.prefix !== prefix) return undefined;
    this.#walks.delete(cursor);
    const walk = known ?? { prefix, keys: this.#store.keys() };
    const keys: string[] = [];
    for (let looks = 0; looks < looksMax && keys.length < countMax; looks += 1) {
      const { done, value: key } = walk.keys.next();
      if (done === true) return { keys, cursor: 0 };
      if (key.startsWith(prefix) && isAsked?.(key.slice(prefix.length)) !== false) keys.push(key);
      if (isTired?.() === true) break;
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
