/**
 * HOT. Values by key over memory and disk: admission, promotion and demotion happen here and nowhere else. A value is
 * in memory first and written to the disk behind that; one that is asked for and lies on the disk alone comes back into
 * memory. A full store evicts, and refuses when nothing may go: it never grows. Knows no protocol.
 *
 *   reserve --> fill --> commit --> memory --write behind--> disk
 *                                     ^                       |
 *                                     +------- get -----------+
 */
import { monotonicMs as systemMonotonicMs } from './clock.ts';
import { Incoming, type Sender } from './incoming.ts';
import { KeyCounts } from './key-counts.ts';
import { noTimes, type StoreTimes } from './store-times.ts';
import { valueIn } from './tiers/ram/extents.ts';
import { RamTier, type RamValue } from './tiers/ram/ram-tier.ts';
import { keyBytesMax } from './tiers/ssd/record.ts';
import { indexBytesMaxDefault, SsdTier } from './tiers/ssd/ssd-tier.ts';

export { keyBytesMax };
/** What engines call a block is far below; a slot's whole state may be above and is then none of this store's. */
export const valueBytesMax = 64 * 2 ** 20;
/** Of memory that may wait for the disk: with more, a slow disk would leave nothing that can be evicted. */
const dirtyShare = 0.25;
/** Of memory that may be pinned: with more, what is new would have no room. */
const pinnedShare = 0.75;
/** Hits in memory: reading the clock twice takes as long as the hit, so that one stands for so many. */
const timedEvery = 16;

export interface StoreOptions {
  readonly ramBytesMax: number;
  /** Undefined: memory alone, nothing survives a restart. */
  readonly ssd: { readonly directory: string; readonly bytesMax: number } | undefined;
  readonly nowMs: () => number;
  readonly monotonicMs?: () => number;
  /** Of values that are stored without an end; undefined: they have none. */
  readonly ttlMs?: number | undefined;
  readonly onError?: (message: string) => void;
}

/** A value that somebody reads. Its bytes stay as they are until `release`, which is called once. */
export interface HeldValue {
  readonly bytes: Buffer;
  /** The value's pages, it stands at `valueAt`. In the margins writes one face, the same whenever it does. */
  readonly pages: Buffer;
  /** Where the same bytes are for a program that maps the store's memory. */
  readonly arena: number;
  readonly offset: number;
  /** The same object for all who hold the same value; another one for whatever takes its place. */
  readonly value: object;
  release(): void;
}

export interface CommitOptions {
  readonly expiresAtMs?: number | undefined;
  readonly isPinned?: boolean;
  /** It came from a peer: nobody stored it. */
  readonly isFetched?: boolean;
}

/** Room for a value that somebody writes. `commit` or `abort` is called once. */
export interface NewValue {
  readonly bytes: Buffer;
  /** As of a value that is held. */
  readonly pages: Buffer;
  commit(options?: CommitOptions): void;
  abort(): void;
}

/** Where else values may be had; asked when neither memory nor disk has one. */
export interface ValueSource {
  /** There is nobody to ask, or nobody else's value is one of this key. */
  isOutOf(key: string): boolean;
  /** Into the store, and held. Never rejects. */
  fetch(key: string): Promise<HeldValue | undefined>;
  has(key: string): Promise<boolean>;
}

/** Of a value, without it being asked for. */
export interface ValueFacts {
  readonly tier: 'ram' | 'ssd';
  readonly bytes: number;
  readonly isPinned: boolean;
  /** Wall clock; undefined for never. */
  readonly expiresAtMs: number | undefined;
}

export interface StoreCounts {
  readonly ramHits: number;
  readonly ramMisses: number;
  readonly ssdHits: number;
  readonly ssdMisses: number;
  /** Of these: on the disk, and not read: damaged, too many wait, or no room in memory. */
  readonly ssdUnread: number;
  readonly peerHits: number;
  readonly peerMisses: number;
  /** Asked for, and given by no tier. */
  readonly misses: number;
  readonly puts: number;
  readonly refusals: number;
}

export class KvStore {
  readonly ram: RamTier;
  readonly ssd: SsdTier | undefined;
  /** Undefined: this host alone. */
  peers: ValueSource | undefined;
  /** A key's value came or went. */
  onChanged: ((key: string) => void) | undefined;
  readonly times: StoreTimes;
  readonly incoming: Incoming;
  readonly #monotonicMs: () => number;
  readonly #nowMs: () => number;
  readonly #ttlMs: number | undefined;
  /** Reads from the disk under way: who asks for the same key waits for the same read. */
  readonly #reads = new Map<string, Promise<RamValue | undefined>>();
  /** Of both tiers together. */
  readonly #sizes: KeyCounts;
  #ramHits = 0;
  #ramMisses = 0;
  #ssdHits = 0;
  #ssdMisses = 0;
  #ssdUnread = 0;
  #peerHits = 0;
  #peerMisses = 0;
  #misses = 0;
  #puts = 0;
  #refusals = 0;

  private constructor(
    ram: RamTier,
    ssd: SsdTier | undefined,
    { nowMs, ttlMs, monotonicMs = systemMonotonicMs }: StoreOptions,
    times: StoreTimes,
    sizes: KeyCounts,
  ) {
    this.times = times;
    this.#sizes = sizes;
    this.#monotonicMs = monotonicMs;
    this.ram = ram;
    this.incoming = new Incoming(ram.counts.bytesMax);
    this.ssd = ssd;
    this.#nowMs = nowMs;
    this.#ttlMs = ttlMs;
  }

  static async open(options: StoreOptions): Promise<KvStore> {
    const { ramBytesMax, ssd, nowMs, monotonicMs = systemMonotonicMs, onError = () => {} } = options;
    const times = noTimes();
    const sizes = new KeyCounts();
    const ram = new RamTier({ bytesMax: ramBytesMax, onGone: ({ key }) => store.#goneFromMemory(key) });
    const dirtyBytesMax = Math.floor(ramBytesMax * dirtyShare);
    const onGone = (key: string, isAsked: boolean): void => store.#goneFromDisk(key, isAsked);
    const onPlace = (key: string, isHere: boolean): void => {
      if (ram.has(key)) return;
      if (isHere) sizes.came(key);
      else sizes.went(key);
    };
    const indexBytesMax = Math.max(indexBytesMaxDefault, ramBytesMax / 8);
    const shared = {
      dirtyBytesMax,
      indexBytesMax,
      nowMs,
      monotonicMs,
      times: times.ssdWrite,
      onError,
      onGone,
      onPlace,
    };
    const disk = ssd && (await SsdTier.open({ ...ssd, ...shared }));
    const store = new KvStore(ram, disk, options, times, sizes);
    return store;
  }

  get counts(): StoreCounts {
    return {
      ramHits: this.#ramHits,
      ramMisses: this.#ramMisses,
      ssdHits: this.#ssdHits,
      ssdMisses: this.#ssdMisses,
      ssdUnread: this.#ssdUnread,
      peerHits: this.#peerHits,
      peerMisses: this.#peerMisses,
      misses: this.#misses,
      puts: this.#puts,
      refusals: this.#refusals,
    };
  }

  /** The value, held. At once when it is in memory; a promise only where the disk must be read or a peer asked. */
  get(key: string): HeldValue | undefined | Promise<HeldValue | undefined> {
    const here = this.#fromMemory(key);
    if (here !== undefined) return here;
    const { peers } = this;
    const behind = this.#behindMemory(key);
    if (peers === undefined || peers.isOutOf(key)) return this.#last(behind);
    return this.#last(this.#fromPeers(key, peers, behind));
  }

  /** Of this host alone. */
  getHere(key: string): HeldValue | undefined | Promise<HeldValue | undefined> {
    return this.#fromMemory(key) ?? this.#last(this.#behindMemory(key));
  }

  #fromMemory(key: string): HeldValue | undefined {
    const isTimed = this.#ramHits % timedEvery === 0;
    const startedMs = isTimed ? this.#monotonicMs() : 0;
    const value = this.ram.get(key, this.#nowMs());
    if (value !== undefined) {
      this.#ramHits += 1;
      const held = this.#held(value);
      if (isTimed) this.times.ram.observe(this.#monotonicMs() - startedMs, timedEvery);
      return held;
    }
    this.#ramMisses += 1;
    return undefined;
  }

  /** Undefined: the disk has none. */
  #behindMemory(key: string): Promise<HeldValue | undefined> | undefined {
    if (this.ssd?.find(key) !== undefined) return this.#fromDisk(key);
    this.#ssdMisses += this.ssd === undefined ? 0 : 1;
    return undefined;
  }

  /** Nobody else is asked. */
  #last(found: Promise<HeldValue | undefined> | undefined): Promise<HeldValue | undefined> | undefined {
    const counted = (held: HeldValue | undefined): HeldValue | undefined => {
      this.#misses += held === undefined ? 1 : 0;
      return held;
    };
    if (found !== undefined) return found.then(counted);
    this.#misses += 1;
    return undefined;
  }

  /** What is in memory, without it being asked for. */
  hold(key: string): HeldValue | undefined {
    const value = this.ram.peek(key, this.#nowMs());
    return value && this.#held(value);
  }

  /** Here, or said to be at a peer. */
  exists(key: string): boolean | Promise<boolean> {
    if (this.has(key)) return true;
    return this.peers === undefined || this.peers.isOutOf(key) ? false : this.peers.has(key);
  }

  /** On this host. */
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
    const startedMs = this.#monotonicMs();
    const value = this.ram.reserve(key, length);
    if (value === undefined) {
      this.#refusals += 1;
      return undefined;
    }
    return {
      bytes: this.ram.bytesOf(value),
      pages: this.ram.pagesOf(value),
      commit: ({ expiresAtMs, isPinned = false, isFetched = false } = {}) => {
        value.expiresAtMs = expiresAtMs ?? (this.#ttlMs && this.#nowMs() + this.#ttlMs);
        this.#publish(value);
        if (isPinned) this.#pin(value, true);
        this.#writeBehind(value);
        this.onChanged?.(key);
        if (isFetched) return;
        this.#puts += 1;
        this.times.put.observe(this.#monotonicMs() - startedMs);
      },
      abort: () => this.ram.abandon(value),
    };
  }

  /** As `reserve`, of what somebody sends: of all of these together not much may be under way, and none too slowly. */
  receive(key: string, length: number, sender: Sender): NewValue | undefined {
    if (!this.incoming.hasRoomFor(length)) {
      this.#refusals += 1;
      return undefined;
    }
    const value = this.reserve(key, length);
    return value && this.incoming.watched(value, sender);
  }

  delete(key: string): boolean {
    const isKnown = this.has(key);
    this.ram.delete(key);
    this.ssd?.delete(key);
    this.onChanged?.(key);
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

  /** Undefined: there is no such key. */
  factsOf(key: string): ValueFacts | undefined {
    const value = this.ram.peek(key, this.#nowMs());
    if (value !== undefined) {
      const { length, isPinned, expiresAtMs } = value;
      return { tier: 'ram', bytes: length, isPinned, expiresAtMs };
    }
    const place = this.ssd?.find(key);
    if (place === undefined) return undefined;
    return { tier: 'ssd', bytes: place.length, isPinned: false, expiresAtMs: place.expiresAtMs };
  }

  /**
   * A pinned value stays in memory whatever needs room, until it is deleted, replaced or its time is over. False where
   * it is not so after: there is no such value, or as much is pinned as may be.
   */
  async pin(key: string, isPinned: boolean): Promise<boolean> {
    const held = await this.getHere(key);
    if (held === undefined) return false;
    const value = this.ram.peek(key, this.#nowMs());
    const isDone = value !== undefined && this.#pin(value, isPinned);
    held.release();
    return isDone;
  }

  #pin(value: RamValue, isPinned: boolean): boolean {
    const { pinnedBytes, bytesMax } = this.ram.counts;
    if (isPinned && !value.isPinned && pinnedBytes + value.bytes > bytesMax * pinnedShare) return false;
    this.ram.pin(value, isPinned);
    return true;
  }

  /** Keys behind a namespace and its colon, those too that nobody asked for since their time was over. */
  sizeOf(prefix: string): number {
    return this.#sizes.of(prefix);
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

  async #fromPeers(
    key: string,
    peers: ValueSource,
    here: Promise<HeldValue | undefined> | undefined,
  ): Promise<HeldValue | undefined> {
    const onDisk = await here;
    if (onDisk !== undefined) return onDisk;
    const fetched = await peers.fetch(key);
    if (fetched === undefined) this.#peerMisses += 1;
    else this.#peerHits += 1;
    return fetched;
  }

  async #fromDisk(key: string): Promise<HeldValue | undefined> {
    const startedMs = this.#monotonicMs();
    const reading = this.#reads.get(key) ?? this.#read(key).finally(() => this.#reads.delete(key));
    this.#reads.set(key, reading);
    const value = await reading;
    if (value === undefined) {
      this.#ssdMisses += 1;
      this.#ssdUnread += 1;
      this.onChanged?.(key);
      return undefined;
    }
    this.#ssdHits += 1;
    this.times.ssd.observe(this.#monotonicMs() - startedMs);
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
    this.#publish(value);
    return value;
  }

  #publish(value: RamValue): void {
    const { key } = value;
    if (!this.ram.has(key) && this.ssd?.has(key) !== true) this.#sizes.came(key);
    this.ram.publish(value);
  }

  #goneFromMemory(key: string): void {
    if (this.ssd?.has(key) !== true) this.#sizes.went(key);
    this.onChanged?.(key);
  }

  #held(value: RamValue): HeldValue {
    this.ram.hold(value);
    const release = (): void => this.ram.release(value);
    const pages = this.ram.pagesOf(value);
    const offset = this.ram.offsetOf(value);
    return { bytes: valueIn(pages, value.length), pages, arena: value.arena, offset, value, release };
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
    this.onChanged?.(key);
    const value = isAsked ? this.ram.peek(key, this.#nowMs()) : undefined;
    if (value !== undefined) this.#writeBehind(value);
  }
}
