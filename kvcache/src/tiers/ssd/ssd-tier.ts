/**
 * Values on a disk: written behind, in the order they came, by one writer; read by few readers at a time; gone with the
 * oldest segment. What cannot be read as it was written is a miss that is counted, never an answer. Owns what waits to
 * be written and its bound; who holds the bytes meanwhile is the caller's.
 */
import { messageOf } from '@cognitora/protocol/errors';
import { monotonicMs as systemMonotonicMs } from '../../clock.ts';
import { checksumOf } from '../checksum.ts';
import { chargedBytes, diskEntryBytes } from '../entry-cost.ts';
import { openArena } from '../ram/arena.ts';
import { valueIn } from '../ram/extents.ts';
import { headerBytes, readHeader, recordBytes, writeHeader } from './record.ts';
import { type Dropped, type Place, SegmentIndex } from './segment-index.ts';
import { Segments } from './segments.ts';

/** Of heap: 400,000 keys of 64 bytes, or 60,000 of the longest. A store that has more memory may let it have more. */
export const indexBytesMaxDefault = 128 * 2 ** 20;
/** Of the disk's budget and of the index': what goes at once. */
const segmentShare = 1 / 64;
/** More at a time gives no more bytes a second, but each takes longer (host-libraries measured 1 against 4). */
const readersMax = 2;
/** Who waits longer than so many others computes sooner. */
const readsWaitingMax = 256;
/** Records of one write: small values share it. */
const batchRecordsMax = 64;
const batchBytesMax = 8 * 2 ** 20;
/** After an error of the disk. */
const restMs = 5_000;
/** Kept over such an error: more keys than fit into any dirty budget of values worth keeping. */
const deletionsMax = 65_536;

/** A value that waits to be written; its pages stay as they are until `onDone`. */
export interface Pending {
  readonly key: string;
  /** Whole pages, the value where it stands in memory too (`valueAt`). */
  readonly pages: Buffer;
  readonly length: number;
  readonly expiresAtMs: number | undefined;
  /** Asked when its turn comes: one that was replaced meanwhile is not written. */
  readonly isWanted: () => boolean;
  readonly onDone: (isWritten: boolean) => void;
}

export interface SsdTierOptions {
  readonly directory: string;
  readonly bytesMax: number;
  /** Of values that wait to be written, as memory charges them. */
  readonly dirtyBytesMax: number;
  /** Of heap, for what is known of each value. */
  readonly indexBytesMax?: number;
  /** Wall clock, of values' ends alone. */
  readonly nowMs: () => number;
  readonly monotonicMs?: () => number;
  /** Of each batch that was written. */
  readonly times?: { observe(ms: number): void };
  /** A key has a place here from now on, or none any more. */
  readonly onPlace?: ((key: string, isHere: boolean) => void) | undefined;
  /** A key's value went with its segment. */
  readonly onGone?: (key: string, isAsked: boolean) => void;
  readonly onError?: (message: string) => void;
}

export type ReadOutcome = 'read' | 'missing' | 'corrupt' | 'busy';

export interface SsdCounts {
  readonly directory: string;
  readonly values: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly dirtyBytes: number;
  readonly dirtyBytesMax: number;
  readonly written: number;
  /** Not taken for writing: too large, or too much waits already. */
  readonly skipped: number;
  readonly corrupt: number;
  readonly evictions: number;
  readonly errors: number;
}

/** What follows a value under its key: it is gone, or ends at another time. */
interface Deletion {
  readonly kind: 'deleted';
  readonly key: string;
}

interface Expiry {
  readonly kind: 'expires';
  readonly key: string;
  expiresAtMs: number | undefined;
}

type Queued = Pending | Deletion | Expiry;

/** Of the largest value, and more. */
const recordBytesMax = 65 * 2 ** 20;

/** A sixty-fourth of the budget goes at once, but the largest value has a segment to go into where that can be. */
const segmentBytesOf = (bytesMax: number): number => {
  const bytes = Math.max(bytesMax * segmentShare, Math.min(recordBytesMax, bytesMax / 4));
  return Math.max(2 * headerBytes, Math.floor(bytes / headerBytes) * headerBytes);
};

/** What its header says of a record, before it has a place. */
const placeOf = async (one: Queued) => {
  const expiresAtMs = 'expiresAtMs' in one ? one.expiresAtMs : undefined;
  if (!('pages' in one)) return { length: 0, checksum: 0, expiresAtMs, isAsked: false };
  const { pages, length } = one;
  return { length, checksum: await checksumOf(valueIn(pages, length)), expiresAtMs, isAsked: false };
};

export class SsdTier {
  readonly #options: SsdTierOptions;
  readonly #monotonicMs: () => number;
  readonly #segments: Segments;
  readonly #segmentBytes: number;
  readonly #index: SegmentIndex;
  readonly #indexBytesMax: number;
  readonly #queue: Queued[] = [];
  /** Of the queue, by key: a time that changes again before it is written is one record. */
  readonly #expiries = new Map<string, Expiry>();
  /** Records of a key that wait or are being written. */
  readonly #queued = new Map<string, number>();
  /** Of these, keys whose last record is a deletion: one more would say the same. */
  readonly #deletions = new Set<string>();
  readonly #headers = openArena(batchRecordsMax * headerBytes).bytes;
  readonly #readsWaiting: (() => void)[] = [];
  #readers = 0;
  #number = 0;
  #dirtyBytes = 0;
  #written = 0;
  #skipped = 0;
  #corrupt = 0;
  #evictions = 0;
  #errors = 0;
  #writing: Promise<void> | undefined;
  /** Keys whose older records stand on the disk because it failed when they were to be followed. */
  readonly #deletionsLeft = new Set<string>();
  #taken = 0;
  #settled = 0;
  #restsUntilMs = -Infinity;
  #isClosed = false;

  private constructor(options: SsdTierOptions, segments: Segments, segmentBytes: number) {
    this.#options = options;
    this.#monotonicMs = options.monotonicMs ?? systemMonotonicMs;
    this.#segments = segments;
    this.#indexBytesMax = options.indexBytesMax ?? indexBytesMaxDefault;
    this.#index = new SegmentIndex(options.onPlace);
    this.#segmentBytes = segmentBytes;
  }

  /** With all values that an earlier run left whole. */
  static async open(options: SsdTierOptions): Promise<SsdTier> {
    const { directory, bytesMax } = options;
    const segmentBytes = segmentBytesOf(bytesMax);
    const segments = await Segments.open({ directory, bytesMax, segmentBytes });
    const tier = new SsdTier(options, segments, segmentBytes);
    for (const segment of segments.numbers) {
      await tier.#recover(segment);
      // Left by one that had more: nobody knows of these values yet.
      await tier.#dropUntilIndexed(0, () => {});
    }
    return tier;
  }

  get counts(): SsdCounts {
    return {
      directory: this.#options.directory,
      values: this.#index.size,
      bytes: this.#segments.bytes,
      bytesMax: this.#options.bytesMax,
      dirtyBytes: this.#dirtyBytes,
      dirtyBytesMax: this.#options.dirtyBytesMax,
      written: this.#written,
      skipped: this.#skipped,
      corrupt: this.#corrupt,
      evictions: this.#evictions,
      errors: this.#errors,
    };
  }

  keys(): IterableIterator<string> {
    return this.#index.keys();
  }

  /** Whether it has a place, over or not. */
  has(key: string): boolean {
    return this.#index.get(key) !== undefined;
  }

  /** Where it is; undefined for nothing, or nothing any more. */
  find(key: string): Place | undefined {
    const place = this.#index.get(key);
    if (place?.expiresAtMs === undefined || place.expiresAtMs > this.#options.nowMs()) return place;
    this.#index.remove(key);
    return undefined;
  }

  /** Reads a value into whole pages and checks it. */
  async read(key: string, place: Place, pages: Buffer): Promise<ReadOutcome> {
    if (this.#readsWaiting.length >= readsWaitingMax) return 'busy';
    await this.#readTurn();
    try {
      if (!(await this.#segments.read(place.segment, place.offset, pages))) return this.#damaged(key, place);
      if ((await checksumOf(valueIn(pages, place.length))) !== place.checksum)
        return this.#damaged(key, place);
      place.isAsked = true;
      return 'read';
    } catch (thrown) {
      this.#failed('read', thrown);
      return 'missing';
    } finally {
      // Whoever waits has this turn: one that comes between would be one too many.
      const next = this.#readsWaiting.shift();
      if (next === undefined) this.#readers -= 1;
      else next();
    }
  }

  /** Will be written. When it is not taken: false, nothing is called, and what is here of its key is deleted. */
  write(pending: Pending): boolean {
    const isTaken =
      !this.#isClosed &&
      recordBytes(pending.length) <= this.#segmentBytes &&
      this.#dirtyBytes + chargedBytes(pending.key, pending.pages.length) <= this.#options.dirtyBytesMax &&
      this.#monotonicMs() >= this.#restsUntilMs;
    if (!isTaken) {
      this.#skipped += 1;
      this.delete(pending.key);
      return false;
    }
    this.#dirtyBytes += chargedBytes(pending.key, pending.pages.length);
    this.#index.remove(pending.key);
    this.#enqueueDeletions();
    this.#enqueue(pending);
    return true;
  }

  /** A restart does not find it either, once what waits is written. */
  delete(key: string): boolean {
    const isHere = this.#index.remove(key);
    // One that is being written this moment is found by a restart.
    if (isHere || this.#queued.has(key)) this.#enqueueDeletion(key);
    return isHere;
  }

  /** A restart finds the new time, once what waits is written. False when the key's value is not here. */
  expire(key: string, expiresAtMs: number | undefined): boolean {
    const place = this.find(key);
    if (place === undefined) return false;
    place.expiresAtMs = expiresAtMs;
    const waiting = this.#expiries.get(key);
    if (waiting !== undefined) waiting.expiresAtMs = expiresAtMs;
    else {
      const expiry: Expiry = { kind: 'expires', key, expiresAtMs };
      this.#expiries.set(key, expiry);
      this.#enqueue(expiry);
    }
    return true;
  }

  /** All that waits now is where a loss of power leaves it, or was given up by an error. */
  async flush(): Promise<void> {
    for (const taken = this.#taken; this.#settled < taken; ) await this.#writing;
    await this.#segments.sync();
  }

  async close(): Promise<void> {
    await this.flush();
    this.#isClosed = true;
    await this.#segments.close();
  }

  /**
   * Records are numbered one by one. Where one cannot be read and others come behind it, nobody knows which key it was
   * of: all that is older might be an older value of that key, and is forgotten. A torn end has nothing behind it.
   */
  async #recover(segment: number): Promise<void> {
    const page = this.#headers.subarray(0, headerBytes);
    const size = this.#segments.sizeOf(segment);
    /** So far no record is found behind the last one: the next begins where that one, damaged, ends at the latest. */
    let searchedBytes = 0;
    for (let at = 0; at + headerBytes <= size; ) {
      const isRead = await this.#segments.read(segment, at, page);
      const header = isRead ? readHeader(page, segment) : undefined;
      if (header === undefined || (searchedBytes > 0 && header.number <= this.#number)) {
        searchedBytes += headerBytes;
        if (searchedBytes > recordBytesMax) return;
        at += headerBytes;
        continue;
      }
      searchedBytes = 0;
      if (this.#number > 0 && header.number > this.#number + 1) this.#forgetOlder(segment);
      this.#number = header.number;
      const { key, kind, number, length, checksum, expiresAtMs } = header;
      const offset = at + headerBytes;
      at += kind === 'value' ? recordBytes(length) : headerBytes;
      const place = this.#index.get(key);
      if (kind === 'expires') {
        if (place !== undefined) place.expiresAtMs = expiresAtMs;
      } else if (kind === 'deleted' || at > size) this.#index.remove(key);
      else this.#index.add(key, { segment, offset, length, checksum, number, expiresAtMs, isAsked: false });
    }
  }

  #forgetOlder(segment: number): void {
    this.#corrupt += 1;
    this.#index.clear();
    const { directory, onError } = this.#options;
    onError?.(`records of ${directory} are lost before or in segment ${segment}: what is older is forgotten`);
  }

  async #readTurn(): Promise<void> {
    if (this.#readers < readersMax) this.#readers += 1;
    else await new Promise<void>((resolve) => this.#readsWaiting.push(resolve));
  }

  #damaged(key: string, place: Place): ReadOutcome {
    // Replaced, or gone with its segment meanwhile: no damage.
    if (this.#index.get(key) !== place) return 'missing';
    this.#corrupt += 1;
    this.#index.remove(key);
    return 'corrupt';
  }

  #enqueueDeletions(): void {
    for (const key of this.#deletionsLeft) this.#enqueueDeletion(key);
    this.#deletionsLeft.clear();
  }

  #enqueueDeletion(key: string): void {
    if (this.#deletions.has(key)) return;
    this.#enqueue({ kind: 'deleted', key });
    this.#deletions.add(key);
  }

  #enqueue(one: Queued): void {
    this.#queue.push(one);
    this.#deletions.delete(one.key);
    this.#queued.set(one.key, (this.#queued.get(one.key) ?? 0) + 1);
    this.#taken += 1;
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    // So that who began this knows it by then.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#nextBatch();
      const number = this.#number;
      try {
        await this.#writeBatch(batch);
      } catch (thrown) {
        this.#number = number;
        this.#failed('write', thrown);
        // What waits would fail as well: it is let go, and new values are not taken for a while.
        for (const one of [...batch, ...this.#queue.splice(0)]) {
          this.#forget(one);
          if (this.#deletionsLeft.size < deletionsMax) this.#deletionsLeft.add(one.key);
          this.#done(one, false);
        }
        this.#restsUntilMs = this.#monotonicMs() + restMs;
      }
    }
    // In the same turn as the look at the queue: what comes from now on has a writer of its own.
    this.#writing = undefined;
  }

  /** Its time was not written: what a restart would find lasts too long, and is deleted like all that was let go. */
  #forget(one: Queued): void {
    if ('pages' in one || one.kind === 'deleted') return;
    this.#index.remove(one.key);
    this.#expiries.delete(one.key);
  }

  #nextBatch(): readonly Queued[] {
    const batch: Queued[] = [];
    let bytes = 0;
    let taken = 0;
    while (batch.length < batchRecordsMax) {
      const next = this.#queue[taken];
      if (next === undefined) break;
      const size = headerBytes + ('pages' in next ? next.pages.length : 0);
      if (batch.length > 0 && bytes + size > Math.min(batchBytesMax, this.#segmentBytes)) break;
      taken += 1;
      if (this.#expiries.get(next.key) === next) this.#expiries.delete(next.key);
      if ('pages' in next && !next.isWanted()) {
        this.#done(next, false);
        continue;
      }
      bytes += size;
      batch.push(next);
    }
    // All at once: each time, what is left of a long queue is moved.
    this.#queue.splice(0, taken);
    return batch;
  }

  async #writeBatch(batch: readonly Queued[]): Promise<void> {
    if (batch.length === 0) return;
    const bytes = batch.reduce((sum, one) => sum + headerBytes + ('pages' in one ? one.pages.length : 0), 0);
    const entryBytes = batch.reduce((sum, one) => sum + ('pages' in one ? diskEntryBytes(one.key) : 0), 0);
    const segment = await this.#roomFor(bytes, entryBytes);
    const pages: Buffer[] = [];
    const places: (Place | undefined)[] = [];
    let at = 0;
    for (const [index, one] of batch.entries()) {
      const page = this.#headers.subarray(index * headerBytes, (index + 1) * headerBytes);
      this.#number += 1;
      const place = { ...(await placeOf(one)), segment, number: this.#number, offset: at + headerBytes };
      const { key } = one;
      const { offset, isAsked, ...known } = place;
      writeHeader(page, { kind: 'pages' in one ? 'value' : one.kind, key, ...known });
      const body = 'pages' in one ? [one.pages] : [];
      pages.push(page, ...body);
      at = offset + (body[0]?.length ?? 0);
      places.push(body.length > 0 ? place : undefined);
    }
    const startedMs = this.#monotonicMs();
    const { offset } = await this.#segments.append(pages);
    this.#options.times?.observe(this.#monotonicMs() - startedMs);
    for (const [index, one] of batch.entries()) {
      const place = places[index];
      this.#done(one, true, place && { ...place, offset: offset + place.offset });
    }
  }

  /** The number of the segment that so many bytes will be appended to, of which the index will tell so much more. */
  async #roomFor(bytes: number, entryBytes: number): Promise<number> {
    const last = this.#segments.numbers.at(-1);
    const listed = last === undefined ? 0 : this.#index.entryBytesIn(last);
    const share = this.#indexBytesMax * segmentShare;
    const isCrowded = listed > 0 && listed + entryBytes > share;
    if (last !== undefined && !isCrowded && !this.#segments.isFullFor(bytes)) return last;
    for (let left = this.#segments.excess; left > 0; left -= 1) await this.#dropOldest(this.#tellGone);
    await this.#dropUntilIndexed(Math.max(share, entryBytes), this.#tellGone);
    return this.#segments.begin();
  }

  readonly #tellGone = ({ key, isAsked }: Dropped): void => this.#options.onGone?.(key, isAsked);

  /** The oldest go until the index has room for so much more. */
  async #dropUntilIndexed(entryBytes: number, onGone: (gone: Dropped) => void): Promise<void> {
    while (this.#index.entryBytes + entryBytes > this.#indexBytesMax && this.#segments.numbers.length > 0)
      await this.#dropOldest(onGone);
  }

  async #dropOldest(onGone: (gone: Dropped) => void): Promise<void> {
    let dropped: readonly Dropped[] = [];
    await this.#segments.dropOldest((segment) => {
      dropped = this.#index.drop(segment);
    });
    this.#evictions += dropped.length;
    for (const gone of dropped) onGone(gone);
  }

  #done(one: Queued, isWritten: boolean, place?: Place): void {
    this.#settled += 1;
    const queued = (this.#queued.get(one.key) ?? 1) - 1;
    if (queued > 0) this.#queued.set(one.key, queued);
    else {
      this.#queued.delete(one.key);
      this.#deletions.delete(one.key);
    }
    if (!('pages' in one)) return;
    // One that was replaced or deleted meanwhile has a record behind it that says so.
    if (place !== undefined && queued === 0 && one.isWanted()) this.#index.add(one.key, place);
    this.#written += isWritten ? 1 : 0;
    this.#dirtyBytes -= chargedBytes(one.key, one.pages.length);
    one.onDone(isWritten);
  }

  #failed(what: 'read' | 'write', thrown: unknown): void {
    this.#errors += 1;
    const message = messageOf(thrown);
    this.#options.onError?.(`${what} of ${this.#options.directory}: ${message}`);
  }
}
