/**
 * Who may load a snapshot now. After a mass reconnect every replica wants to; so many at once would fill the object's
 * memory and its thread, so a few have a turn and the others wait in order. A turn without progress ends, and so does
 * one that failed: both wait again, from the next sweep on, so that a peer that always fails costs one try per sweep.
 * Knows nothing of what is loaded. Pure: time comes in with each call.
 */

/** Snapshots that load at once in one object. */
export const snapshotTurnsMax = 8;
/** Of them one node's: who never answers keeps others from their turns for a while only. */
export const snapshotTurnsPerNodeMax = 2;
/** Who waits beyond this is refused and asks again later: 2,048 links with two replicas each. */
export const snapshotWaitingMax = 4096;
/** A turn ends when nothing arrived for this long. */
export const snapshotSilenceMsMax = 10_000;

/** The largest snapshot is 1 MiB: who takes longer for it, a byte at a time, keeps others from theirs. */
export const snapshotTurnMsMax = 60_000;

export interface TurnTaker {
  /** Whose it is, where nodes are told apart. */
  readonly node: string | undefined;
  /** It has a turn from now on. */
  begin(nowMs: number): void;
  /** Its turn is over before it was done; it waits for another. */
  lose(): void;
}

export class SnapshotTurns {
  /** Who has a turn, since when, and when something last arrived. */
  readonly #loading = new Map<TurnTaker, { readonly beganMs: number; readonly progressMs: number }>();
  /** Turns of each node that has any. */
  readonly #turnsOf = new Map<string, number>();
  readonly #waiting = new Set<TurnTaker>();
  /** Who waits from the next sweep on. */
  readonly #resting = new Set<TurnTaker>();

  get loading(): number {
    return this.#loading.size;
  }

  get waiting(): number {
    return this.#waiting.size + this.#resting.size;
  }

  /** Gives a turn now or later. False when too many wait already. Again means nothing. */
  want(taker: TurnTaker, nowMs: number): boolean {
    if (this.#loading.has(taker) || this.#waiting.has(taker) || this.#resting.has(taker)) return true;
    if (this.waiting >= snapshotWaitingMax) return false;
    this.#waiting.add(taker);
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
    this.#waiting.delete(taker);
    this.#resting.delete(taker);
    if (this.#end(taker)) this.#fill(nowMs);
  }

  /** It failed and wants another turn. */
  fail(taker: TurnTaker, nowMs: number): void {
    if (!this.#end(taker)) return;
    this.#resting.add(taker);
    this.#fill(nowMs);
  }

  /** It wants a turn, but not before the next sweep, whether it has one now or not. */
  rest(taker: TurnTaker, nowMs: number): void {
    const hadTurn = this.#end(taker);
    this.#waiting.delete(taker);
    if (this.waiting < snapshotWaitingMax) this.#resting.add(taker);
    if (hadTurn) this.#fill(nowMs);
  }

  /** Called now and then: ends silent turns and lets those that rest wait again. */
  sweep(nowMs: number): void {
    for (const taker of this.#resting) this.#waiting.add(taker);
    this.#resting.clear();
    for (const [taker, { beganMs, progressMs }] of this.#loading) {
      const isSilent = nowMs - progressMs >= snapshotSilenceMsMax;
      if (!isSilent && nowMs - beganMs < snapshotTurnMsMax) continue;
      this.#end(taker);
      this.#waiting.add(taker);
      taker.lose();
    }
    this.#fill(nowMs);
  }

  #fill(nowMs: number): void {
    for (const taker of this.#waiting) {
      if (this.#loading.size >= snapshotTurnsMax) return;
      if (taker.node !== undefined && (this.#turnsOf.get(taker.node) ?? 0) >= snapshotTurnsPerNodeMax)
        continue;
      this.#waiting.delete(taker);
      this.#loading.set(taker, { beganMs: nowMs, progressMs: nowMs });
      if (taker.node !== undefined) this.#turnsOf.set(taker.node, (this.#turnsOf.get(taker.node) ?? 0) + 1);
      taker.begin(nowMs);
    }
  }

  /** Its turn is over, if it had one. */
  #end(taker: TurnTaker): boolean {
    if (!this.#loading.delete(taker)) return false;
    if (taker.node === undefined) return true;
    const left = (this.#turnsOf.get(taker.node) ?? 1) - 1;
    if (left > 0) this.#turnsOf.set(taker.node, left);
    else this.#turnsOf.delete(taker.node);
    return true;
  }
}
