/**
 * A directory that an engine offloads KV to, mirrored: whole files become values of the store, and values become files
 * before the engine looks for them. Owns when to look, and the directory's cap. Never opens a link, a pipe or a file
 * that is being written, and never shows an engine a part of a file. `docs/design/0008-kvcache.md` has the decisions.
 */
import { messageOf } from '@cognitora/protocol/errors';
import type { ReplicaSource } from '../../peers/replica-source.ts';
import type { KvStore } from '../../store.ts';
import { adopt, isBehind, isKept } from './adopt.ts';
import { Catalogue, type Known } from './catalogue.ts';
import { type MirrorCounts, nothingIgnored, Tally } from './counts.ts';
import { keyOf } from './paths.ts';
import { Replicas } from './replicas.ts';
import { Replication } from './replication.ts';
import { isOurTemporary } from './restore.ts';
import { type Restored, Restores } from './restores.ts';
import { giveBackRoot, takeRoot } from './roots.ts';
import { type Looker, lookAt, scan } from './scan.ts';
import { codeOf, isMissing, nameOf, type Seen, Tree } from './tree.ts';
import { Waiting } from './waiting.ts';
import { Watches } from './watch.ts';

/** Between two looks at a file that may be being written: far above the coarsest clock that mtimes are told by. */
const settleMs = 200;
const scanMsMin = 5_000;
/** A scan takes at most a sixth of the time. */
const scanShare = 5;
/** For the store to have room again, and for permissions to be mended. */
const againMs = 30_000;
/** More gives no more bytes a second of one disk. */
const readersMax = 2;
/** Read before the next look: new files must not wait for all that a start finds. */
const lookBytesMax = 2 ** 30;
const lookFilesMax = 4_096;
/** The store is asked so often to take what the cap wants to remove. */
const triesMax = 2;
/** Nothing is pulled from other hosts while more of this one's engine wait, or so much of what may be dirty is. */
const waitingMax = 256;
const pullingDirtyShare = 0.25;
/** A crash leaves temporary files, and no write of ours takes so long. */
const temporaryMsMax = 600_000;

/** What a configuration says of one. */
export interface MirrorPlace {
  /** Absolute. It may come later, go, and come back. */
  readonly directory: string;
  /** `n` and 16 hex, of the fields that must be equal on two hosts. */
  readonly namespace: string;
  /** Of the directory's files; undefined: the engine's own cap is enough. */
  readonly bytesMax?: number | undefined;
}

export interface MirrorOptions extends MirrorPlace {
  readonly nowMs: () => number;
  readonly onError?: (message: string) => void;
  /** Brings what other hosts have of these keys into the store, if anybody has it. */
  readonly fetch?: ((keys: readonly string[]) => Promise<unknown>) | undefined;
  /** An engine of this host wrote it, and the store has it. */
  readonly onAdopted?: ((key: string, bytes: number) => void) | undefined;
  /** Files of other hosts' engines are put here from there, within half of `bytesMax`. Undefined: none. */
  readonly replicas?: Pick<ReplicaSource, 'reached' | 'newest' | 'pull'> | undefined;
}

export interface Mirror {
  readonly namespace: string;
  readonly directory: string;
  readonly counts: MirrorCounts;
  /** What the store or a peer has under the key is a file from now on, if it is a file's key of this namespace. */
  restore(key: string): Promise<Restored>;
  /** Values that came from a peer: files of this namespace that they complete are there when it resolves. */
  onFetched(keys: readonly string[]): Promise<void>;
  /** Looks at everything once; a file that is new is taken at the second of two looks. */
  look(): Promise<void>;
  close(): Promise<void>;
}

class DirectoryMirror implements Mirror {
  readonly namespace: string;
  readonly directory: string;
  readonly #options: MirrorOptions;
  readonly #store: KvStore;
  readonly #tree: Tree;
  readonly #catalogue = new Catalogue();
  readonly #waiting = new Waiting();
  readonly #watches: Watches;
  readonly #tally = new Tally();
  readonly #restores: Restores;
  readonly #replicas: Replicas;
  readonly #replication: Replication | undefined;
  readonly #dirty = new Set<string>();
  #ignored = nothingIgnored();
  #isThere = false;
  #hasTold = false;
  #isEnding = false;
  #looks = 0;
  #looking: Promise<void> | undefined;
  #scanAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #isSoon = false;

  constructor(options: MirrorOptions, store: KvStore, root: string) {
    this.namespace = options.namespace;
    this.directory = options.directory;
    this.#options = options;
    this.#store = store;
    this.#tree = new Tree(root);
    this.#watches = new Watches(this.#tree, (path) => {
      this.#dirty.add(path);
      this.#wake(settleMs);
    });
    this.#restores = new Restores({
      ...options,
      store,
      tree: this.#tree,
      catalogue: this.#catalogue,
      tally: this.#tally,
      look: () => this.#looks,
      makeRoom: (bytes) => this.#makeRoom(bytes),
    });
    this.#replicas = new Replicas({
      bytesMax: options.bytesMax ?? 0,
      catalogue: this.#catalogue,
      tree: this.#tree,
      nowMs: options.nowMs,
      remove: (file) => this.#remove(file),
      write: (key, writtenMs) => this.#restores.replicate(key, writtenMs),
    });
    this.#replication = options.replicas && this.#replicationFrom(options.replicas);
    this.#wake(0);
  }

  get counts(): MirrorCounts {
    return {
      ...this.#tally.totals,
      failures: { ...this.#tally.failures },
      ignored: { ...this.#ignored },
      unreplicated: { ...this.#tally.unreplicated },
      isThere: this.#isThere,
      files: this.#catalogue.size,
      bytes: this.#catalogue.bytes,
      replicaBytes: this.#catalogue.replicaBytes,
      bytesMax: this.#options.bytesMax,
      waiting: this.#waiting.size,
      watches: this.#watches.size,
      watchFailures: this.#watches.failures,
    };
  }

  restore(key: string): Promise<Restored> {
    return this.#restores.restore(key);
  }

  onFetched(keys: readonly string[]): Promise<void> {
    return this.#restores.onFetched(keys);
  }

  async look(): Promise<void> {
    while (this.#looking !== undefined) await this.#looking;
    this.#scanAtMs = 0;
    await this.#lookNow();
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    this.#watches.close();
    await this.#looking;
    await this.#replication?.close();
    await this.#restores.settled();
    giveBackRoot(this.#tree.root);
  }

  #replicationFrom(source: NonNullable<MirrorOptions['replicas']>): Replication {
    return new Replication({
      source,
      namespace: this.namespace,
      nowMs: this.#options.nowMs,
      isPaused: () =>
        !this.#isThere || this.#waiting.size > waitingMax || isBehind(this.#store, 0, pullingDirtyShare),
      whyNot: (path, offer) => this.#replicas.whyNot(path, offer),
      place: (offer) => this.#replicas.place(offer),
      onSkipped: (why, files) => this.#tally.skipped(why, files),
    });
  }

  /** Looks in so many milliseconds, or sooner if that is to be anyway. */
  #wake(ms: number): void {
    const isSoon = ms <= settleMs;
    if (this.#isEnding || (this.#timer !== undefined && (this.#isSoon || !isSoon))) return;
    clearTimeout(this.#timer);
    this.#isSoon = isSoon;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#lookNow();
    }, ms);
    this.#timer.unref();
  }

  /** One look after the other. */
  #lookNow(): Promise<void> {
    this.#looking ??= this.#lookOnce()
      .catch((thrown: unknown) => this.#tell(thrown))
      .finally(() => {
        this.#looking = undefined;
        const isBusy = this.#waiting.size > 0 || this.#dirty.size > 0;
        clearTimeout(this.#timer);
        this.#timer = undefined;
        this.#wake(isBusy ? settleMs : Math.max(settleMs, this.#scanAtMs - this.#options.nowMs()));
      });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    this.#hasTold = false;
    // First, so that a file that this look finds is looked at again by the next one only.
    await this.#adoptRipe();
    const nowMs = this.#options.nowMs();
    // A clock that was set back must not keep us from looking.
    const isDue = nowMs >= this.#scanAtMs || nowMs < this.#scanAtMs - 3_600_000;
    await (isDue ? this.#scan() : this.#lookAtDirty());
    await this.#makeRoom(0);
  }

  async #scan(): Promise<void> {
    const startedMs = this.#options.nowMs();
    this.#looks += 1;
    this.#dirty.clear();
    const ignored = nothingIgnored();
    const looker = this.#looker((reason) => {
      ignored[reason] += 1;
    });
    this.#isThere = await scan(this.#tree, looker);
    if (this.#isEnding) return;
    this.#ignored = ignored;
    this.#catalogue.sweep(this.#looks, this.#options.nowMs());
    this.#watches.sweep(this.#looks);
    const tookMs = Math.max(0, this.#options.nowMs() - startedMs);
    this.#scanAtMs = this.#options.nowMs() + Math.max(scanMsMin, scanShare * tookMs);
  }

  async #lookAtDirty(): Promise<void> {
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const path of dirty) {
      try {
        // Directories that are new: their own watches tell of them from now on, the next scan of what they hold.
        for (const inner of await lookAt(this.#tree, path, this.#looker())) {
          if (this.#watches.isNew(inner)) this.#dirty.add(inner);
        }
      } catch (thrown) {
        if (!isMissing(thrown)) this.#tell(thrown, path);
      }
    }
  }

  #looker(onIgnored: Looker['onIgnored'] = () => {}): Looker {
    return {
      isEnded: () => this.#isEnding,
      onDirectory: (path) => this.#watches.add(path, this.#looks),
      onFile: (path, seen) => {
        const reason = this.#see(path, seen);
        if (reason !== undefined) onIgnored(reason, path);
      },
      onIgnored: (reason, path) => {
        if (reason === 'temporary' && isOurTemporary(nameOf(path))) void this.#removeTemporary(path);
        onIgnored(reason, path);
      },
    };
  }

  #see(path: string, seen: Seen): 'empty' | 'unnamed' | 'many' | undefined {
    const nowMs = this.#options.nowMs();
    const known = this.#catalogue.get(path);
    if (known?.identity === seen.identity) {
      known.look = this.#looks;
      known.usedMs = Math.max(known.usedMs, Math.min(seen.usedMs, nowMs));
      if (known.againMs === undefined || known.againMs > nowMs) return undefined;
    } else if (known !== undefined) this.#catalogue.delete(path);
    const key = keyOf(this.namespace, path);
    if (key === undefined) return 'unnamed';
    if (seen.bytes === 0) return 'empty';
    if (!this.#catalogue.hasRoomFor(path, this.#waiting.size)) return 'many';
    this.#waiting.add(path, seen, this.#store.has(key));
    return undefined;
  }

  /** Looks again at those that wait, and takes what is as it was. */
  async #adoptRipe(): Promise<void> {
    const first = [...this.#waiting.first(lookFilesMax)];
    let bytes = 0;
    const reader = async (): Promise<void> => {
      for (let next = first.shift(); next !== undefined; next = first.shift()) {
        if (this.#isEnding || bytes > lookBytesMax) break;
        const seen = await this.#tree.see(next.path).catch(() => undefined);
        if (!this.#waiting.again(next.path, seen) || seen === undefined) continue;
        bytes += seen.bytes;
        await this.#adopt(next.path, seen);
      }
    };
    await Promise.all(Array.from({ length: readersMax }, reader));
  }

  async #adopt(path: string, seen: Seen): Promise<void> {
    const key = keyOf(this.namespace, path);
    if (key === undefined) return;
    try {
      const outcome = await adopt(this.#tree, this.#store, { path, key, seen });
      if (outcome === 'gone') this.#catalogue.delete(path);
      else if (outcome === 'being written') this.#waiting.add(path, seen);
      else if (outcome === 'changed') this.#tally.failed('changed');
      else this.#know(path, seen, outcome);
      if (outcome === 'adopted') this.#options.onAdopted?.(key, seen.bytes);
    } catch (thrown) {
      this.#tally.failed('unreadable');
      this.#know(path, seen, 'unreadable');
      this.#tell(thrown, path);
    }
  }

  #know(
    path: string,
    seen: Seen,
    outcome: 'adopted' | 'unchanged' | 'refused' | 'large' | 'unreadable',
  ): void {
    const before = this.#catalogue.get(path);
    const isTaken = outcome === 'adopted' || outcome === 'unchanged';
    const nowMs = this.#options.nowMs();
    if (!isTaken && outcome !== 'unreadable') this.#tally.failed(outcome);
    if (isTaken) this.#tally.add(outcome);
    if (outcome === 'adopted') this.#tally.add('adoptedBytes', seen.bytes);
    this.#catalogue.set({
      ...seen,
      path,
      usedMs: Math.min(seen.usedMs, nowMs),
      tries: outcome === 'large' ? triesMax : (before?.tries ?? 0) + 1,
      isUnreadable: outcome === 'unreadable',
      againMs: isTaken || outcome === 'large' ? undefined : nowMs + againMs,
      keptUntilMs: before?.keptUntilMs ?? 0,
      isReplica: false,
      look: this.#looks,
    });
  }

  /** So that as many bytes more fit below the cap; false when they do not. */
  async #makeRoom(more: number): Promise<boolean> {
    const { bytesMax = Number.POSITIVE_INFINITY, nowMs } = this.#options;
    const victims = this.#catalogue.victims(bytesMax, nowMs(), more);
    if (victims.length > 0) await this.#store.flush();
    for (const victim of victims) {
      if (this.#isEnding) break;
      await this.#remove(victim);
    }
    return this.#catalogue.bytes + more <= bytesMax;
  }

  async #remove(file: Known): Promise<void> {
    const key = keyOf(this.namespace, file.path) ?? '';
    const isStored = isKept(this.#store, key, file.bytes);
    // What came from another host is there.
    if (!isStored && !file.isReplica && file.tries < triesMax) {
      // The store lost it: it is taken again, and goes at the look after that.
      this.#waiting.add(file.path, file);
      return;
    }
    try {
      const isRemoved = await this.#tree.remove(file.path, file.identity);
      if (this.#catalogue.get(file.path) === file) this.#catalogue.delete(file.path);
      if (!isRemoved) return;
      this.#replicas.removed(file.path);
      this.#tally.add('removed');
      this.#tally.add('removedBytes', file.bytes);
      if (!isStored && !file.isReplica) this.#tally.add('removedUnstored');
    } catch (thrown) {
      this.#tally.failed('unremovable');
      this.#tell(thrown, file.path);
    }
  }

  async #removeTemporary(path: string): Promise<void> {
    try {
      const seen = await this.#tree.see(path);
      if (seen !== undefined && this.#options.nowMs() - seen.usedMs > temporaryMsMax)
        await this.#tree.remove(path, seen.identity);
    } catch (thrown) {
      this.#tell(thrown);
    }
  }

  /** The first of a look: a directory may hold as many files that cannot be read as it may hold. */
  #tell(thrown: unknown, path = ''): void {
    if (this.#hasTold) return;
    this.#hasTold = true;
    // What the system says of it names a place that nobody knows.
    const message = codeOf(thrown) || messageOf(thrown);
    this.#options.onError?.(`mirror of ${this.directory}: ${message} ${path}`);
  }
}

/** Throws when there can be no such mirror. */
export const startMirror = async (options: MirrorOptions, store: KvStore): Promise<Mirror> => {
  if (process.platform !== 'linux') throw new Error('a directory is mirrored on Linux only');
  if (!options.directory.startsWith('/')) throw new Error(`${options.directory} is no absolute path`);
  return new DirectoryMirror(options, store, await takeRoot(options.directory));
};
