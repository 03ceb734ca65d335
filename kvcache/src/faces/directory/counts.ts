/** What a mirror counts, for the metrics page and for tests. */
import { type Ignored, ignoredReasons } from './scan.ts';

const failureReasons = [
  /** Read, and dropped because it changed meanwhile. */
  'changed',
  'large',
  'refused',
  'unreadable',
  'unremovable',
  /** Not restored: too many wait; no room below the cap; none on the disk; lost by the store; anything else. */
  'busy',
  'capped',
  'full',
  'lost',
  'unwritable',
] as const;
export type Failure = (typeof failureReasons)[number];

/** Why a file that another host told of was not taken. */
export const unreplicatedReasons = [
  /** No path that a mirror writes. */
  'foreign',
  /** Of more than one value, or than there may be of other hosts'. */
  'large',
  'present',
  /** By the bound, not long ago. */
  'removed',
  /** Not without pushing out the engine's own. */
  'full',
  /** Newer ones were too many. */
  'old',
  /** It did not come, or was not what was told. */
  'failed',
] as const;
export type Unreplicated = (typeof unreplicatedReasons)[number];

export interface MirrorCounts {
  /** The directory is there. */
  readonly isThere: boolean;
  /** Known ones. */
  readonly files: number;
  readonly bytes: number;
  readonly bytesMax: number | undefined;
  /** Seen, and not known to be whole yet. */
  readonly waiting: number;
  readonly watches: number;
  readonly watchFailures: number;
  readonly adopted: number;
  readonly adoptedBytes: number;
  /** Read, and the store had the same bytes. */
  readonly unchanged: number;
  readonly restored: number;
  readonly restoredBytes: number;
  /** Files of other hosts' engines that were put here, and their bytes that are here now. */
  readonly replicated: number;
  readonly replicatedBytes: number;
  readonly replicaBytes: number;
  readonly unreplicated: Readonly<Record<Unreplicated, number>>;
  /** Asked for, and there already. */
  readonly present: number;
  readonly removed: number;
  readonly removedBytes: number;
  /** Of these, what the store would not take. */
  readonly removedUnstored: number;
  readonly failures: Readonly<Record<Failure, number>>;
  /** As of the last scan: what is there and none of ours. */
  readonly ignored: Readonly<Record<Ignored, number>>;
}

const noneOf = <Reason extends string>(reasons: readonly Reason[]): Record<Reason, number> =>
  Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<Reason, number>;
export const nothingIgnored = (): Record<Ignored, number> => noneOf(ignoredReasons);

export type Counted =
  | 'adopted'
  | 'adoptedBytes'
  | 'unchanged'
  | 'restored'
  | 'restoredBytes'
  | 'replicated'
  | 'replicatedBytes'
  | 'present'
  | 'removed'
  | 'removedBytes'
  | 'removedUnstored';

/** What only grows. */
export class Tally {
  readonly failures = noneOf(failureReasons);
  readonly unreplicated = noneOf(unreplicatedReasons);
  readonly totals: Record<Counted, number> = {
    adopted: 0,
    adoptedBytes: 0,
    unchanged: 0,
    restored: 0,
    restoredBytes: 0,
    replicated: 0,
    replicatedBytes: 0,
    present: 0,
    removed: 0,
    removedBytes: 0,
    removedUnstored: 0,
  };

  add(what: Counted, more = 1): void {
    this.totals[what] += more;
  }

  skipped(why: Unreplicated, files = 1): void {
    this.unreplicated[why] += files;
  }

  failed(why: Failure): void {
    this.failures[why] += 1;
  }
}
