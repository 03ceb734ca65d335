/**
 * Keeps one replica's part of a prefix map in step with what its agent reports: deltas in sequence, and a snapshot
 * whenever the sequence has a gap. Owns the replica's slot. While it is not in step the replica is blind: its slot is
 * hidden, so nothing of it is claimed. In step means: the map holds what the agent's ledger held at `sequence` (but
 * for what the map evicted), and nothing newer was heard of. Takes parsed messages, and never fails on what they say;
 * a link that loses, repeats or reorders them costs a snapshot, not a wrong claim.
 *
 *   blind: waiting --turn--> asked --part 0--> loading --last part--> in step --gap--> waiting
 *              \______________\_________________\______delta `isCleared`____^
 */
import type { Epoch } from '@cognitora/protocol/ids';
import type { KvBlocks, KvDelta, KvMark, KvSnapshotPart, Tier } from '@cognitora/protocol/kv';
import type { Slot } from './replica-slots.ts';
import type { SnapshotTurns, TurnTaker } from './snapshot-turns.ts';

/** Deltas that come while a snapshot loads are kept, up to so many digests: minutes of a busy engine, 512 KiB. */
export const heldDigestsMax = 65_536;

/** What a link says of one feed: the link's epoch stands for the feed's number, which only the link knows. */
export type OfEpoch<Message> = Omit<Message, 'feed'> & { readonly epoch: Epoch };

/** What a feed writes to: a prefix map. */
export interface BlockStore {
  claim(): Slot | undefined;
  clear(slot: Slot): void;
  show(slot: Slot): void;
  add(digests: Uint32Array, slot: Slot, tier: Tier): void;
  remove(digests: Uint32Array, slot: Slot, tier: Tier): void;
}

export interface KvFeedOptions {
  readonly store: BlockStore;
  readonly turns: SnapshotTurns;
  /** Whose replica it is. */
  readonly node?: string | undefined;
  /**
   * Sends the agent a request for a snapshot. Returns its number, which no other request on this link has. The
   * answer comes later, never within the call.
   */
  readonly ask: (epoch: Epoch) => number;
  /** The engine began anew: it holds nothing but what comes from here on. */
  readonly onCleared: () => void;
}

export type FeedState = 'closed' | 'waiting' | 'asked' | 'loading' | 'in-step';

const digestsIn = (blocks: readonly KvBlocks[]): number =>
  blocks.reduce((sum, { digests }) => sum + digests.length / 2, 0);

export class KvFeed implements TurnTaker {
  readonly #options: KvFeedOptions;
  #state: FeedState = 'closed';
  #slot: Slot | undefined;
  #epoch: Epoch | undefined;
  /** The last delta that the map's content includes; of a snapshot while it loads. */
  #sequence = 0;
  /** The last one heard of. */
  #newestSequence = 0;
  #request = 0;
  #nextPart = 0;
  #held: OfEpoch<KvDelta>[] = [];
  #heldDigests = 0;

  constructor(options: KvFeedOptions) {
    this.#options = options;
  }

  get node(): string | undefined {
    return this.#options.node;
  }

  get state(): FeedState {
    return this.#state;
  }

  get isInStep(): boolean {
    return this.#state === 'in-step';
  }

  /** Undefined when closed, or when the cell is full. May change whenever the feed is not in step. */
  get slot(): Slot | undefined {
    return this.#slot;
  }

  get epoch(): Epoch | undefined {
    return this.#epoch;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /**
   * A link of the replica's node is open: what an older one said is forgotten. An older link changes nothing, nor does
   * the same one, unless the feed was closed.
   */
  open(epoch: Epoch, nowMs: number): void {
    const known = this.#epoch;
    if (known !== undefined && (epoch < known || (epoch === known && this.#state !== 'closed'))) return;
    this.#epoch = epoch;
    this.#sequence = 0;
    this.#newestSequence = 0;
    this.#options.turns.leave(this, nowMs);
    this.#startOver(nowMs);
  }

  /** The replica, or what is known of it, is gone. Whatever comes before the feed is opened again means nothing. */
  close(nowMs: number): void {
    this.#options.turns.leave(this, nowMs);
    this.#wait();
    this.#state = 'closed';
    if (this.#slot !== undefined) this.#options.store.clear(this.#slot);
    this.#slot = undefined;
  }

  delta(delta: OfEpoch<KvDelta>, nowMs: number): void {
    if (!this.#admits(delta, nowMs)) return;
    if (this.#state === 'in-step' && delta.sequence <= this.#sequence) return;
    if (delta.isCleared && delta.sequence === this.#newestSequence) this.#restart(delta, nowMs);
    else if (this.#state === 'loading') this.#hold(delta);
    else if (this.#state !== 'in-step') this.#options.turns.want(this, nowMs);
    else if (delta.sequence === this.#sequence + 1) this.#apply(delta);
    else this.#startOver(nowMs);
  }

  mark(mark: OfEpoch<KvMark>, nowMs: number): void {
    if (this.#admits(mark, nowMs)) this.#catchUp(nowMs);
  }

  /** Something was said that nobody read: what is known is void, and a snapshot is wanted, later. */
  missed(nowMs: number): void {
    if (this.#state === 'closed' || this.#state === 'waiting') return;
    this.#abandon();
    this.#options.turns.rest(this, nowMs);
  }

  snapshotPart(part: OfEpoch<KvSnapshotPart>, nowMs: number): void {
    if (!this.#admits(part, nowMs)) return;
    const isAwaited = this.#state === 'asked' || this.#state === 'loading';
    if (!isAwaited || part.request !== this.#request || part.part < this.#nextPart) {
      this.#catchUp(nowMs);
      return;
    }
    const isFirst = part.part === 0;
    const hasGap = part.part > this.#nextPart || (!isFirst && part.sequence !== this.#sequence);
    if (hasGap || this.#slot === undefined) {
      this.#fail(nowMs);
      return;
    }
    this.#options.turns.progress(this, nowMs);
    this.#state = 'loading';
    this.#sequence = part.sequence;
    this.#nextPart += 1;
    for (const { digests, tier } of part.blocks) this.#options.store.add(digests, this.#slot, tier);
    if (part.isLast) this.#finish(nowMs);
  }

  /** For the turns: it may load now. In a full cell it has nowhere to, and tries again later. */
  begin(nowMs: number): void {
    this.#slot ??= this.#options.store.claim();
    if (this.#epoch === undefined || this.#slot === undefined) {
      this.#options.turns.fail(this, nowMs);
      return;
    }
    this.#state = 'asked';
    this.#request = this.#options.ask(this.#epoch);
  }

  /** For the turns: nothing came for too long. */
  lose(): void {
    this.#abandon();
  }

  /** True for what this epoch's link says; a newer one is as good as open. */
  #admits({ epoch, sequence }: OfEpoch<KvMark>, nowMs: number): boolean {
    if (this.#state === 'closed' || this.#epoch === undefined || epoch < this.#epoch) return false;
    this.open(epoch, nowMs);
    this.#newestSequence = Math.max(this.#newestSequence, sequence);
    return true;
  }

  /** Wants a snapshot if something newer was heard of than is known. */
  #catchUp(nowMs: number): void {
    if (this.#state === 'in-step' && this.#sequence < this.#newestSequence) this.#startOver(nowMs);
    else if (this.#state === 'waiting') this.#options.turns.want(this, nowMs);
  }

  /** Nothing is known any more; a snapshot is wanted. */
  #startOver(nowMs: number): void {
    this.#abandon();
    this.#options.turns.want(this, nowMs);
  }

  #fail(nowMs: number): void {
    this.#abandon();
    this.#options.turns.fail(this, nowMs);
  }

  #abandon(): void {
    // A slot that nothing was written to is kept, with what is predicted of it.
    const isWritten = this.#state === 'loading' || this.#state === 'in-step';
    if (isWritten || this.#slot === undefined) this.#renewSlot();
    this.#wait();
  }

  #wait(): void {
    this.#state = 'waiting';
    this.#nextPart = 0;
    this.#held = [];
    this.#heldDigests = 0;
  }

  #renewSlot(): void {
    const { store } = this.#options;
    if (this.#slot !== undefined) store.clear(this.#slot);
    this.#slot = store.claim();
  }

  /** The engine began anew: the delta says all there is. */
  #restart(delta: OfEpoch<KvDelta>, nowMs: number): void {
    this.#wait();
    this.#apply(delta);
    if (this.#slot === undefined) this.#options.turns.want(this, nowMs);
    else this.#reachStep(nowMs);
  }

  /** Deltas that a loading snapshot may not include yet. Those that do not fit are missed at its end. */
  #hold(delta: OfEpoch<KvDelta>): void {
    const digests = 1 + digestsIn(delta.added) + digestsIn(delta.removed);
    if (delta.sequence <= this.#sequence || this.#heldDigests + digests > heldDigestsMax) return;
    this.#held.push(delta);
    this.#heldDigests += digests;
  }

  #finish(nowMs: number): void {
    for (const delta of this.#held) {
      if (delta.sequence === this.#sequence + 1) this.#apply(delta);
    }
    this.#held = [];
    this.#heldDigests = 0;
    if (this.#sequence === this.#newestSequence && this.#slot !== undefined) this.#reachStep(nowMs);
    else this.#fail(nowMs);
  }

  #reachStep(nowMs: number): void {
    this.#state = 'in-step';
    this.#nextPart = 0;
    if (this.#slot !== undefined) this.#options.store.show(this.#slot);
    this.#options.turns.leave(this, nowMs);
  }

  #apply({ sequence, isCleared, added, removed }: OfEpoch<KvDelta>): void {
    const { store } = this.#options;
    if (isCleared) {
      this.#renewSlot();
      this.#options.onCleared();
    }
    this.#sequence = sequence;
    if (this.#slot === undefined) return;
    for (const { digests, tier } of added) store.add(digests, this.#slot, tier);
    for (const { digests, tier } of removed) store.remove(digests, this.#slot, tier);
  }
}
