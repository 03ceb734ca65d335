/**
 * Where on the disk each value is: by key, and by segment, since a segment goes as a whole. Built from headers in any
 * order: of a key the record with the highest number counts. Pure.
 */

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

export class SegmentIndex {
  readonly #places = new Map<string, Place>();
  readonly #keys = new Map<number, Set<string>>();
  readonly #onPlace: (key: string, isHere: boolean) => void;
  #bytes = 0;

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

  keys(): IterableIterator<string> {
    return this.#places.keys();
  }

  get(key: string): Place | undefined {
    return this.#places.get(key);
  }

  clear(): void {
    for (const segment of [...this.#keys.keys()]) this.drop(segment);
  }

  /** False when a newer record of the key is known. */
  add(key: string, place: Place): boolean {
    const before = this.#places.get(key);
    if (before !== undefined && before.number > place.number) return false;
    this.remove(key);
    this.#places.set(key, place);
    this.#bytes += place.length;
    const keys = this.#keys.get(place.segment);
    if (keys === undefined) this.#keys.set(place.segment, new Set([key]));
    else keys.add(key);
    this.#onPlace(key, true);
    return true;
  }

  remove(key: string): boolean {
    const place = this.#places.get(key);
    if (place === undefined) return false;
    this.#places.delete(key);
    this.#keys.get(place.segment)?.delete(key);
    this.#bytes -= place.length;
    this.#onPlace(key, false);
    return true;
  }

  /** Forgets all that lies in it. */
  drop(segment: number): readonly Dropped[] {
    const dropped: Dropped[] = [];
    for (const key of this.#keys.get(segment) ?? []) {
      dropped.push({ key, isAsked: this.#places.get(key)?.isAsked ?? false });
    }
    for (const { key } of dropped) this.remove(key);
    this.#keys.delete(segment);
    return dropped;
  }
}
