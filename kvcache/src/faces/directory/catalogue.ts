/**
 * What a mirror knows of its directory's files: those that were taken, or left, as they were then; their bytes; and
 * which go when there are too many bytes. Bounded in number: a file beyond the bound is none that we know. Pure.
 */
import type { Seen } from './tree.ts';

/** About 400 bytes of heap each, and as many files of 8 MiB as a disk of 1 TiB holds. */
export const filesMax = 131_072;
/** How far below the cap it goes, so that who goes is not looked for with each file that comes. */
const lowShare = 0.9;

export interface Known extends Seen {
  readonly path: string;
  usedMs: number;
  /** The store was asked to take it so often. */
  tries: number;
  /** It could not be read: the cap leaves it alone. */
  readonly isUnreadable: boolean;
  /** Of wall time: it is tried again then. Undefined: it was taken. */
  readonly againMs: number | undefined;
  /** It was put here for somebody who will look for it. */
  readonly keptUntilMs: number;
  /** It came from another host without being asked for: such go first. */
  readonly isReplica: boolean;
  /** The look that it was seen by last. */
  look: number;
}

export interface ReplicaBounds {
  readonly bytesMax: number;
  readonly replicaBytesMax: number;
  readonly usedMsMax: number;
}

export class Catalogue {
  readonly #files = new Map<string, Known>();
  readonly #filesMax: number;
  #bytes = 0;
  #replicaBytes = 0;

  constructor(most = filesMax) {
    this.#filesMax = most;
  }

  get size(): number {
    return this.#files.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get replicaBytes(): number {
    return this.#replicaBytes;
  }

  get(path: string): Known | undefined {
    return this.#files.get(path);
  }

  /** There is room for one more name, with so many that are to come. */
  hasRoomFor(path: string, coming = 0): boolean {
    return this.#files.has(path) || this.#files.size + coming < this.#filesMax;
  }

  set(file: Known): void {
    this.delete(file.path);
    this.#files.set(file.path, file);
    this.#count(file, 1);
  }

  delete(path: string): void {
    const file = this.#files.get(path);
    if (file === undefined) return;
    this.#count(file, -1);
    this.#files.delete(path);
  }

  #count({ bytes, isReplica }: Known, sign: 1 | -1): void {
    this.#bytes += sign * bytes;
    if (isReplica) this.#replicaBytes += sign * bytes;
  }

  /** Whatever no look since `look` saw is gone. */
  sweep(look: number, nowMs: number): void {
    for (const file of this.#files.values()) {
      if (file.look < look && file.keptUntilMs <= nowMs) this.delete(file.path);
    }
  }

  /**
   * Those that must go so that `more` bytes fit below the cap: what came from other hosts, then the engine's own, each
   * oldest use first. None while all fit.
   */
  victims(bytesMax: number, nowMs: number, more = 0): readonly Known[] {
    const excess = this.#bytes + more - bytesMax * lowShare;
    if (this.#bytes + more <= bytesMax) return [];
    const replicas = this.#replicaBytes > 0 ? oldestOf(this.#mayGo(nowMs, true), excess, nowMs) : [];
    const left = excess - sumOf(replicas);
    return left > 0 ? [...replicas, ...oldestOf(this.#mayGo(nowMs, false), left, nowMs)] : replicas;
  }

  /**
   * Those of other hosts, not used since `usedMsMax`, that must go so that `more` bytes of theirs fit beside the
   * engine's own; undefined: they do not, whatever of those goes.
   */
  replicaVictims(
    { bytesMax, replicaBytesMax, usedMsMax }: ReplicaBounds,
    nowMs: number,
    more: number,
  ): readonly Known[] | undefined {
    const excess = Math.max(
      this.#replicaBytes + more - replicaBytesMax,
      // The engine's next files are to find room, too.
      this.#bytes + more - bytesMax * lowShare,
    );
    if (excess <= 0) return [];
    if (excess > this.#replicaBytes) return undefined;
    const older = this.#mayGo(nowMs, true).filter(({ usedMs }) => usedMs <= usedMsMax);
    const victims = oldestOf(older, excess, nowMs);
    return sumOf(victims) < excess ? undefined : victims;
  }

  #mayGo(nowMs: number, isReplica: boolean): readonly Known[] {
    return [...this.#files.values()].filter(
      (file) => file.isReplica === isReplica && file.keptUntilMs <= nowMs && !file.isUnreadable,
    );
  }
}

const sumOf = (files: readonly Known[]): number => files.reduce((sum, { bytes }) => sum + bytes, 0);

/** Of the oldest use as many as have so many bytes, or all. */
const oldestOf = (files: readonly Known[], bytes: number, nowMs: number): readonly Known[] => {
  // About as many as have so many bytes: to sort all would take long, and is seldom needed.
  const count = Math.ceil((2 * bytes * files.length) / Math.max(1, sumOf(files))) + 16;
  const few = firstOf(oldestFirst(oldest(files, count, nowMs), nowMs), bytes);
  return few ?? firstOf(oldestFirst(files, nowMs), bytes) ?? files;
};

/** A clock that was set back leaves times of the future, which would never be the oldest. */
const usedOf = ({ usedMs }: Known, nowMs: number): number => Math.min(usedMs, nowMs);

/** In any order, `count` or more where there are as many. */
const oldest = (files: readonly Known[], count: number, nowMs: number): readonly Known[] => {
  const last = Float64Array.from(files, (file) => usedOf(file, nowMs)).sort()[count];
  return last === undefined ? files : files.filter((file) => usedOf(file, nowMs) <= last);
};

const oldestFirst = (files: readonly Known[], nowMs: number): readonly Known[] =>
  files.toSorted((left, right) => usedOf(left, nowMs) - usedOf(right, nowMs));

/** As many as have so many bytes; undefined when all have fewer. */
const firstOf = (files: readonly Known[], bytes: number): readonly Known[] | undefined => {
  let sum = 0;
  const end = files.findIndex((file) => {
    sum += file.bytes;
    return sum >= bytes;
  });
  return end === -1 ? undefined : files.slice(0, end + 1);
};
