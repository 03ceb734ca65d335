/**
 * Where in an arena a value lies: a two-level segregated fit (TLSF, Masmano et al. 2004) over pages of 4 KiB. Taking
 * and giving back cost the same few steps whatever the arena holds, an extent is contiguous, and free neighbours
 * become one. Pure: it knows numbers of pages, never a byte.
 *
 *   class of a free extent: (floor(log2 pages), the next four bits)      16 lists per power of two
 *   a bit per power that has any, 16 bits per power for its lists       two find-first-set steps to a fit
 */

/** Values begin on pages, so that a disk with O_DIRECT reads and writes them where they are. */
export const pageBytes = 4096;

/**
 * Where in its first page a value begins. Kernels copy by `rep movsb`, which on some processors (AMD Zen) takes twice
 * as long when the target stands up to 32 bytes further in its page than the source. So measured here: a reply's value
 * stood behind its `$1048576\r\n`, 10 bytes into a page of the socket, and one that is sent to us 40 and more.
 */
export const valueAt = 16;
/** Behind it. Both margins have room for what a protocol writes around a value, so that it is sent as one piece. */
export const behindBytes = 2;

const listsPerPower = 16;
const listBits = 4;
const powers = 31;
const none = -1;

/** Pages of a value of so many bytes. */
export const pagesOf = (length: number): number => Math.ceil((valueAt + length + behindBytes) / pageBytes);

/** The value in its pages. */
export const valueIn = (pages: Buffer, length: number): Buffer => pages.subarray(valueAt, valueAt + length);

const log2 = (pages: number): number => 31 - Math.clz32(pages);
const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits);

/** Number of the list that a free extent of so many pages stands in. */
const listOf = (pages: number): number => {
  const power = log2(pages);
  const within = power < listBits ? (pages << (listBits - power)) & 15 : (pages >>> (power - listBits)) & 15;
  return power * listsPerPower + within;
};

/** The smallest size whose list holds nothing but extents that are large enough. */
const roundedUp = (pages: number): number => {
  const power = log2(pages);
  return power < listBits ? pages : pages + (1 << (power - listBits)) - 1;
};

export class Extents {
  readonly pages: number;
  /** At the first page of an extent: its pages, negative while it is free. At its last page: its first. */
  readonly #lengths: Int32Array;
  readonly #firsts: Int32Array;
  /** At the first page of a free extent: its neighbours in the list. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #heads = new Int32Array(powers * listsPerPower).fill(none);
  readonly #lists = new Uint16Array(powers);
  #powers = 0;
  #pagesFree: number;

  constructor(pages: number) {
    this.pages = pages;
    this.#lengths = new Int32Array(pages);
    this.#firsts = new Int32Array(pages);
    this.#next = new Int32Array(pages);
    this.#previous = new Int32Array(pages);
    this.#pagesFree = pages;
    this.#putFree(0, pages);
  }

  get pagesFree(): number {
    return this.#pagesFree;
  }

  /** First page of an extent of exactly so many; undefined when none is large enough. */
  take(pages: number): number | undefined {
    const first = this.#fit(pages);
    if (first === none) return undefined;
    const length = -(this.#lengths[first] ?? 0);
    this.#unlink(first, length);
    this.#mark(first, pages);
    if (length > pages) this.#putFree(first + pages, length - pages);
    this.#pagesFree -= pages;
    return first;
  }

  /** Of an extent that was taken, by its first page. Throws on any other page: two values would share bytes. */
  giveBack(first: number): void {
    const pages = this.#lengths[first] ?? 0;
    if (pages <= 0 || this.#firsts[first + pages - 1] !== first)
      throw new Error(`page ${first} begins no extent`);
    this.#pagesFree += pages;
    let begin = first;
    let length = pages;
    const after = this.#lengths[first + pages] ?? 0;
    if (after < 0) {
      this.#unlink(first + pages, -after);
      length -= after;
    }
    const before = first === 0 ? none : (this.#firsts[first - 1] ?? none);
    const beforeLength = before === none ? 0 : (this.#lengths[before] ?? 0);
    this.#lengths[first] = 0;
    if (beforeLength < 0) {
      this.#unlink(before, -beforeLength);
      begin = before;
      length -= beforeLength;
    }
    this.#putFree(begin, length);
  }

  #fit(pages: number): number {
    if (pages > this.#pagesFree) return none;
    const list = listOf(roundedUp(pages));
    const power = list >>> listBits;
    const within = (this.#lists[power] ?? 0) & (-1 << (list & 15));
    if (within !== 0) return this.#heads[power * listsPerPower + lowestBit(within)] ?? none;
    const larger = power >= 30 ? 0 : this.#powers & (-1 << (power + 1));
    if (larger !== 0) {
      const next = lowestBit(larger);
      return this.#heads[next * listsPerPower + lowestBit(this.#lists[next] ?? 0)] ?? none;
    }
    // A last look where some may be large enough and others not: all of an arena can be one extent's.
    const tight = this.#heads[listOf(pages)] ?? none;
    return tight !== none && -(this.#lengths[tight] ?? 0) >= pages ? tight : none;
  }

  #mark(first: number, length: number): void {
    this.#lengths[first] = length;
    this.#firsts[first + Math.abs(length) - 1] = first;
  }

  #putFree(first: number, length: number): void {
    this.#mark(first, length);
    this.#lengths[first] = -length;
    const list = listOf(length);
    const head = this.#heads[list] ?? none;
    this.#next[first] = head;
    this.#previous[first] = none;
    if (head !== none) this.#previous[head] = first;
    this.#heads[list] = first;
    this.#lists[list >>> listBits] = (this.#lists[list >>> listBits] ?? 0) | (1 << (list & 15));
    this.#powers |= 1 << (list >>> listBits);
  }

  #unlink(first: number, length: number): void {
    const list = listOf(length);
    const next = this.#next[first] ?? none;
    const previous = this.#previous[first] ?? none;
    if (next !== none) this.#previous[next] = previous;
    if (previous !== none) this.#next[previous] = next;
    else this.#heads[list] = next;
    this.#lengths[first] = 0;
    if (this.#heads[list] !== none) return;
    const power = list >>> listBits;
    this.#lists[power] = (this.#lists[power] ?? 0) & ~(1 << (list & 15));
    if (this.#lists[power] === 0) this.#powers &= ~(1 << power);
  }
}
