/**
 * One way of a link that delays and loses: which packets get through, and when. Packets stay in order, wait in a queue
 * of bounded bytes while the link is busy, and lie in a ring that never grows. Pure: time and chance are given.
 */

/** What one way does to packets. */
export interface DirectionShape {
  /** From one end to the other, without the time on the wire. */
  readonly delayMs: number;
  /** Uniform, on top of the delay; a packet never overtakes another. */
  readonly jitterMs: number;
  /** Of packets, 0 to 1, each by itself. */
  readonly lossShare: number;
  readonly megabitsPerSecond: number;
  /** Packets that find more waiting for the wire are dropped, as a router does. */
  readonly queueBytesMax: number;
}

export interface DirectionCounts {
  readonly delivered: number;
  readonly deliveredBytes: number;
  readonly lost: number;
  /** Found the queue full. */
  readonly dropped: number;
}

/** Larger than any packet of a device with an MTU of 1,500. */
const packetBytesMax = 2048;
/** 1 Gbit/s over 100 ms are 8,600 packets of 1,450 bytes, and as many may wait. */
const packetsMax = 16_384;

export class Direction {
  #shape: DirectionShape;
  readonly #random: () => number;
  readonly #slots: readonly Buffer[];
  readonly #lengths = new Uint16Array(packetsMax);
  readonly #dueUs = new Float64Array(packetsMax);
  #first = 0;
  #count = 0;
  #wireFreeUs = 0;
  #delivered = 0;
  #deliveredBytes = 0;
  #lost = 0;
  #dropped = 0;

  constructor(shape: DirectionShape, random: () => number) {
    this.#shape = shape;
    this.#random = random;
    const ring = Buffer.alloc(packetsMax * packetBytesMax);
    this.#slots = Array.from({ length: packetsMax }, (_, at) =>
      ring.subarray(at * packetBytesMax, (at + 1) * packetBytesMax),
    );
  }

  /** From the next packet on; those under way keep their times. */
  change(shape: DirectionShape): void {
    this.#shape = shape;
  }

  get counts(): DirectionCounts {
    return {
      delivered: this.#delivered,
      deliveredBytes: this.#deliveredBytes,
      lost: this.#lost,
      dropped: this.#dropped,
    };
  }

  /** Where the next packet is read into. Undefined: the ring is full, and packets wait where they are. */
  get free(): Buffer | undefined {
    return this.#count < packetsMax ? this.#slots[(this.#first + this.#count) % packetsMax] : undefined;
  }

  /** A packet of so many bytes lies in `free`. */
  offer(bytes: number, nowUs: number): void {
    const { delayMs, jitterMs, lossShare, megabitsPerSecond, queueBytesMax } = this.#shape;
    const bytesPerUs = megabitsPerSecond / 8;
    const startsUs = Math.max(nowUs, this.#wireFreeUs);
    if ((startsUs - nowUs) * bytesPerUs + bytes > queueBytesMax) {
      this.#dropped += 1;
      return;
    }
    this.#wireFreeUs = startsUs + bytes / bytesPerUs;
    // A lost packet took its time on the wire.
    if (this.#random() < lossShare) {
      this.#lost += 1;
      return;
    }
    const jitterUs = jitterMs > 0 ? jitterMs * 1e3 * this.#random() : 0;
    const at = (this.#first + this.#count) % packetsMax;
    this.#lengths[at] = bytes;
    this.#dueUs[at] = this.#wireFreeUs + delayMs * 1e3 + jitterUs;
    this.#count += 1;
  }

  /** When the first packet arrives, and others behind it at the earliest; Infinity when none is under way. */
  get dueUs(): number {
    return this.#count === 0 ? Number.POSITIVE_INFINITY : (this.#dueUs[this.#first] ?? 0);
  }

  /** The slot and the length of the packet that has arrived, to be delivered before the next call. */
  arrived(nowUs: number): { readonly slot: Buffer; readonly bytes: number } | undefined {
    const slot = this.#slots[this.#first];
    if (this.dueUs > nowUs || slot === undefined) return undefined;
    const bytes = this.#lengths[this.#first] ?? 0;
    this.#first = (this.#first + 1) % packetsMax;
    this.#count -= 1;
    this.#delivered += 1;
    this.#deliveredBytes += bytes;
    return { slot, bytes };
  }
}
