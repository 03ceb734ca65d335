/**
 * Which nodes' KV daemons hold which keys, by their own word: prefix maps with nodes in the place of replicas. A key is
 * known by the first 8 bytes of its hash. Pure. Each map has 64 places; a node gets one when it first tells of a key,
 * and another map is made once all places are taken. Of nodes beyond the last map nothing is known, so they are never
 * named. A full map forgets what was neither told nor asked for lately, of the node that told most first, so that who
 * makes keys up by the thousand forgets its own.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { KvHeld } from '@cognitora/protocol/kv-fabric';
import { kvHoldersPerDigestMax, kvKeysPerNodeMax } from '@cognitora/protocol/limits';
import { PrefixMap } from '../directory/prefix-map.ts';
import type { Slot } from '../directory/replica-slots.ts';

/** Of one map: 286,000 keys of 64 nodes. */
const keyMapBytes = 8 * 2 ** 20;

export interface KeyHoldersOptions {
  /** Any 32-bit number that nodes do not know. */
  readonly secret: number;
  readonly mapsMax: number;
  readonly mapBytes?: number;
}

interface Place {
  readonly map: number;
  readonly slot: Slot;
}

/** What a daemon holds is all on one tier here. */
const tier = 'host';

export class KeyHolders {
  readonly #options: KeyHoldersOptions;
  readonly #maps: PrefixMap[] = [];
  readonly #places = new Map<NodeId, Place>();
  /** Of the digest that is looked at: two words for each map. */
  readonly #holders: Int32Array[] = [];
  #turn = 0;

  constructor(options: KeyHoldersOptions) {
    this.#options = options;
  }

  /** Keys of all nodes, copies counted. */
  get keys(): number {
    let keys = 0;
    for (const node of this.#places.keys()) keys += this.keysOf(node);
    return keys;
  }

  keysOf(node: NodeId): number {
    const place = this.#places.get(node);
    return place === undefined ? 0 : (this.#maps[place.map]?.blocksOf(place.slot, tier) ?? 0);
  }

  heard(node: NodeId, { isCleared, added, removed }: KvHeld): void {
    if (isCleared) this.forget(node);
    const place = this.#places.get(node) ?? (added.length === 0 ? undefined : this.#claim(node));
    const map = this.#maps[place?.map ?? -1];
    if (place === undefined || map === undefined) return;
    const room = Math.max(0, kvKeysPerNodeMax - map.blocksOf(place.slot, tier));
    map.add(added.subarray(0, 2 * room), place.slot, tier);
    map.remove(removed, place.slot, tier);
  }

  /** Nothing is known of what the node holds. */
  forget(node: NodeId): void {
    const place = this.#places.get(node);
    if (place === undefined) return;
    this.#places.delete(node);
    this.#maps[place.map]?.clear(place.slot);
  }

  /**
   * For each digest those of `nodes` that hold it, as places in `nodes`, in its order: the first of them, and where
   * there are more than may be named, of the rest a different one each time, so that nobody is hidden behind others.
   */
  among(nodes: readonly NodeId[], digests: Uint32Array): readonly (readonly number[])[] {
    const places = nodes.map((node) => this.#places.get(node));
    const found: (readonly number[])[] = [];
    this.#turn += 1;
    for (let next = 0; next < digests.length; next += 2) {
      this.#look(digests[next] ?? 0, digests[next + 1] ?? 0);
      const holders: number[] = [];
      for (let at = 0; at < places.length; at += 1) {
        const place = places[at];
        if (place !== undefined && this.#isHolder(place)) holders.push(at);
      }
      const rest = holders.splice(kvHoldersPerDigestMax - 1);
      const last = rest[this.#turn % rest.length];
      found.push(last === undefined ? holders : [...holders, last]);
    }
    return found;
  }

  #look(lo: number, hi: number): void {
    for (const [at, map] of this.#maps.entries()) {
      const holders = this.#holders[at];
      if (holders !== undefined) map.holdersOf(lo, hi, holders);
    }
  }

  #isHolder({ map, slot }: Place): boolean {
    return (((this.#holders[map]?.[slot >>> 5] ?? 0) >>> (slot & 31)) & 1) === 1;
  }

  #claim(node: NodeId): Place | undefined {
    for (let map = 0; map < this.#options.mapsMax; map += 1) {
      const slot = this.#mapAt(map).claim();
      if (slot === undefined) continue;
      this.#mapAt(map).show(slot);
      const place = { map, slot };
      this.#places.set(node, place);
      return place;
    }
    return undefined;
  }

  #mapAt(at: number): PrefixMap {
    const { secret, mapBytes = keyMapBytes } = this.#options;
    const known = this.#maps[at];
    if (known !== undefined) return known;
    const map = new PrefixMap({ bytesMax: mapBytes, secret, isFair: true });
    this.#maps[at] = map;
    this.#holders[at] = new Int32Array(2);
    return map;
  }
}
