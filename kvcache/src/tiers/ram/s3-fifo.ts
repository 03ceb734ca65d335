/**
 * Which value goes when another needs room: S3-FIFO (Yang et al., SOSP 2023) by bytes. New values pass a small queue;
 * those that were asked for again there move to the main one, the others go and leave their key among the ghosts, and a
 * value that comes back while its key is one goes to the main queue at once. Pure: knows no bytes and no clock.
 *
 *   insert --> small (a tenth) --asked again--> main --asked again: once more round--> out
 *                 \--not asked--> out, key to the ghosts --> insert: main
 *
 * Chosen by trace (docs/design/0008): a scan of prompts that never come back passes through a tenth of the room.
 */

/** What a value brings to stand in a queue. Only this file writes it. */
export interface Queued {
  readonly key: string;
  readonly bytes: number;
  place: Place | undefined;
}

interface Place {
  queue: Queue;
  /** Times it was asked for since it came into its queue, at most 3. */
  asked: number;
  newer: Queued | undefined;
  older: Queued | undefined;
}

const askedMax = 3;
const smallShare = 0.1;
/**
 * Keys of values that went: some 30 MiB with keys of 64 bytes. Together their values were charged what memory has at
 * most, for long keys too, so that ghosts never take more heap than values' entries may.
 */
const ghostsMax = 262_144;

class Queue {
  bytes = 0;
  count = 0;
  #newest: Queued | undefined;
  #oldest: Queued | undefined;

  get oldest(): Queued | undefined {
    return this.#oldest;
  }

  add(value: Queued): void {
    const older = this.#newest;
    value.place = { queue: this, asked: 0, newer: undefined, older };
    if (older?.place !== undefined) older.place.newer = value;
    this.#newest = value;
    this.#oldest ??= value;
    this.bytes += value.bytes;
    this.count += 1;
  }

  remove(value: Queued, { newer, older }: Place): void {
    if (newer?.place === undefined) this.#newest = older;
    else newer.place.older = older;
    if (older?.place === undefined) this.#oldest = newer;
    else older.place.newer = newer;
    value.place = undefined;
    this.bytes -= value.bytes;
    this.count -= 1;
  }
}

export class S3Fifo<Value extends Queued> {
  readonly #bytesMax: number;
  readonly #small = new Queue();
  readonly #main = new Queue();
  /** In the order they went, each with its bytes. */
  readonly #ghosts = new Map<string, number>();
  #ghostBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#small.bytes + this.#main.bytes;
  }

  insert(value: Value): void {
    const bytes = this.#ghosts.get(value.key);
    (bytes === undefined ? this.#small : this.#main).add(value);
    if (bytes === undefined) return;
    this.#ghosts.delete(value.key);
    this.#ghostBytes -= bytes;
  }

  /** It was asked for. */
  touch({ place }: Value): void {
    if (place !== undefined && place.asked < askedMax) place.asked += 1;
  }

  remove(value: Value): void {
    if (value.place !== undefined) value.place.queue.remove(value, value.place);
  }

  /** Takes out who goes first of those that may; undefined when none may. */
  evict(mayGo: (value: Value) => boolean): Value | undefined {
    // Each look takes one round off a value or passes one that may not go; after so many nobody has a round left.
    let looks = (this.#small.count + this.#main.count) * (askedMax + 1);
    for (; looks > 0; looks -= 1) {
      const isSmall = this.#small.bytes >= this.#bytesMax * smallShare || this.#main.count === 0;
      const queue = isSmall && this.#small.count > 0 ? this.#small : this.#main;
      const value = queue.oldest as Value | undefined;
      if (value?.place === undefined) return undefined;
      const { asked } = value.place;
      queue.remove(value, value.place);
      if (asked > 0 || !mayGo(value)) {
        this.#main.add(value);
        if (value.place !== undefined && queue === this.#main)
          value.place = { ...value.place, asked: Math.max(0, asked - 1) };
        continue;
      }
      if (queue === this.#small) this.#remember(value);
      return value;
    }
    return undefined;
  }

  #remember({ key, bytes }: Value): void {
    this.#ghosts.set(key, bytes);
    this.#ghostBytes += bytes;
    for (const [oldest, itsBytes] of this.#ghosts) {
      if (this.#ghostBytes <= this.#bytesMax && this.#ghosts.size <= ghostsMax) break;
      this.#ghosts.delete(oldest);
      this.#ghostBytes -= itsBytes;
    }
  }
}
