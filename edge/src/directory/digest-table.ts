/**
 * Open addressing for 64-bit digests over one `Uint32Array` that never grows: what the prefix map and the predictions
 * are made of. Knows where an entry stands, never what its payload means; an entry is one whose payload is not zero.
 *
 *   words:   [ key | digest hi, stamp | payload 0 | payload 1 | payload 2 | payload 3 ]  one slot, 24 bytes
 *   slots:   |empty|<- reach ->|<------------------- homes ------------------->|
 *                         ^ an entry stands at its home or below it, `reach` slots at most
 *
 * Slots are ordered by key, so a search walks down from the home slot and ends at the first smaller key; an empty
 * slot has key 0 and ends it too. That makes a miss as cheap as a hit (3 probes at 85 % load instead of 23) and lets
 * any number of slots be used, not only powers of two. Inserting moves the entries between the place and the next
 * empty slot down by one, removing moves displaced entries up by one: there are no tombstones.
 *
 * `key` is the digest's low word times a secret odd number, which loses nothing and keeps a peer that chooses digests
 * from filling one neighbourhood. If it does all the same, `reach` bounds every search and the insert is refused.
 * Digests are told apart by 60 bits: the top 4 bits of a slot's second word are a stamp that belongs to the owner.
 */

export const slotWords = 6;
export const slotBytes = slotWords * 4;
/** The stamp's place in a slot's second word; what the digest had there is no part of its identity. */
export const stampShift = 28;
export const digestHiMask = 2 ** stampShift - 1;

/** Entries in each hundred slots. Beyond it runs grow fast: at 85 an insert moves 20 slots, at 95 it moves 200. */
const loadPercentMax = 85;
/** An entry stands this near its home. With digests that are hashes, one in 10^18 would have to stand farther. */
const reachSlotsMax = 128;
/** An insert moves this many slots at most, 24 KiB; a longer run does not come about by chance. */
const movedSlotsMax = 1024;

export interface DigestTableOptions {
  /** All the memory it ever takes. */
  readonly bytesMax: number;
  /** Any 32-bit number that peers do not know. */
  readonly secret: number;
  /** How far an entry may stand from its home: more where one digest has many entries. */
  readonly reachSlots?: number;
}

export class DigestTable {
  /** Slot after slot. Owners write payloads and stamps; keys and places are the table's. */
  readonly words: Uint32Array;
  readonly slots: number;
  /** The owner inserts no more than this. */
  readonly entriesMax: number;
  readonly #reachWords: number;
  /** The first slot stays empty and `reach` slots are no home. */
  readonly #lowestHomeWord: number;
  readonly #homesPerKey: number;
  readonly #factor: number;
  #entries = 0;

  /** Throws a RangeError when the budget holds no useful table, or one beyond what an array may hold. */
  constructor({ bytesMax, secret, reachSlots = reachSlotsMax }: DigestTableOptions) {
    this.slots = Math.floor(bytesMax / slotBytes);
    const reach = Math.min(reachSlots, this.slots >>> 1);
    const homes = this.slots - reach - 1;
    if (homes < 4 || this.slots > 2 ** 27) throw new RangeError(`a table of ${bytesMax} bytes`);
    this.words = new Uint32Array(this.slots * slotWords);
    this.entriesMax = Math.floor((homes * loadPercentMax) / 100);
    this.#reachWords = reach * slotWords;
    this.#lowestHomeWord = (reach + 1) * slotWords;
    this.#homesPerKey = homes / 2 ** 32;
    this.#factor = secret | 1;
  }

  get entries(): number {
    return this.#entries;
  }

  get bytes(): number {
    return this.words.byteLength;
  }

  /** Where the digest's first entry starts in `words`; -1 when there is none. */
  find(lo: number, hi: number): number {
    const { words } = this;
    const key = Math.imul(lo, this.#factor) >>> 0;
    let at = this.#home(key);
    while ((words[at] ?? 0) > key) at -= slotWords;
    return this.#match(at, key, hi);
  }

  /** The same digest's next entry after the one at `at`; -1 when there is none. For owners that keep several. */
  findNext(at: number, hi: number): number {
    return this.#match(at - slotWords, this.words[at] ?? 0, hi);
  }

  /**
   * Makes an entry and returns where it starts in `words`, with stamp and payload zero: the owner writes a payload at
   * once. Returns -1 when the neighbourhood is full. Entries between the place and the
   * next empty slot have moved down by one slot.
   */
  insert(lo: number, hi: number): number {
    const { words } = this;
    const key = Math.imul(lo, this.#factor) >>> 0;
    const home = this.#home(key);
    let at = home;
    while ((words[at] ?? 0) > key) at -= slotWords;
    if (home - at > this.#reachWords) return -1;
    const gap = this.#emptyFrom(at);
    if (gap < 0) return -1;
    for (let word = gap; word < at; word += 1) words[word] = words[word + slotWords] ?? 0;
    words[at] = key;
    words[at + 1] = hi & digestHiMask;
    for (let word = at + 2; word < at + slotWords; word += 1) words[word] = 0;
    this.#entries += 1;
    return at;
  }

  /**
   * Removes the entry at `at`. Displaced entries below it have moved up by one slot; returns the start of the slot
   * that became empty, so that they are those that stood from there to `at`.
   */
  removeAt(at: number): number {
    const { words } = this;
    let gap = at;
    for (;;) {
      const below = gap - slotWords;
      if (this.isEmpty(below) || this.#home(words[below] ?? 0) === below) break;
      gap = below;
    }
    if (gap < at) words.copyWithin(gap + slotWords, gap, at);
    words.fill(0, gap, gap + slotWords);
    this.#entries -= 1;
    return gap;
  }

  isEmpty(at: number): boolean {
    const { words } = this;
    const low = (words[at + 2] ?? 0) | (words[at + 3] ?? 0);
    return (low | (words[at + 4] ?? 0) | (words[at + 5] ?? 0)) === 0;
  }

  #home(key: number): number {
    return this.#lowestHomeWord + ((key * this.#homesPerKey) | 0) * slotWords;
  }

  /** From `from` down through entries of one key: the first with this high word. */
  #match(from: number, key: number, hi: number): number {
    const { words } = this;
    for (let at = from; (words[at] ?? -1) === key; at -= slotWords) {
      if ((((words[at + 1] ?? 0) ^ hi) & digestHiMask) === 0) return this.isEmpty(at) ? -1 : at;
      if (key === 0 && this.isEmpty(at)) return -1;
    }
    return -1;
  }

  /** The first empty slot from `at` down; -1 when it is far, or when an entry on the way may not move farther. */
  #emptyFrom(at: number): number {
    const { words } = this;
    const lowest = Math.max(slotWords, at - movedSlotsMax * slotWords);
    for (let gap = at; gap >= lowest; gap -= slotWords) {
      if (this.isEmpty(gap)) return gap;
      if (this.#home(words[gap] ?? 0) - gap >= this.#reachWords) return -1;
    }
    return -1;
  }
}
