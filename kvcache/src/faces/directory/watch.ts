/**
 * The kernel's word that something happens in a directory, so that it is looked at sooner than by the next scan. Never
 * more than a hint: at most so many directories are watched, events may be lost, and watches may not be had at all.
 */
import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';
import type { Tree } from './tree.ts';

/** Kernels of small machines give 8,192 to a user, whose other programs need some. */
const watchesMax = 1_024;

interface Watched {
  readonly watcher: FSWatcher;
  look: number;
}

export class Watches {
  readonly #tree: Tree;
  readonly #onEvent: (path: string) => void;
  readonly #watched = new Map<string, Watched>();
  #failures = 0;

  constructor(tree: Tree, onEvent: (path: string) => void) {
    this.#tree = tree;
    this.#onEvent = onEvent;
  }

  get size(): number {
    return this.#watched.size;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Not watched, and there is room for it. */
  isNew(path: string): boolean {
    return !this.#watched.has(path) && this.#watched.size < watchesMax;
  }

  /** From now on, if there is room for one more. */
  add(path: string, look: number): void {
    const known = this.#watched.get(path);
    if (known !== undefined) known.look = look;
    else if (this.#watched.size < watchesMax) this.#open(path, look);
  }

  /** Whatever no look since `look` saw is gone. */
  sweep(look: number): void {
    for (const [path, watched] of this.#watched) if (watched.look < look) this.#end(path);
  }

  close(): void {
    for (const path of [...this.#watched.keys()]) this.#end(path);
  }

  #open(path: string, look: number): void {
    try {
      const place = this.#tree.nameOf(path);
      const own = basename(String(place));
      const watcher = watch(place, { persistent: false });
      watcher.on('change', (type, name) => {
        // It went itself, or something of its name in it: the next look watches anew.
        if (type === 'rename' && String(name) === own) this.#end(path);
        this.#onEvent(path);
      });
      watcher.on('error', () => {
        this.#failures += 1;
        this.#end(path);
      });
      this.#watched.set(path, { watcher, look });
    } catch {
      this.#failures += 1;
    }
  }

  #end(path: string): void {
    this.#watched.get(path)?.watcher.close();
    this.#watched.delete(path);
  }
}
