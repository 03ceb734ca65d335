/**
 * Which runs of tokens an engine holds, by digests of our own: each block's tokens are hashed onto the chain of the
 * blocks before it, and the engine's name for it is only an alias for its removal. Pure. A block whose parent is not
 * known stands for nothing that could be told, so it is left out, and with it all that stand on it.
 *
 * An engine may hold a block several times: in two media, for two groups of layers, or twice where two prompts computed
 * it at once, and removes each by itself. So places are counted: a digest is held while one of them is on the device.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { blake3, digestChain } from '@cognitora/protocol/prefix/blake3';
import { type Digest, digestsOf } from '../kv-ledger.ts';
import { type BlockName, deviceMedium, type KvEvent, type Place } from './wire.ts';

/** Blocks of one engine that are followed: 4 million tokens in blocks of 16. */
export const tokenBlocksMax = 262_144;
/** Of one engine: a few media and groups. Blocks in further ones are not followed there. */
const placesMax = 255;
/** Times that one block is held. Of more nothing is known, and removals then say that it is gone. */
const timesMax = 16;
/** Larger blocks are not hashed in one call. */
const blockTokensMax = 256;
const tokenBytes = 4;

/** Against what was held before; nothing was, where all was cleared meanwhile. */
export interface BlockChanges {
  readonly isCleared: boolean;
  readonly held: readonly Digest[];
  readonly gone: readonly Digest[];
}

const root = blake3(utf8('cognitora token blocks'));

const bytesOf = (tokens: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(tokens.length * tokenBytes);
  const view = new DataView(bytes.buffer);
  for (const [at, token] of tokens.entries()) view.setUint32(at * tokenBytes, token, true);
  return bytes;
};

/** The digests of the full blocks of a run of tokens, from the prompt's first on. */
export const tokenChain = (tokens: readonly number[], blockTokens: number): BigUint64Array =>
  digestsOf(digestChain(root, bytesOf(tokens), blockTokens * tokenBytes, tokens.length).digests);

type Stored = KvEvent & { readonly type: 'stored' };

/** Whether digests were held before the events that are applied now. */
type Changed = Map<Digest, boolean>;

/** A block's number among those that are followed. */
type Slot = number;

const keyWords = 8;

/** What is known of each block, by its slot: columns, since a quarter of a million objects take a kilobyte each. */
class BlockTable {
  readonly #digests: BigUint64Array;
  /** The key of the blocks that stand on it. */
  readonly #keys: Uint32Array;
  /** Where it is held: the number of a place, 0 for none; further times apart, since as a rule there is one. */
  readonly #places: Uint8Array;
  readonly #morePlaces = new Map<Slot, number[]>();
  readonly #free: Slot[] = [];
  #used = 0;

  constructor(blocksMax: number) {
    this.#digests = new BigUint64Array(blocksMax);
    this.#keys = new Uint32Array(blocksMax * keyWords);
    this.#places = new Uint8Array(blocksMax);
  }

  /** Undefined: there is no room. */
  add(digest: Digest, key: Uint32Array): Slot | undefined {
    const slot = this.#free.pop() ?? this.#used;
    if (slot >= this.#digests.length) return undefined;
    if (slot === this.#used) this.#used += 1;
    this.#digests[slot] = digest;
    this.#keys.set(key, slot * keyWords);
    return slot;
  }

  free(slot: Slot): void {
    this.#places[slot] = 0;
    this.#morePlaces.delete(slot);
    this.#free.push(slot);
  }

  digest(slot: Slot): Digest {
    return this.#digests[slot] ?? 0n;
  }

  key(slot: Slot): Uint32Array {
    return this.#keys.subarray(slot * keyWords, (slot + 1) * keyWords);
  }

  places(slot: Slot): readonly number[] {
    const first = this.#places[slot] ?? 0;
    return first === 0 ? [] : [first, ...(this.#morePlaces.get(slot) ?? [])];
  }

  setPlaces(slot: Slot, [first = 0, ...more]: readonly number[]): void {
    this.#places[slot] = first;
    if (more.length > 0) this.#morePlaces.set(slot, more);
    else this.#morePlaces.delete(slot);
  }
}

export class TokenBlocks {
  readonly #blocksMax: number;
  readonly #slots = new Map<BlockName, Slot>();
  #table: BlockTable | undefined;
  /** How many times the device holds a digest. */
  readonly #held = new Map<Digest, number>();
  /** Places are numbered from 1 on. */
  readonly #places: Place[] = [];
  #blockTokens: number | undefined;

  constructor(blocksMax = tokenBlocksMax) {
    this.#blocksMax = blocksMax;
  }

  /** As the engine's events say; undefined until one has. */
  get blockTokens(): number | undefined {
    return this.#blockTokens;
  }

  holds(digest: Digest): boolean {
    return this.#held.has(digest);
  }

  clear(): void {
    this.#slots.clear();
    this.#table = undefined;
    this.#held.clear();
  }

  /** What the events change, in the end. */
  apply(events: readonly KvEvent[]): BlockChanges {
    let isCleared = false;
    const changed: Changed = new Map();
    for (const event of events) {
      if (event.type === 'cleared') {
        isCleared = true;
        changed.clear();
        this.clear();
      } else if (event.type === 'removed') {
        for (const name of event.names) this.#remove(name, event.place, changed);
      } else if (event.isPlain) this.#store(event, changed);
    }
    const list = [...changed];
    return {
      isCleared,
      held: list.flatMap(([digest, was]) => (!was && this.#held.has(digest) ? [digest] : [])),
      gone: list.flatMap(([digest, was]) => (was && !this.#held.has(digest) ? [digest] : [])),
    };
  }

  #store(event: Stored, changed: Changed): void {
    const { names, tokens, blockTokens, place } = event;
    if (this.#numberOf(place) === 0) return;
    if (place.medium === deviceMedium && tokens.length > 0) {
      if (blockTokens > blockTokensMax) return;
      // A last block that is not full is told by some engines; nothing stands on it, and no prompt is cut there.
      this.#blockTokens = Math.max(blockTokens, this.#blockTokens ?? 0);
      if (blockTokens < this.#blockTokens) return;
      this.#storeTokens(event, changed);
      return;
    }
    // Elsewhere blocks may be of another size under the names that they have on the device.
    if (tokens.length > 0 && blockTokens === this.#blockTokens) this.#storeTokens(event, changed);
    else for (const name of names) this.#hold(this.#slots.get(name), place, changed);
  }

  #storeTokens({ names, parent, tokens, blockTokens, place }: Stored, changed: Changed): void {
    this.#table ??= new BlockTable(this.#blocksMax);
    const standsOn = parent === undefined ? undefined : this.#slots.get(parent);
    let key = standsOn === undefined ? root : this.#table.key(standsOn);
    if (parent !== undefined && standsOn === undefined) return;
    for (const [at, name] of names.entries()) {
      const bytes = bytesOf(tokens.slice(at * blockTokens, (at + 1) * blockTokens));
      const chain = digestChain(key, bytes, bytes.length, 1);
      const [digest = 0n] = digestsOf(chain.digests);
      key = chain.key;
      const slot = this.#slotOf(name, digest, key, changed);
      if (slot === undefined) return;
      this.#hold(slot, place, changed);
    }
  }

  /** A name that is used again stands for what it names now. */
  #slotOf(name: BlockName, digest: Digest, key: Uint32Array, changed: Changed): Slot | undefined {
    const before = this.#slots.get(name);
    if (before !== undefined) {
      if (this.#table?.digest(before) === digest) return before;
      this.#forget(name, before, changed);
    }
    const slot = this.#table?.add(digest, key);
    if (slot !== undefined) this.#slots.set(name, slot);
    return slot;
  }

  #hold(slot: Slot | undefined, place: Place, changed: Changed): void {
    if (slot === undefined || this.#table === undefined) return;
    const places = this.#table.places(slot);
    const number = this.#numberOf(place);
    if (places.length >= timesMax) return;
    this.#table.setPlaces(slot, [...places, number]);
    if (place.medium === deviceMedium) this.#count(this.#table.digest(slot), 1, changed);
  }

  #remove(name: BlockName, { medium, group }: Place, changed: Changed): void {
    const slot = this.#slots.get(name);
    if (slot === undefined || this.#table === undefined) return;
    const places = this.#table.places(slot);
    // Who does not say of which group it is means any.
    const at = places.findIndex((number) => {
      const place = this.#places[number - 1];
      return place?.medium === medium && (group === undefined || place.group === group);
    });
    if (at < 0) return;
    if (medium === deviceMedium) this.#count(this.#table.digest(slot), -1, changed);
    if (places.length > 1) this.#table.setPlaces(slot, places.toSpliced(at, 1));
    else {
      this.#slots.delete(name);
      this.#table.free(slot);
    }
  }

  #forget(name: BlockName, slot: Slot, changed: Changed): void {
    const places = this.#table?.places(slot) ?? [];
    const onDevice = places.filter((number) => this.#places[number - 1]?.medium === deviceMedium).length;
    if (onDevice > 0) this.#count(this.#table?.digest(slot) ?? 0n, -onDevice, changed);
    this.#slots.delete(name);
    this.#table?.free(slot);
  }

  #count(digest: Digest, by: number, changed: Changed): void {
    const before = this.#held.get(digest) ?? 0;
    if (!changed.has(digest)) changed.set(digest, before > 0);
    if (before + by > 0) this.#held.set(digest, before + by);
    else this.#held.delete(digest);
  }

  /** 0: there are too many. */
  #numberOf({ medium, group }: Place): number {
    const at = this.#places.findIndex((place) => place.medium === medium && place.group === group);
    if (at >= 0) return at + 1;
    return this.#places.length >= placesMax ? 0 : this.#places.push({ medium, group });
  }
}
