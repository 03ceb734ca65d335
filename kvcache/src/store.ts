/**
 * HOT. Values by key over memory and disk: admission, promotion and demotion happen here and nowhere else. A value is
 * in memory first and written to the disk behind that; one that is asked for and lies on the disk alone comes back into
 * memory. A full store evicts, and refuses when nothing may go: it never grows. Knows no protocol.
 *
 *   reserve --> fill --> commit --> memory --write behind--> disk
 *                                     ^                       |
 *                                     +------- get -----------+
 */
import { RamTier, type RamValue } from './tiers/ram/ram-tier.ts';
import { keyBytesMax } from './tiers/ssd/record.ts';
import { SsdTier } from './tiers/ssd/ssd-tier.ts';

export { keyBytesMax };
/** What engines call a block is far below; a slot's whole state may be above and is then none of this store's. */
export const valueBytesMax = 64 * 2 ** 20;
/** Of memory that may wait for the disk: with more, a slow disk would leave nothing that can be evicted. */
const dirtyShare = 0.25;

export interface StoreOptions {
  readonly ramBytesMax: number;
  /** Undefined: memory alone, nothing survives a restart. */
  readonly ssd: { readonly directory: string; readonly bytesMax: number } | undefined;
  readonly nowMs: () => number;
  readonly onError?: (message: string) => void;
}

/** A value that somebody reads. Its bytes stay as they are until `release`, which is called once. */
export interface HeldValue {
  readonly bytes: Buffer;
  /** Where the same bytes are for a program that maps the store's memory. */
  readonly arena: number;
  readonly offset: number;
  release(): void;
}

/** Room for a value that somebody writes. `commit` or `abort` is called once. */
export interface NewValue {
  readonly bytes: Buffer;
  commit(options?: { readonly expiresAtMs?: number | undefined }): void;
  abort(): void;
}

export interface StoreCounts {
  readonly ramHits: number;
  readonly ssdHits: number;
  readonly misses: number;
  /** On the disk, and not read: damaged, too many wait, or no room in memory. */
  readonly ssdMisses: number;
  readonly puts: number;
  readonly refusals: number;
}

export class KvStore {
  readonly ram: RamTier;
  readonly ssd: SsdTier | undefined;
  readonly #nowMs: () => number;
  /** Reads from the disk under way: who asks for the same key waits for the same read. */
  readonly #reads = new Map<string, Promise<RamValue | undefined>>();
  #ramHits = 0;
  #ssdHits = 0;
  #misses = 0;
  #ssdMisses = 0;
  #puts = 0;
  #refusals = 0;

  private constructor(ram: RamTier, ssd: SsdTier | undefined, nowMs: () => number) {
    this.ram = ram;
    this.ssd = ssd;
    this.#nowMs = nowMs;
  }

  static async open({ ramBytesMax, ssd, nowMs, onError = () => {} }: StoreOptions): Promise<KvStore> {
    const ram = new RamTier({ bytesMax: ramBytesMax });
    if (ssd === undefined) return new KvStore(ram, undefined, nowMs);
    const disk = await SsdTier.open({
      ...ssd,
      dirtyBytesMax: Math.floor(ramBytesMax * dirtyShare),
      nowMs,
      onError,
      onGone: (key, isAsked) => store.#goneFromDisk(key, isAsked),
    });
    const store = new KvStore(ram, disk, nowMs);
    return store;
  }

  get counts(): StoreCounts {
    return {
      ramHits: this.#ramHits,
      ssdHits: this.#ssdHits,
      misses: this.#misses,
      ssdMisses: this.#ssdMisses,
      puts: this.#puts,
      refusals: this.#refusals,
    };
  }

  /** The value, held. At once when it is in memory; a promise only where the disk must be read. */
  get(key: string): HeldValue | undefined | Promise<HeldValue | undefined> {
    const value = this.ram.get(key, this.#nowMs());
    if (value !== undefined) {
      this.#ramHits += 1;
      return this.#held(value);
    }
    if (this.ssd?.find(key) !== undefined) return this.#fromDisk(key);
    this.#misses += 1;
    return undefined;
  }

  has(key: string): boolean {
    return this.lengthOf(key) !== undefined;
  }

  /** Bytes of the value, without it being asked for. */
  lengthOf(key: string): number | undefined {
    return this.ram.peek(key, this.#nowMs())?.length ?? this.ssd?.find(key)?.length;
  }

  /** Undefined when there is no room and none can be made. Throws on a key or a length beyond the bounds. */
  reserve(key: string, length: number): NewValue | undefined {
    if (key.length > keyBytesMax) throw new RangeError(`a key has ${keyBytesMax} bytes at most`);
    if (length > valueBytesMax) throw new RangeError(`a value has ${valueBytesMax} bytes at most`);
    const value = this.ram.reserve(key, length);
    if (value === undefined) {
      this.#refusals += 1;
      return undefined;
    }
    return {
      bytes: this.ram.bytesOf(value),
      commit: ({ expiresAtMs } = {}) => {
        value.expiresAtMs = expiresAtMs;
        this.#puts += 1;
        this.ram.publish(value);
        this.#writeBehind(value);
      },
      abort: () => this.ram.abandon(value),
    };
  }

  delete(key: string): boolean {
    const isKnown = this.has(key);
    this.ram.delete(key);
    this.ssd?.delete(key);
    return isKnown;
  }

  /** Undefined: never. */
  expire(key: string, expiresAtMs: number | undefined): boolean {
    const value = this.ram.peek(key, this.#nowMs());
    if (value !== undefined) value.expiresAtMs = expiresAtMs;
    // Where the disk has the value it is told the time alone; one that waits for it is written behind that once more.
    if (this.ssd?.expire(key, expiresAtMs) === true) return true;
    if (value !== undefined) this.#writeBehind(value);
    return value !== undefined;
  }

  /** Undefined: there is no such key; null: never. */
  expiresAtMs(key: string): number | null | undefined {
    const value = this.ram.peek(key, this.#nowMs()) ?? this.ssd?.find(key);
    return value === undefined ? undefined : (value.expiresAtMs ?? null);
  }

  /** A pinned value stays in memory whatever needs room, until it is deleted, replaced or its time is over. */
  async pin(key: string, isPinned: boolean): Promise<boolean> {
    const held = await this.get(key);
    if (held === undefined) return false;
    const value = this.ram.peek(key, this.#nowMs());
    if (value !== undefined) this.ram.pin(value, isPinned);
    held.release();
    return value !== undefined;
  }

  /** Each key at least once, as long as it stays. */
  *keys(): Generator<string> {
    for (const key of this.ram.keys()) if (this.ssd?.find(key) === undefined) yield key;
    if (this.ssd !== undefined) yield* this.ssd.keys();
  }

  /** What was committed before is where a loss of power leaves it, unless the disk failed or was too slow for it. */
  async flush(): Promise<void> {
    await this.ssd?.flush();
  }

  async close(): Promise<void> {
    await this.ssd?.close();
  }

  async #fromDisk(key: string): Promise<HeldValue | undefined> {
    const reading = this.#reads.get(key) ?? this.#read(key).finally(() => this.#reads.delete(key));
    this.#reads.set(key, reading);
    const value = await reading;
    if (value === undefined) {
      this.#ssdMisses += 1;
      return undefined;
    }
    this.#ssdHits += 1;
    return this.#held(value);
  }

  /** Into memory, where it may be evicted again only after all who wait for it hold it. */
  async #read(key: string): Promise<RamValue | undefined> {
    const place = this.ssd?.find(key);
    const value = place === undefined ? undefined : this.ram.reserve(key, place.length);
    if (this.ssd === undefined || place === undefined || value === undefined) return undefined;
    const outcome = await this.ssd.read(key, place, this.ram.pagesOf(value));
    // Written anew or deleted meanwhile: what was read is not the value of the key any more.
    if (
      outcome !== 'read' ||
      this.ssd.find(key) !== place ||
      this.ram.peek(key, this.#nowMs()) !== undefined
    ) {
      this.ram.abandon(value);
      return this.ram.peek(key, this.#nowMs());
    }
    value.expiresAtMs = place.expiresAtMs;
    this.ram.publish(value);
    return value;
  }

  #held(value: RamValue): HeldValue {
    this.ram.hold(value);
    const release = (): void => this.ram.release(value);
    return { bytes: this.ram.bytesOf(value), arena: value.arena, offset: this.ram.offsetOf(value), release };
  }

  #writeBehind(value: RamValue): void {
    if (this.ssd === undefined) return;
    const { key, length, expiresAtMs } = value;
    this.ram.hold(value);
    const onDone = (): void => this.ram.release(value);
    const isWanted = (): boolean => value.state === 'held';
    const pending = { key, pages: this.ram.pagesOf(value), length, expiresAtMs, isWanted, onDone };
    if (!this.ssd.write(pending)) onDone();
  }

  /** What was read since it was written, and is in memory, is written once more. */
  #goneFromDisk(key: string, isAsked: boolean): void {
    const value = isAsked ? this.ram.peek(key, this.#nowMs()) : undefined;
    if (value !== undefined) this.#writeBehind(value);
  }
}
