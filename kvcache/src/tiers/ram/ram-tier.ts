/**
 * HOT. Values in memory: arenas of a fixed budget, extents in them, and who goes when there is no room. A value is
 * written where it will stay, is seen once it is whole, and never changes after. Who reads one holds it; a value that
 * is replaced, deleted or evicted meanwhile keeps its bytes until the last hold is gone. Knows no disk and no protocol.
 */
import { chargedBytes } from '../entry-cost.ts';
import { type Arena, openArena } from './arena.ts';
import { Extents, pageBytes, pagesOf, valueAt, valueIn } from './extents.ts';
import { type Queued, S3Fifo } from './s3-fifo.ts';

/** One that is larger would need address arithmetic beyond 32 bits in the arena's page numbers and in Buffers. */
const arenaBytesMax = 2 ** 30;

export interface RamValue extends Queued {
  /** Bytes of the value; `bytes` are what it is charged. */
  readonly length: number;
  readonly pages: number;
  readonly arena: number;
  readonly firstPage: number;
  /** Wall clock; undefined for never. */
  expiresAtMs: number | undefined;
  isPinned: boolean;
  holds: number;
  state: 'being written' | 'held' | 'gone';
}

export interface RamCounts {
  readonly values: number;
  /** Charged (`entry-cost.ts`), pinned ones too. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly pinnedBytes: number;
  readonly evictions: number;
}

export interface RamTierOptions {
  readonly bytesMax: number;
  /** A value left, by whatever way; not one that another with its key took the place of. */
  readonly onGone?: (value: RamValue) => void;
}

interface Room {
  readonly arena: Arena;
  readonly extents: Extents;
}

export class RamTier {
  readonly #rooms: readonly Room[];
  readonly #values = new Map<string, RamValue>();
  readonly #queue: S3Fifo<RamValue>;
  readonly #onGone: (value: RamValue) => void;
  readonly #bytesMax: number;
  #bytes = 0;
  #pinnedBytes = 0;
  #evictions = 0;

  constructor({ bytesMax, onGone = () => {} }: RamTierOptions) {
    const pages = Math.max(1, Math.floor(bytesMax / pageBytes));
    const rooms: Room[] = [];
    for (let left = pages; left > 0; left -= arenaBytesMax / pageBytes) {
      const here = Math.min(left, arenaBytesMax / pageBytes);
      rooms.push({ arena: openArena(here * pageBytes), extents: new Extents(here) });
    }
    this.#rooms = rooms;
    this.#bytesMax = pages * pageBytes;
    this.#queue = new S3Fifo(this.#bytesMax);
    this.#onGone = onGone;
  }

  get counts(): RamCounts {
    return {
      values: this.#values.size,
      bytes: this.#bytes,
      bytesMax: this.#bytesMax,
      pinnedBytes: this.#pinnedBytes,
      evictions: this.#evictions,
    };
  }

  /** Of each arena, where another program may map it. */
  get paths(): readonly (string | undefined)[] {
    return this.#rooms.map(({ arena }) => arena.path);
  }

  keys(): IterableIterator<string> {
    return this.#values.keys();
  }

  /** Whether there is one, over or not. */
  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The value, and it counts as asked for. An expired one is gone by that. */
  get(key: string, nowMs: number): RamValue | undefined {
    const value = this.peek(key, nowMs);
    if (value !== undefined) this.#queue.touch(value);
    return value;
  }

  /** The value without it being asked for. */
  peek(key: string, nowMs: number): RamValue | undefined {
    const value = this.#values.get(key);
    if (value?.expiresAtMs === undefined || value.expiresAtMs > nowMs) return value;
    this.#remove(value);
    return undefined;
  }

  /** The bytes, for who holds the value or writes it. */
  bytesOf(value: RamValue): Buffer {
    return valueIn(this.pagesOf(value), value.length);
  }

  /** Its whole pages, for a disk: before and behind the value is nothing of another one. */
  pagesOf({ arena, firstPage, pages }: RamValue): Buffer {
    const all = this.#rooms[arena]?.arena.bytes;
    if (all === undefined) throw new Error(`there is no arena ${arena}`);
    return all.subarray(firstPage * pageBytes, (firstPage + pages) * pageBytes);
  }

  /** In its arena, bytes. */
  offsetOf({ firstPage }: RamValue): number {
    return firstPage * pageBytes + valueAt;
  }

  hold(value: RamValue): void {
    value.holds += 1;
  }

  release(value: RamValue): void {
    value.holds -= 1;
    if (value.state === 'gone' && value.holds === 0) this.#free(value);
  }

  /**
   * Room for a value, which nobody sees before `publish`; held until that or `abandon`. Others are evicted for it.
   * Undefined when those that may go do not make the room.
   */
  reserve(key: string, length: number): RamValue | undefined {
    const pages = pagesOf(length);
    const bytes = chargedBytes(key, pages * pageBytes);
    let at = this.#take(pages, bytes);
    while (at === undefined) {
      const victim = this.#queue.evict(mayGo);
      if (victim === undefined) return undefined;
      this.#evictions += 1;
      this.#remove(victim);
      at = this.#take(pages, bytes);
    }
    this.#bytes += bytes;
    const plain = { expiresAtMs: undefined, isPinned: false, place: undefined, holds: 1 };
    const value: RamValue = {
      key,
      length,
      pages,
      bytes,
      ...at,
      ...plain,
      state: 'being written',
    };
    // Nothing of another value goes to a disk with this one.
    this.pagesOf(value)
      .fill(0, 0, valueAt)
      .fill(0, valueAt + length);
    return value;
  }

  /** It is whole: whoever asks for its key has it from now on, instead of the one before. */
  publish(value: RamValue): void {
    const before = this.#values.get(value.key);
    if (before !== undefined) this.#discard(before);
    value.state = 'held';
    this.#values.set(value.key, value);
    this.#queue.insert(value);
    this.release(value);
  }

  /** It will not be whole. */
  abandon(value: RamValue): void {
    value.state = 'gone';
    this.release(value);
  }

  delete(key: string): boolean {
    const value = this.#values.get(key);
    if (value !== undefined) this.#remove(value);
    return value !== undefined;
  }

  pin(value: RamValue, isPinned: boolean): void {
    if (value.isPinned === isPinned) return;
    value.isPinned = isPinned;
    this.#pinnedBytes += isPinned ? value.bytes : -value.bytes;
  }

  #take(pages: number, bytes: number): { arena: number; firstPage: number } | undefined {
    if (this.#bytes + bytes > this.#bytesMax) return undefined;
    for (const [arena, { extents }] of this.#rooms.entries()) {
      const firstPage = extents.take(pages);
      if (firstPage !== undefined) return { arena, firstPage };
    }
    return undefined;
  }

  #remove(value: RamValue): void {
    this.#discard(value);
    this.#onGone(value);
  }

  #discard(value: RamValue): void {
    this.pin(value, false);
    this.#queue.remove(value);
    this.#values.delete(value.key);
    value.state = 'gone';
    if (value.holds === 0) this.#free(value);
  }

  #free(value: RamValue): void {
    this.#rooms[value.arena]?.extents.giveBack(value.firstPage);
    this.#bytes -= value.bytes;
  }
}

/** What is read, by a client or for the disk, or pinned stays. */
const mayGo = ({ holds, isPinned }: RamValue): boolean => holds === 0 && !isPinned;
