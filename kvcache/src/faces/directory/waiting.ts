/**
 * Files that were seen and are not known yet: one is ripe when a later look finds it as it was. New ones come before
 * those that the store may have already (after a restart). Who owns it bounds it. Pure.
 */
import type { Seen } from './tree.ts';

export interface Waiter extends Seen {
  readonly path: string;
}

export class Waiting {
  readonly #fresh = new Map<string, Waiter>();
  readonly #old = new Map<string, Waiter>();

  get size(): number {
    return this.#fresh.size + this.#old.size;
  }

  /** By a scan. It may be one of this moment, so it is not ripe by that. */
  add(path: string, seen: Seen, isOld = false): void {
    if (this.#fresh.has(path) || this.#old.has(path)) return;
    (isOld ? this.#old : this.#fresh).set(path, { ...seen, path });
  }

  /** Those to look at next, so many at most. */
  first(count: number): readonly Waiter[] {
    const first = [...this.#fresh.values().take(count)];
    return [...first, ...this.#old.values().take(count - first.length)];
  }

  /** By a look behind that of `add`; undefined: it is gone. True when it is ripe, and waits no more. */
  again(path: string, seen: Seen | undefined): boolean {
    for (const files of [this.#fresh, this.#old]) {
      const before = files.get(path);
      if (before === undefined) continue;
      files.delete(path);
      if (before.identity === seen?.identity) return true;
      // Behind all others: one that is written for long keeps none of them waiting.
      if (seen !== undefined) files.set(path, { ...seen, path });
    }
    return false;
  }
}
