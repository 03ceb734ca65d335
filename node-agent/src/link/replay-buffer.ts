/**
 * The last bytes of an answer, for a link that comes later, pure: a ring per answer that doubles while it may, then
 * writes over its oldest bytes. Together the rings take no more than the host's bound: one that is to grow halves
 * larger ones, and stays as it is where there is none. Positions are offsets of the answer's body.
 *
 *   body   0 ........ start .. (in the ring) .. end      end - start <= capacity, a power of two
 */

/** Most answers that are kept are small: a few events, or a short JSON body. */
const ringBytesMin = 1024;

const none = new Uint8Array();

/** What all rings of a host take together. */
export class ReplayMemory {
  readonly #bytesMax: number;
  /** Those of one capacity. */
  readonly #rings = new Map<number, Set<ReplayBuffer>>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a ring may grow to `capacity`; the largest ones make room for it, while they are larger than that. */
  makesRoom(ring: ReplayBuffer, capacity: number): boolean {
    while (this.#bytes + capacity - ring.capacity > this.#bytesMax) {
      const largest = Math.max(...this.#rings.keys());
      const [other] = this.#rings.get(largest) ?? [];
      if (other === undefined || largest <= capacity) return false;
      other.halve();
    }
    return true;
  }

  resized(ring: ReplayBuffer, before: number, after: number): void {
    this.#bytes += after - before;
    const left = this.#rings.get(before);
    left?.delete(ring);
    if (left?.size === 0) this.#rings.delete(before);
    if (after === 0) return;
    const same = this.#rings.get(after);
    if (same === undefined) this.#rings.set(after, new Set([ring]));
    else same.add(ring);
  }
}

export class ReplayBuffer {
  readonly #memory: ReplayMemory;
  readonly #bytesMax: number;
  #ring: Uint8Array = none;
  #start = 0;
  #end = 0;

  /** `bytesMax` is a power of two. */
  constructor(memory: ReplayMemory, bytesMax: number) {
    this.#memory = memory;
    this.#bytesMax = bytesMax;
  }

  get capacity(): number {
    return this.#ring.length;
  }

  /** Bytes of the body so far. */
  get end(): number {
    return this.#end;
  }

  /** HOT. */
  push(bytes: Uint8Array): void {
    while (this.#end - this.#start + bytes.length > this.capacity && this.grow()) {}
    this.#write(bytes);
  }

  /** False: it is as large as it may be. */
  grow(): boolean {
    const capacity = Math.max(ringBytesMin, 2 * this.capacity);
    if (capacity > this.#bytesMax || !this.#memory.makesRoom(this, capacity)) return false;
    this.#resize(capacity);
    return true;
  }

  halve(): void {
    this.#resize(this.capacity > ringBytesMin ? this.capacity / 2 : 0);
  }

  has(offset: number): boolean {
    return offset >= this.#start && offset <= this.#end;
  }

  /** A copy of the body from `offset` on, which it has. */
  from(offset: number): Uint8Array {
    const bytes = new Uint8Array(this.#end - offset);
    const at = this.#place(offset);
    const first = this.#ring.subarray(at, at + bytes.length);
    bytes.set(first);
    bytes.set(this.#ring.subarray(0, bytes.length - first.length), first.length);
    return bytes;
  }

  /** Nothing is kept any more. */
  drop(): void {
    this.#resize(0);
  }

  #place(offset: number): number {
    return this.capacity === 0 ? 0 : offset % this.capacity;
  }

  #resize(capacity: number): void {
    const kept = this.from(Math.max(this.#start, this.#end - capacity));
    this.#memory.resized(this, this.capacity, capacity);
    this.#ring = capacity === 0 ? none : new Uint8Array(capacity);
    this.#start = this.#end - kept.length;
    this.#end = this.#start;
    this.#write(kept);
  }

  #write(bytes: Uint8Array): void {
    const { capacity } = this;
    this.#end += bytes.length;
    this.#start = Math.max(this.#start, this.#end - capacity);
    const kept = bytes.subarray(Math.max(0, bytes.length - capacity));
    const at = this.#place(this.#end - kept.length);
    const first = kept.subarray(0, capacity - at);
    this.#ring.set(first, at);
    this.#ring.set(kept.subarray(first.length), 0);
  }
}
