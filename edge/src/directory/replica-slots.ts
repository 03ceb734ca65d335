/**
 * The 64 slot numbers of a cell's map: which are claimed, which take part in matches, and which still have to be swept
 * before they are given out again. Masks only; knows nothing of the entries that hold the bits.
 *
 *   free --claim--> hidden <--show/hide--> shown --release--> waiting --pass begins--> sweeping --pass ends--> free
 */

/** Replicas of one cell: the bits of a plane. */
export const replicasPerCellMax = 64;

/** A replica's number in its cell, 0 to 63, for as long as it is claimed. */
export type Slot = number & { readonly slot: unique symbol };

/** Two words of 32 slots each: slots 0 to 31, then 32 to 63. */
type Mask = Int32Array;

const maskOf = (mask: Mask, half: number): number => mask[half] ?? 0;

export class ReplicaSlots {
  /** Bits of a slot that is not claimed are dead. */
  readonly claimed: Mask = new Int32Array(2);
  /** Claimed, and matched against. */
  readonly shown: Mask = new Int32Array(2);
  readonly #waiting: Mask = new Int32Array(2);
  readonly #sweeping: Mask = new Int32Array(2);

  /** The lowest free slot, hidden; undefined when there is none. */
  claim(): Slot | undefined {
    for (let half = 0; half < 2; half += 1) {
      const dirty = maskOf(this.#waiting, half) | maskOf(this.#sweeping, half);
      const free = ~(maskOf(this.claimed, half) | dirty);
      if (free === 0) continue;
      const place = 31 - Math.clz32(free & -free);
      this.claimed[half] = maskOf(this.claimed, half) | (1 << place);
      return (half * 32 + place) as Slot;
    }
    return undefined;
  }

  isClaimed(slot: Slot): boolean {
    return ((maskOf(this.claimed, slot >>> 5) >>> (slot & 31)) & 1) === 1;
  }

  show(slot: Slot): void {
    this.assertClaimed(slot);
    this.shown[slot >>> 5] = maskOf(this.shown, slot >>> 5) | (1 << slot);
  }

  hide(slot: Slot): void {
    this.assertClaimed(slot);
    this.shown[slot >>> 5] = maskOf(this.shown, slot >>> 5) & ~(1 << slot);
  }

  release(slot: Slot): void {
    this.hide(slot);
    this.claimed[slot >>> 5] = maskOf(this.claimed, slot >>> 5) & ~(1 << slot);
    this.#waiting[slot >>> 5] = maskOf(this.#waiting, slot >>> 5) | (1 << slot);
  }

  /** Slots wait for a pass, or are in one. */
  get isDirty(): boolean {
    return this.isSweeping || ((this.#waiting[0] ?? 0) | (this.#waiting[1] ?? 0)) !== 0;
  }

  get isSweeping(): boolean {
    return ((this.#sweeping[0] ?? 0) | (this.#sweeping[1] ?? 0)) !== 0;
  }

  /** A pass over all entries begins: for the slots that wait now, not for those released from here on. */
  beginPass(): void {
    this.#sweeping.set(this.#waiting);
    this.#waiting.fill(0);
  }

  /** Every entry was seen: what the pass was for is free. */
  endPass(): void {
    this.#sweeping.fill(0);
  }

  /** Throws a RangeError: who still writes to a slot that was released would write into another replica's plane. */
  assertClaimed(slot: Slot): void {
    if (!this.isClaimed(slot)) throw new RangeError(`slot ${slot} is not claimed`);
  }
}
