/**
 * Who may load a snapshot now. After a mass reconnect every replica wants to; so many at once would fill the object's
 * memory and its thread, so a few have a turn and the others wait. Turns go by node: to the one with the fewest, then
 * to the one that has been without for longest; so does the room to wait in. A turn that failed waits for the next
 * sweep, so that a peer that always fails costs one try per sweep; one without progress is lost, and its node waits
 * longer each time.
 * Knows nothing of what is loaded. Pure: time comes in with each call.
 */
import { sweepMs } from '@cognitora/protocol/limits';

/** Snapshots that load at once in one object. */
export const snapshotTurnsMax = 8;
/** Of them one node's: who never answers keeps others from their turns for a while only. */
export const snapshotTurnsPerNodeMax = 2;
/**
 * Who waits beyond this is refused and asks again later: 2,048 links with two replicas each. A node that has less than
 * its share of that finds room all the same: the last of the node with the most gives way.
 */
export const snapshotWaitingMax = 4096;
/** A turn ends when nothing arrived for this long. */
export const snapshotSilenceMsMax = 10_000;

/** The largest snapshot is 1 MiB: who takes longer for it, a byte at a time, keeps others from theirs. */
export const snapshotTurnMsMax = 60_000;

/** A node that lost a turn has none for this long, doubled with each further loss up to the maximum. */
export const snapshotRestMsMin = sweepMs;
/** Longer than a turn may last: who takes turns only to be silent in them has less than half of the time. */
export const snapshotRestMsMax = 128 * sweepMs;
/** A node's losses are forgotten when it lost no turn for this long after its rest: time for two of them. */
export const snapshotLossMemoryMs = 2 * snapshotTurnMsMax;

export interface TurnTaker {
  /** Whose it is; without a node it stands for itself. */
  readonly node: string | undefined;
  /** It has a turn from now on. */
  begin(nowMs: number): void;
  /** Its turn is over before it was done; it waits for another. */
  lose(): void;
}

/** A node's turns, and who waits for one. Kept while there are any, or losses that are remembered. */
interface Line {
  /** In order. */
  readonly waiting: Set<TurnTaker>;
  /** Who waits from the next sweep on. */
  readonly resting: Set<TurnTaker>;
  turns: number;
  /** When it came, or when its last turn ended: a count of such events. */
  since: number;
  /** How long it rests after the next loss, and until when after the last. */
  restMs: number;
  restUntilMs: number;
}

export class SnapshotTurns {
  /** Who has a turn, since when, and when something last arrived. */
  readonly #loading = new Map<TurnTaker, { readonly beganMs: number; readonly progressMs: number }>();
  /** By node; who has none has a line of its own. */
  readonly #lines = new Map<string | TurnTaker, Line>();
  /** All who wait in some line. */
  readonly #waiting = new Set<TurnTaker>();
  /** All who rest in some line. */
  readonly #resting = new Set<TurnTaker>();
  #events = 0;

  get loading(): number {
    return this.#loading.size;
  }

  get waiting(): number {
    return this.#waiting.size + this.#resting.size;
  }

  /** Gives a turn now or later. False when too many wait already. Again means nothing. */
  want(taker: TurnTaker, nowMs: number): boolean {
    if (this.#loading.has(taker) || this.#waiting.has(taker) || this.#resting.has(taker)) return true;
    if (!this.#hasRoom(taker)) return false;
    this.#wait(taker);
    this.#fill(nowMs);
    return true;
  }

  /** Something arrived. */
  progress(taker: TurnTaker, nowMs: number): void {
    const turn = this.#loading.get(taker);
    if (turn !== undefined) this.#loading.set(taker, { ...turn, progressMs: nowMs });
  }

  /** It is done, or wants no turn any more. */
  leave(taker: TurnTaker, nowMs: number): void {
    this.#unwait(taker);
    if (this.#end(taker)) this.#fill(nowMs);
  }

  /** It failed and wants another turn. */
  fail(taker: TurnTaker, nowMs: number): void {
    if (!this.#end(taker)) return;
    this.#rest(taker);
    this.#fill(nowMs);
  }

  /** It wants a turn, but not before the next sweep, whether it has one now or not. */
  rest(taker: TurnTaker, nowMs: number): void {
    const hadTurn = this.#end(taker);
    this.#unwait(taker);
    if (this.#hasRoom(taker)) this.#rest(taker);
    if (hadTurn) this.#fill(nowMs);
  }

  /** Called now and then: ends silent turns and lets those that rest wait again. */
  sweep(nowMs: number): void {
    for (const taker of this.#resting) {
      this.#lines.get(keyOf(taker))?.resting.delete(taker);
      this.#wait(taker);
    }
    this.#resting.clear();
    for (const [taker, { beganMs, progressMs }] of this.#loading) {
      const isSilent = nowMs - progressMs >= snapshotSilenceMsMax;
      if (!isSilent && nowMs - beganMs < snapshotTurnMsMax) continue;
      // It waits before its turn ends, so that its line is kept.
      const line = this.#wait(taker);
      this.#end(taker);
      punish(line, nowMs);
      taker.lose();
    }
    for (const [key, line] of this.#lines) {
      if (nowMs - line.restUntilMs >= snapshotLossMemoryMs) line.restMs = snapshotRestMsMin;
      this.#drop(key, line);
    }
    this.#fill(nowMs);
  }

  #fill(nowMs: number): void {
    while (this.#loading.size < snapshotTurnsMax) {
      const line = this.#next(nowMs);
      const [taker] = line?.waiting ?? [];
      if (line === undefined || taker === undefined) return;
      line.waiting.delete(taker);
      this.#waiting.delete(taker);
      line.turns += 1;
      this.#loading.set(taker, { beganMs: nowMs, progressMs: nowMs });
      taker.begin(nowMs);
    }
  }

  /** The node whose turn it is, of those that want one and may have it. */
  #next(nowMs: number): Line | undefined {
    let first: Line | undefined;
    for (const line of this.#lines.values()) {
      if (line.waiting.size === 0 || line.turns >= snapshotTurnsPerNodeMax) continue;
      if (nowMs >= line.restUntilMs && (first === undefined || isBefore(line, first))) first = line;
    }
    return first;
  }

  /** Makes some, if it has to and the taker's node has less than its share. */
  #hasRoom(taker: TurnTaker): boolean {
    if (this.waiting < snapshotWaitingMax) return true;
    const line = this.#lines.get(keyOf(taker));
    const lines = this.#lines.size + (line === undefined ? 1 : 0);
    if (inLine(line) >= Math.floor(snapshotWaitingMax / lines)) return false;
    // Somebody has more than a share, or they would not be so many.
    let longest: Line | undefined;
    for (const other of this.#lines.values()) if (inLine(other) > inLine(longest)) longest = other;
    const last = [...(longest?.waiting ?? []), ...(longest?.resting ?? [])].at(-1);
    if (last === undefined) return false;
    this.#unwait(last);
    return true;
  }

  #lineOf(taker: TurnTaker): Line {
    return this.#lines.get(keyOf(taker)) ?? this.#addLine(keyOf(taker));
  }

  #wait(taker: TurnTaker): Line {
    const line = this.#lineOf(taker);
    line.waiting.add(taker);
    this.#waiting.add(taker);
    return line;
  }

  #rest(taker: TurnTaker): void {
    this.#lineOf(taker).resting.add(taker);
    this.#resting.add(taker);
  }

  /** Neither does it rest. */
  #unwait(taker: TurnTaker): void {
    if (!this.#waiting.delete(taker) && !this.#resting.delete(taker)) return;
    const line = this.#lines.get(keyOf(taker));
    if (line === undefined) return;
    line.waiting.delete(taker);
    line.resting.delete(taker);
    this.#drop(keyOf(taker), line);
  }

  /** Its turn is over, if it had one. */
  #end(taker: TurnTaker): boolean {
    if (!this.#loading.delete(taker)) return false;
    const line = this.#lines.get(keyOf(taker));
    if (line === undefined) return true;
    line.turns -= 1;
    line.since = this.#count();
    this.#drop(keyOf(taker), line);
    return true;
  }

  /** At the end: who comes anew is not before those who wait already. */
  #addLine(key: string | TurnTaker): Line {
    const line: Line = {
      ...{ waiting: new Set(), resting: new Set(), turns: 0, since: this.#count() },
      ...{ restMs: snapshotRestMsMin, restUntilMs: Number.NEGATIVE_INFINITY },
    };
    this.#lines.set(key, line);
    return line;
  }

  #drop(key: string | TurnTaker, line: Line): void {
    if (inLine(line) + line.turns === 0 && line.restMs === snapshotRestMsMin) this.#lines.delete(key);
  }

  #count(): number {
    this.#events += 1;
    return this.#events;
  }
}

const keyOf = (taker: TurnTaker): string | TurnTaker => taker.node ?? taker;

const inLine = (line: Line | undefined): number =>
  line === undefined ? 0 : line.waiting.size + line.resting.size;

const isBefore = (line: Line, other: Line): boolean =>
  line.turns === other.turns ? line.since < other.since : line.turns < other.turns;

/** A turn of it was lost. Of turns that are lost together one counts. */
const punish = (line: Line, nowMs: number): void => {
  if (nowMs < line.restUntilMs) return;
  line.restUntilMs = nowMs + line.restMs;
  line.restMs = Math.min(2 * line.restMs, snapshotRestMsMax);
};
