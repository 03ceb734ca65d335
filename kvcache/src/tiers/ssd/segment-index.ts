/**
 * Where on the disk each value is: by key, and by segment, since a segment goes as a whole. Built from headers in any
 * order: of a key the record with the highest number counts. Pure.
 */
import { diskEntryBytes } from '../entry-cost.ts';

export interface Place {
  readonly segment: number;
  /** Of the value, behind its header. */
  readonly offset: number;
  readonly length: number;
  readonly checksum: number;
  readonly number: number;
  expiresAtMs: number | undefined;
  /** It was read since it came here. */
  isAsked: boolean;
}

export interface Dropped {
  readonly key: string;
  readonly isAsked: boolean;
}

interface Listed {
  readonly keys: Set<string>;
  entryBytes: number;
}

export class SegmentIndex {
  readonly #places = new Map<string, Place>();
  readonly #segments = new Map<number, Listed>();
  readonly #onPlace: (key: string, isHere: boolean) => void;
  #bytes = 0;
  #entryBytes = 0;

  /** A key that gets another place loses the one it had first. */
  constructor(onPlace: (key: string, isHere: boolean) => void = () => {}) {
    this.#onPlace = onPlace;
  }

  get size(): number {
    return this.#places.size;
  }

  /** Of values, without headers. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Of heap, for keys and what is known of them. */
  get entryBytes(): number {
    return this.#entryBytes;
  }

  entryBytesIn(segment: number): number {
    return this.#segments.get(segment)?.entryBytes ?? 0;
  }

  keys(): IterableIterator<string> {
    return this.#places.keys();
  }

  get(key: string): Place | undefined {
    return this.#places.get(key);
  }

  clear(): void {
    for (const segment of [...this.#segments.keys()]) this.drop(segment);
  }

  /** False when a newer record of the key is known. */
  add(key: string, place: Place): boolean {
    const before = this.#places.get(key);
    if (before !== undefined && before.number > place.number) return false;
    this.remove(key);
    this.#places.set(key, place);
    this.#bytes += place.length;
    const listed = this.#segments.get(place.segment) ?? { keys: new Set(), entryBytes: 0 };
    this.#segments.set(place.segment, listed);
    listed.keys.add(key);
    listed.entryBytes += diskEntryBytes(key);
    this.#entryBytes += diskEntryBytes(key);
    this.#onPlace(key, true);
    return true;
  }

  remove(key: string): boolean {
    const place = this.#places.get(key);
    if (place === undefined) return false;
    this.#places.delete(key);
    this.#bytes -= place.length;
    this.#entryBytes -= diskEntryBytes(key);
    const listed = this.#segments.get(place.segment);
    if (listed?.keys.delete(key) === true) listed.entryBytes -= diskEntryBytes(key);
    this.#onPlace(key, false);
    return true;
  }

  /** Forgets all that lies in it. */
  drop(segment: number): readonly Dropped[] {
    const dropped: Dropped[] = [];
    for (const key of this.#segments.get(segment)?.keys ?? []) {
      dropped.push({ key, isAsked: this.#places.get(key)?.isAsked ?? false });
    }
    for (const { key } of dropped) this.remove(key);
    this.#segments.delete(segment);
    return dropped;
  }
}
