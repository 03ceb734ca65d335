/**
 * One replica in a cell: its load, what its agent says of its cache and how true that was, and how far a new one is on
 * its way to a full share of the requests. Pure. Decides nothing.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { Trust } from '@cognitora/protocol/kv';
import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvMover } from '@cognitora/protocol/kv-fabric';
import { Seats } from '../admission/seats.ts';
import { Failures } from './failures.ts';
import { type GpuFigures, LoadFigures } from './figures.ts';
import type { KvFeed } from './kv-feed.ts';
import { ReplicaLoad } from './load.ts';
import type { ReplicaRates } from './rates.ts';
import type { Slot } from './replica-slots.ts';
import type { Truth } from './truth.ts';

/** A replica whose host can fetch KV of its prompts from other hosts, and from which. */
export interface KvMoves {
  readonly mover: KvMover;
  readonly reach: ReadonlyMap<NodeId, PeerReach>;
}

/** What a replica shares between the models it serves: one engine works on all of them. */
export interface ReplicaWork {
  readonly node?: NodeId | undefined;
  readonly load: ReplicaLoad;
  readonly failures: Failures;
  /** Undefined until the first decision about it. */
  rates: ReplicaRates | undefined;
  rttMs: number;
  /** What its agent measured of its engine. */
  readonly figures: LoadFigures;
  /** Requests that it had better have at once. */
  readonly requestSeats: Seats;
  /** Undefined where KV stays where it is. */
  kv: KvMoves | undefined;
  /** Requests that it began to answer since it joined, or since its engine started. */
  answered: number;
}

export const newReplicaWork = (
  node?: NodeId,
  gpus?: GpuFigures,
  requestSeats = new Seats(),
): ReplicaWork => ({
  node,
  load: new ReplicaLoad(),
  failures: new Failures(),
  rates: undefined,
  rttMs: 0,
  figures: new LoadFigures(gpus),
  requestSeats,
  kv: undefined,
  answered: 0,
});

/**
 * A replica that is new to the fleet, or whose engine began anew, is the least loaded of all and would draw a whole
 * burst while nobody knows whether it works, how fast it is, or what it will hold. It may have so many requests live,
 * and two more for each that it began to answer, as long as others are past that.
 */
const newLiveMax = 4;
const livePerAnswer = 2;
const answeredUntilSettled = 16;

/** Evictions are counted over so many stored blocks, 4 million tokens in blocks of 64, the older ones half. */
const countedBlocksMax = 65_536;

/** One replica in this cell. Takes next to no memory until somebody speaks of its cache. */
export class Member {
  readonly work: ReplicaWork;
  readonly number: number;
  readonly truth: Truth;
  /** What its agent says of its cache; `blind` when it says nothing. */
  announced: Trust = 'blind';
  readonly #newFeed: (member: Member) => KvFeed;
  #feed: KvFeed | undefined;
  #isRamping = false;
  #storedBlocks = 0;
  #evictedBlocks = 0;
  #missedReports = 0;

  constructor(work: ReplicaWork, number: number, truth: Truth, newFeed: (member: Member) => KvFeed) {
    this.work = work;
    this.truth = truth;
    this.number = number;
    this.#newFeed = newFeed;
  }

  /** Where what its agent says of its cache goes. Made when first asked for. */
  get feed(): KvFeed {
    this.#feed ??= this.#newFeed(this);
    return this.#feed;
  }

  /** Its place in the map; undefined while nothing is known. */
  get slot(): Slot | undefined {
    return this.#feed?.slot;
  }

  get trust(): Trust {
    return this.#feed?.isInStep ? this.truth.limit(this.announced) : 'blind';
  }

  /** Answered enough to be trusted with any share of the requests. */
  get isSettled(): boolean {
    return this.work.answered >= answeredUntilSettled;
  }

  get isAtRampLimit(): boolean {
    const { load, answered } = this.work;
    return this.#isRamping && !this.isSettled && load.live >= newLiveMax + livePerAnswer * answered;
  }

  /** Its engine began anew, with an empty cache: nothing that was learned of its claims holds. */
  beginAnew(): void {
    this.truth.forget();
    this.work.answered = 0;
    this.#storedBlocks = 0;
    this.#evictedBlocks = 0;
  }

  /** Blocks evicted for each one stored, lately: 0 while its cache has room, near 1 when each block costs another. */
  get evictionShare(): number {
    return Math.min(1, this.#evictedBlocks / Math.max(1, this.#storedBlocks));
  }

  /** Blocks that its agent said were stored and evicted. */
  counted(stored: number, evicted: number): void {
    this.#storedBlocks += stored;
    this.#evictedBlocks += evicted;
    if (this.#storedBlocks < countedBlocksMax) return;
    this.#storedBlocks /= 2;
    this.#evictedBlocks /= 2;
  }

  /** It is new among others that are not; where all are new at once, nobody is suspect. */
  ramp(isAnyOtherSettled: boolean): void {
    this.#isRamping = isAnyOtherSettled;
  }

  /** Something its agent said of its cache came too fast to be read. */
  missed(nowMs: number): void {
    this.#missedReports += 1;
    this.#feed?.missed(nowMs);
  }

  /** Reports of its cache that were not read. */
  get missedReports(): number {
    return this.#missedReports;
  }

  /** It left: whatever its agent still says means nothing. */
  close(nowMs: number): void {
    this.#feed?.close(nowMs);
  }
}
