/**
 * Who asks for files that are not there yet: one write for all who ask for the same, few at a time, bounded waiting.
 * What the store lacks is asked of the peers. Knows that a file that it wrote is none to adopt.
 */
import { messageOf } from '@cognitora/protocol/errors';
import type { KvStore } from '../../store.ts';
import type { Catalogue } from './catalogue.ts';
import type { Tally } from './counts.ts';
import { fileKeyOf, headKeyOf, pathOf } from './paths.ts';
import { keysOf, restoreFile, type Stored, storedOf } from './restore.ts';
import { codeOf, type Seen, type Tree } from './tree.ts';

/** A disk takes no more bytes a second from more. */
const writersMax = 4;
/** Who waits longer than so many others computes sooner. */
const waitingMax = 1_024;
/** An engine that was promised a file looks for it within that. */
const keptMs = 60_000;

export type Restored =
  | 'restored'
  /** It was there. */
  | 'present'
  | 'missing'
  /** No file's key of this namespace. */
  | 'foreign'
  | 'failed';

export interface RestoresOptions {
  readonly namespace: string;
  readonly nowMs: () => number;
  readonly onError?: (message: string) => void;
  readonly fetch?: ((keys: readonly string[]) => Promise<unknown>) | undefined;
  readonly store: KvStore;
  readonly tree: Tree;
  readonly catalogue: Catalogue;
  readonly tally: Tally;
  /** The number of the latest. */
  readonly look: () => number;
  /** False: the cap leaves no room for so many bytes. */
  readonly makeRoom: (bytes: number) => Promise<boolean>;
}

interface How {
  /** What the store lacks is asked of the peers. */
  readonly isFetched: boolean;
  /** On another host, that was not asked for it. */
  readonly writtenMs: number | undefined;
}

export class Restores {
  readonly #options: RestoresOptions;
  readonly #running = new Map<string, Promise<Restored>>();
  readonly #turns: (() => void)[] = [];
  #writers = 0;

  constructor(options: RestoresOptions) {
    this.#options = options;
  }

  restore(key: string, isFetched = true): Promise<Restored> {
    return this.#once(key, { isFetched, writtenMs: undefined });
  }

  /** What the store has from a peer that nobody asked; whoever calls it made room. */
  replicate(key: string, writtenMs: number): Promise<Restored> {
    return this.#once(key, { isFetched: false, writtenMs });
  }

  #once(key: string, how: How): Promise<Restored> {
    const path = pathOf(this.#options.namespace, key);
    if (path === undefined) return Promise.resolve('foreign');
    const running = this.#running.get(path);
    if (running !== undefined) return running;
    if (this.#turns.length >= waitingMax) {
      this.#options.tally.failed('busy');
      return Promise.resolve('failed');
    }
    const restoring = this.#inTurn(path, key, how).finally(() => this.#running.delete(path));
    this.#running.set(path, restoring);
    return restoring;
  }

  async onFetched(keys: readonly string[]): Promise<void> {
    const files = new Set(keys.map(fileKeyOf));
    await Promise.all([...files].map((key) => this.restore(key, false)));
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  async #inTurn(path: string, key: string, how: How): Promise<Restored> {
    if (this.#writers < writersMax) this.#writers += 1;
    else await new Promise<void>((resolve) => this.#turns.push(resolve));
    try {
      return await this.#restore(path, key, how);
    } catch (thrown) {
      this.#options.catalogue.delete(path);
      const code = codeOf(thrown);
      this.#options.tally.failed(code === 'ENOSPC' || code === 'EDQUOT' ? 'full' : 'unwritable');
      const message = code || messageOf(thrown);
      this.#options.onError?.(`restore of ${path}: ${message}`);
      return 'failed';
    } finally {
      const next = this.#turns.shift();
      if (next === undefined) this.#writers -= 1;
      else next();
    }
  }

  async #restore(path: string, key: string, { isFetched, writtenMs }: How): Promise<Restored> {
    const isReplica = writtenMs !== undefined;
    const { tree, store, tally, makeRoom } = this.#options;
    const there = await tree.see(path);
    if (there !== undefined) {
      if (!isReplica) {
        this.#keep(path, there);
        tally.add('present');
      }
      return 'present';
    }
    const stored = await this.#find(key, isFetched);
    if (stored === undefined) return 'missing';
    if (!isReplica && !(await makeRoom(stored.bytes))) {
      tally.failed('capped');
      return 'failed';
    }
    const seen = await restoreFile(tree, store, { path, key, stored, writtenMs }, (written) =>
      this.#know(path, written, writtenMs),
    );
    if (seen === undefined) {
      tally.failed('lost');
      return 'missing';
    }
    tally.add(isReplica ? 'replicated' : 'restored');
    tally.add(isReplica ? 'replicatedBytes' : 'restoredBytes', seen.bytes);
    return 'restored';
  }

  /** In the store, or brought there by peers. */
  async #find(key: string, isFetched: boolean): Promise<Stored | undefined> {
    const { store } = this.#options;
    // Who cannot be asked has nothing.
    const fetch = async (keys: readonly string[]): Promise<void> => {
      await this.#options.fetch?.(keys).catch(() => {});
    };
    const here = await storedOf(store, key);
    if (!isFetched) return here;
    if (here === undefined) {
      await fetch([key]);
      if (!store.has(key)) await fetch([headKeyOf(key)]);
    }
    const stored = here ?? (await storedOf(store, key));
    const lacks = stored === undefined ? [] : keysOf(key, stored).filter((name) => !store.has(name));
    if (lacks.length > 0) await fetch(lacks);
    return stored;
  }

  /** Somebody will look for it. */
  #keep(path: string, seen: Seen): void {
    const known = this.#options.catalogue.get(path);
    const nowMs = this.#options.nowMs();
    if (known?.identity === seen.identity)
      this.#options.catalogue.set({ ...known, usedMs: nowMs, keptUntilMs: nowMs + keptMs });
  }

  #know(path: string, seen: Seen, writtenMs: number | undefined): void {
    const nowMs = this.#options.nowMs();
    this.#options.catalogue.set({
      ...seen,
      path,
      usedMs: writtenMs ?? nowMs,
      tries: 0,
      isUnreadable: false,
      againMs: undefined,
      keptUntilMs: writtenMs === undefined ? nowMs + keptMs : 0,
      isReplica: writtenMs !== undefined,
      look: this.#options.look(),
    });
  }
}
