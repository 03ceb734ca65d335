/**
 * Files that were seen and are not known yet: one is ripe when it was the same at two looks in turn. Bounded: what
 * finds no room is seen again by the next scan. Files that the store may have already (after a restart) leave half of
 * the room to new ones. Pure.
 */
import type { Seen } from './tree.ts';

export const waitingMax = 4_096;

interface Waiter extends Seen {
  readonly isRipe: boolean;
  readonly isOld: boolean;
}

export class Waiting {
  readonly #files = new Map<string, Waiter>();

  get size(): number {
    return this.#files.size;
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** By a scan. It may be one of this moment, so only `again` makes it ripe. */
  add(path: string, seen: Seen, isOld = false): void {
    if (this.#files.has(path) || this.#files.size >= (isOld ? waitingMax / 2 : waitingMax)) return;
    this.#files.set(path, { ...seen, isOld, isRipe: false });
  }

  /** By a later look; undefined: it is gone. */
  again(path: string, seen: Seen | undefined): void {
    const before = this.#files.get(path);
    if (before === undefined) return;
    if (seen === undefined) this.#files.delete(path);
    else this.#files.set(path, { ...before, ...seen, isRipe: seen.identity === before.identity });
  }

  /** Those that are ripe, new ones first, of so many bytes or one; they wait no more. */
  takeRipe(bytesMax: number): readonly (Seen & { readonly path: string })[] {
    const ripe = [...this.#files].flatMap(([path, waiter]) => (waiter.isRipe ? [{ ...waiter, path }] : []));
    const ordered = [...ripe.filter(({ isOld }) => !isOld), ...ripe.filter(({ isOld }) => isOld)];
    let bytes = 0;
    const taken = ordered.filter((one, index) => {
      bytes += one.bytes;
      return index === 0 || bytes <= bytesMax;
    });
    for (const { path } of taken) this.#files.delete(path);
    return taken;
  }
}
