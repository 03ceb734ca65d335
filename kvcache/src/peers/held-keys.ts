/**
 * Which keys this daemon holds, as it tells the fleet: all of them once a link begins, then what comes and goes. Keeps
 * no list of its own: a key that changed is looked up in the store when it is told, so what is told is what is.
 */
import { kvHeldPerLineMax } from '@cognitora/protocol/kv-daemon';
import { isSharedKey } from '../namespaces.ts';
import { keyDigest } from './key-digest.ts';
import { changedKeysMax, heldLooksMax } from './limits.ts';

export interface HeldChange {
  /** Forget all that was told before. */
  readonly isCleared: boolean;
  /** Digests, 16 hex each. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export interface HeldStore {
  has(key: string): boolean;
  keys(): Iterable<string>;
}

export class HeldKeys {
  readonly #store: HeldStore;
  readonly #onChange: () => void;
  readonly #changed = new Set<string>();
  /** Of a telling from the start: what is left. */
  #left: Iterator<string> | undefined;
  #isCleared = false;

  /** `onChange`: there is something to take; called for every change. */
  constructor(store: HeldStore, onChange: () => void = () => {}) {
    this.#store = store;
    this.#onChange = onChange;
  }

  /** A key came or went. Costs a place in a set. */
  changed(key: string): void {
    if (!isSharedKey(key)) return;
    // More than anybody took in time: all is told anew.
    if (this.#changed.size >= changedKeysMax) this.restart();
    else this.#changed.add(key);
    this.#onChange();
  }

  /** Nothing that was told before is known any more. */
  restart(): void {
    this.#changed.clear();
    this.#left = this.#store.keys()[Symbol.iterator]();
    this.#isCleared = true;
    this.#onChange();
  }

  /** There is nothing left to take. */
  get isTold(): boolean {
    return this.#left === undefined && this.#changed.size === 0 && !this.#isCleared;
  }

  /** What is to be told next; undefined: nothing of what was looked at. */
  take(digestsMax = kvHeldPerLineMax): HeldChange | undefined {
    const added: string[] = [];
    const removed: string[] = [];
    const isCleared = this.#isCleared;
    this.#isCleared = false;
    for (let looks = 0; looks < heldLooksMax && added.length < digestsMax; looks += 1) {
      if (this.#left === undefined) break;
      const next = this.#left.next();
      if (next.done === true) this.#left = undefined;
      else if (isSharedKey(next.value)) added.push(keyDigest(next.value));
    }
    for (const key of this.#changed) {
      if (added.length + removed.length >= digestsMax) break;
      this.#changed.delete(key);
      (this.#store.has(key) ? added : removed).push(keyDigest(key));
    }
    if (!isCleared && added.length + removed.length === 0) return undefined;
    return { isCleared, added, removed };
  }
}
