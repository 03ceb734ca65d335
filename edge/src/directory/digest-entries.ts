/**
 * Entries by digest in a fixed memory, each of which stays where it was put: what the prefix map is made of. Entries
 * lie in the order in which they came, so the blocks of a prompt, which come in order, mostly lie in a row: the entry
 * of the next block is tried before it is searched for, and a match reads memory from front to back. A small index
 * finds the others. Knows nothing of what a payload means; an entry is one whose payload is not zero.
 *
 *   words:   [ digest lo | digest hi, mark | payload 0 | payload 1 | payload 2 | payload 3 ]      one entry, 24 bytes
 *   index:   [ distance 5 bits | tag | entry's number + 1 ]       one place, 4 bytes; three quarters of them are used
 *
 * The index is an open-addressing table ordered by home (Robin Hood): a place's distance from its home is in the word,
 * so a search ends where the distances get too small, and inserting or removing moves words by one place without
 * looking at any entry. Places need not be a power of two. A distance beyond 31 does not come about by chance; the
 * insert is refused. The home comes from the digest's low word times a secret odd number, so that a peer that chooses
 * digests can't fill one neighbourhood.
 *
 * Digests are told apart by 63 bits: the top bit of an entry's second word is a mark that belongs to the owner. Entries
 * that were removed are filled again, the one that has been empty longest first.
 */

export const entryWords = 6;
export const entryBytes = entryWords * 4;
/** The mark's bit in an entry's second word; never part of a digest's identity. */
export const markBit = 0x8000_0000;
const digestHiMask = 0x7fff_ffff;

/** Of 4 places in the index 3 are used: fuller, distances grow. */
const placesPerEntry = 4 / 3;
const placeBytes = 4;
const distanceShift = 27;
const oneDistance = 1 << distanceShift;
const distanceMax = 31;

export interface DigestEntriesOptions {
  /** All the memory it ever takes. */
  readonly bytesMax: number;
  /** Any 32-bit number that peers do not know. */
  readonly secret: number;
}

export class DigestEntries {
  /** Entry after entry, and one that stays empty. Owners write payloads and marks; the digests are not theirs. */
  readonly words: Uint32Array;
  readonly entriesMax: number;
  readonly #index: Uint32Array;
  readonly #placesPerKey: number;
  readonly #factor: number;
  /** An index word without distance and tag: the entry's number + 1. */
  readonly #numberMask: number;
  /** The tag's bits of a key, and their place in an index word. */
  readonly #tagMask: number;
  readonly #tagShift: number;
  #entries = 0;
  #usedWords = 0;
  /** Removed entries, linked through their first words as number + 1; 0 ends. */
  #firstFree = 0;
  #lastFree = 0;

  /** Throws a RangeError when the budget holds no entry, or more than an index word can name. */
  constructor({ bytesMax, secret }: DigestEntriesOptions) {
    const fixedBytes = entryBytes + (distanceMax + 2) * placeBytes;
    this.entriesMax = Math.floor((bytesMax - fixedBytes) / (entryBytes + placesPerEntry * placeBytes));
    if (this.entriesMax < 1 || this.entriesMax >= 2 ** 26)
      throw new RangeError(`entries in ${bytesMax} bytes`);
    const places = Math.ceil(this.entriesMax * placesPerEntry);
    this.words = new Uint32Array((this.entriesMax + 1) * entryWords);
    this.#index = new Uint32Array(places + distanceMax + 1);
    this.#placesPerKey = places / 2 ** 32;
    this.#factor = secret | 1;
    this.#tagShift = 32 - Math.clz32(this.entriesMax);
    this.#numberMask = 2 ** this.#tagShift - 1;
    this.#tagMask = 2 ** (distanceShift - this.#tagShift) - 1;
  }

  get entries(): number {
    return this.#entries;
  }

  get bytes(): number {
    return this.words.byteLength + this.#index.byteLength;
  }

  /** Entries lie below this place in `words`; some of them may be empty. */
  get usedWords(): number {
    return this.#usedWords;
  }

  isEmpty(at: number): boolean {
    const { words } = this;
    const low = (words[at + 2] ?? 0) | (words[at + 3] ?? 0);
    return (low | (words[at + 4] ?? 0) | (words[at + 5] ?? 0)) === 0;
  }

  /** Whether the entry at `at` is this digest's: for who has a guess. */
  isAt(at: number, lo: number, hi: number): boolean {
    const { words } = this;
    return words[at] === lo && (((words[at + 1] ?? 0) ^ hi) & digestHiMask) === 0 && !this.isEmpty(at);
  }

  /** Where the digest's entry starts in `words`; -1 when there is none. Written for speed: all in locals. */
  find(lo: number, hi: number): number {
    const { words } = this;
    const index = this.#index;
    const numberMask = this.#numberMask;
    const key = Math.imul(lo, this.#factor) >>> 0;
    const tag = (key & this.#tagMask) << this.#tagShift;
    const home = (key * this.#placesPerKey) | 0;
    for (let distance = 0; distance <= distanceMax; distance += 1) {
      const word = index[home + distance] as number;
      if (word >>> distanceShift < distance || word === 0) return -1;
      if (((word ^ (tag | (distance << distanceShift))) & ~numberMask) !== 0) continue;
      const at = ((word & numberMask) - 1) * entryWords;
      if (words[at] === lo && (((words[at + 1] as number) ^ hi) & digestHiMask) === 0) return at;
    }
    return -1;
  }

  /**
   * Makes an entry and returns where it starts in `words`, with mark and payload zero: the owner writes a payload at
   * once. Returns -1 when all entries are taken, or the digest's neighbourhood in the index is.
   */
  insert(lo: number, hi: number): number {
    const index = this.#index;
    const key = Math.imul(lo, this.#factor) >>> 0;
    const home = this.#homeOf(lo);
    let distance = 0;
    while (distance <= this.#distanceAt(home + distance)) distance += 1;
    if (this.#entries === this.entriesMax || !this.#canMove(home + distance) || distance > distanceMax)
      return -1;
    const number = this.#takeNumber();
    let word = (distance << distanceShift) | ((key & this.#tagMask) << this.#tagShift) | number;
    for (let place = home + distance; word !== 0; place += 1) {
      const moved = index[place] ?? 0;
      index[place] = word;
      word = moved === 0 ? 0 : moved + oneDistance;
    }
    const at = (number - 1) * entryWords;
    this.words[at] = lo;
    this.words[at + 1] = hi & digestHiMask;
    this.#entries += 1;
    return at;
  }

  /** Removes the entry at `at`. All others stay where they are. */
  removeAt(at: number): void {
    const { words } = this;
    const index = this.#index;
    const number = at / entryWords + 1;
    let place = this.#homeOf(words[at] ?? 0);
    while (((index[place] ?? 0) & this.#numberMask) !== number) place += 1;
    for (; this.#distanceAt(place + 1) > 0; place += 1) index[place] = (index[place + 1] ?? 0) - oneDistance;
    index[place] = 0;
    words.fill(0, at, at + entryWords);
    if (this.#lastFree === 0) this.#firstFree = number;
    else words[(this.#lastFree - 1) * entryWords] = number;
    this.#lastFree = number;
    this.#entries -= 1;
  }

  #homeOf(lo: number): number {
    return ((Math.imul(lo, this.#factor) >>> 0) * this.#placesPerKey) | 0;
  }

  /** -1 at an empty place. */
  #distanceAt(place: number): number {
    const word = this.#index[place] ?? 0;
    return word === 0 ? -1 : word >>> distanceShift;
  }

  /** Whether every word from this place to the next empty one may move one place farther from its home. */
  #canMove(from: number): boolean {
    for (let place = from; ; place += 1) {
      const distance = this.#distanceAt(place);
      if (distance < 0) return true;
      if (distance === distanceMax) return false;
    }
  }

  #takeNumber(): number {
    const number = this.#firstFree;
    if (number === 0) {
      this.#usedWords += entryWords;
      return this.#usedWords / entryWords;
    }
    const at = (number - 1) * entryWords;
    this.#firstFree = this.words[at] ?? 0;
    if (this.#firstFree === 0) this.#lastFree = 0;
    return number;
  }
}
