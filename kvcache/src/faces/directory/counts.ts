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

const noFailures = (): Record<Failure, number> =>
  Object.fromEntries(failureReasons.map((reason) => [reason, 0])) as Record<Failure, number>;
export const nothingIgnored = (): Record<Ignored, number> =>
  Object.fromEntries(ignoredReasons.map((reason) => [reason, 0])) as Record<Ignored, number>;

export type Counted =
  | 'adopted'
  | 'adoptedBytes'
  | 'unchanged'
  | 'restored'
  | 'restoredBytes'
  | 'present'
  | 'removed'
  | 'removedBytes'
  | 'removedUnstored';

/** What only grows. */
export class Tally {
  readonly failures = noFailures();
  readonly totals: Record<Counted, number> = {
    adopted: 0,
    adoptedBytes: 0,
    unchanged: 0,
    restored: 0,
    restoredBytes: 0,
    present: 0,
    removed: 0,
    removedBytes: 0,
    removedUnstored: 0,
  };

  add(what: Counted, more = 1): void {
    this.totals[what] += more;
  }

  failed(why: Failure): void {
    this.failures[why] += 1;
  }
}
