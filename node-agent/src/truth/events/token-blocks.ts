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

/** Blocks of one engine that are followed: 4 million tokens in blocks of 16, some 60 MB here. */
export const tokenBlocksMax = 262_144;
/** Of one block: two media and a few groups. Of more nothing is known, and removals then say that it is gone. */
const placesMax = 16;
/** Larger blocks are not hashed in one call. */
const blockTokensMax = 256;
const tokenBytes = 4;

interface Block {
  readonly digest: Digest;
  /** The key of the blocks that stand on it. */
  readonly key: Uint32Array;
  /** One for each time that it is held. */
  readonly places: Place[];
}

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

export class TokenBlocks {
  readonly #blocksMax: number;
  readonly #blocks = new Map<BlockName, Block>();
  /** How many places on the device hold a digest. */
  readonly #held = new Map<Digest, number>();
  /** The same few, so that a block costs no place of its own. */
  readonly #places = new Map<string, Place>();
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
    this.#blocks.clear();
    this.#held.clear();
    this.#places.clear();
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
    const place = this.#placeOf(event.place);
    const { names, tokens, blockTokens } = event;
    if (place.medium === deviceMedium && tokens.length > 0) {
      if (blockTokens > blockTokensMax) return;
      this.#blockTokens = blockTokens;
      this.#storeTokens(event, place, changed);
      return;
    }
    // Elsewhere blocks may be of another size under the names that they have on the device.
    if (tokens.length > 0 && blockTokens === this.#blockTokens) this.#storeTokens(event, place, changed);
    else for (const name of names) this.#hold(this.#blocks.get(name), place, changed);
  }

  #storeTokens({ names, parent, tokens, blockTokens }: Stored, place: Place, changed: Changed): void {
    let key = parent === undefined ? root : this.#blocks.get(parent)?.key;
    for (const [at, name] of names.entries()) {
      if (key === undefined) return;
      const bytes = bytesOf(tokens.slice(at * blockTokens, (at + 1) * blockTokens));
      const chain = digestChain(key, bytes, bytes.length, 1);
      const [digest = 0n] = digestsOf(chain.digests);
      key = chain.key;
      let block = this.#blocks.get(name);
      // A name that is used again stands for what it names now.
      if (block !== undefined && block.digest !== digest) {
        this.#forget(name, block, changed);
        block = undefined;
      }
      if (block === undefined) {
        if (this.#blocks.size >= this.#blocksMax) return;
        block = { digest, key, places: [] };
        this.#blocks.set(name, block);
      }
      this.#hold(block, place, changed);
    }
  }

  #hold(block: Block | undefined, place: Place, changed: Changed): void {
    if (block === undefined || block.places.length >= placesMax) return;
    block.places.push(place);
    if (place.medium === deviceMedium) this.#count(block.digest, 1, changed);
  }

  #remove(name: BlockName, { medium, group }: Place, changed: Changed): void {
    const block = this.#blocks.get(name);
    // Who does not say of which group it is means any.
    const at = block?.places.findIndex(
      (place) => place.medium === medium && (group === undefined || place.group === group),
    );
    if (block === undefined || at === undefined || at < 0) return;
    block.places.splice(at, 1);
    if (medium === deviceMedium) this.#count(block.digest, -1, changed);
    if (block.places.length === 0) this.#blocks.delete(name);
  }

  #forget(name: BlockName, { digest, places }: Block, changed: Changed): void {
    this.#blocks.delete(name);
    const onDevice = places.filter(({ medium }) => medium === deviceMedium).length;
    if (onDevice > 0) this.#count(digest, -onDevice, changed);
  }

  #count(digest: Digest, by: number, changed: Changed): void {
    const before = this.#held.get(digest) ?? 0;
    if (!changed.has(digest)) changed.set(digest, before > 0);
    if (before + by > 0) this.#held.set(digest, before + by);
    else this.#held.delete(digest);
  }

  #placeOf(place: Place): Place {
    const name = `${place.medium} ${place.group}`;
    const known = this.#places.get(name) ?? place;
    if (this.#places.size < placesMax) this.#places.set(name, known);
    return known;
  }
}
