/**
 * What one cell knows of its replicas' caches: the prefix map and the guesses beside it, made when the first of them
 * becomes known, as large as the region's budget allows, given back when others need the room more. Pure. Knows the
 * members only as those who are blind once it is gone; books nothing and decides nothing.
 */
import { kvDigestsPerFeedMax } from '@cognitora/protocol/limits';
import type { BlockStore } from './kv-feed.ts';
import type { MapBudget, MapHolder } from './map-budget.ts';
import type { Member } from './member.ts';
import {
  type Prediction,
  type PredictionOptions,
  Predictions,
  predictionsBytesDefault,
} from './predictions.ts';
import { type Depths, type MatchOptions, PrefixMap, type PrefixMapCounts } from './prefix-map.ts';

interface Maps {
  readonly map: PrefixMap;
  readonly predictions: Predictions;
}

interface Fading {
  readonly prediction: Prediction;
  readonly dueMs: number;
}

export interface CellMapsOptions {
  /** Any 32-bit number that peers do not know. */
  readonly secret: number;
  readonly mapBytes: number;
  /** Whose memory the map takes; without one it takes its own. */
  readonly budget: MapBudget | undefined;
  /** Of the cell, by number. */
  readonly members: readonly (Member | undefined)[];
}

/** A cell whose map is smaller than it asked for looks for room this often. */
const roomMsMin = 10_000;
/** Of that many ended requests the guesses are kept so long; of more, shorter. */
const fadingMax = 1_024;

export class CellMaps implements MapHolder {
  /** Made when the first member's cache becomes known: until then nothing is worth its memory. */
  #maps: Maps | undefined;
  readonly #secret: number;
  readonly #mapBytes: number;
  readonly #budget: MapBudget | undefined;
  readonly #members: readonly (Member | undefined)[];
  /** Of the budget. */
  #takenBytes = 0;
  askedAtMs = Number.NEGATIVE_INFINITY;
  #nextRoomAtMs = Number.NEGATIVE_INFINITY;
  /** In order of their due times. Made when first used: a region may hear of thousands of models nobody asks for. */
  #fading: Fading[] | undefined;

  constructor({ secret, mapBytes, budget, members }: CellMapsOptions) {
    this.#secret = secret;
    this.#mapBytes = mapBytes;
    this.#budget = budget;
    this.#members = members;
  }

  /** Of the prefix map; undefined while no member's cache is known. */
  get counts(): PrefixMapCounts | undefined {
    return this.#maps?.map.counts;
  }

  /** Gives its memory back. */
  close(): void {
    this.#budget?.give(this);
    this.#takenBytes = 0;
    this.#maps = undefined;
  }

  /** Somebody asks for the model: it gets the room that models nobody asks for have. True: its map is another one. */
  asked(nowMs: number): boolean {
    this.askedAtMs = nowMs;
    const budget = this.#budget;
    if (budget === undefined || this.#takenBytes >= this.#mapBytes) return false;
    if (nowMs < this.#nextRoomAtMs && this.#nextRoomAtMs <= nowMs + roomMsMin) return false;
    this.#nextRoomAtMs = nowMs + roomMsMin;
    if (!this.#members.some((member) => member !== undefined && member.announced !== 'blind')) return false;
    if (!budget.makeRoom(this, this.#mapBytes, nowMs)) return false;
    // At once: others wait for what is free now.
    return this.#made() !== undefined;
  }

  /** The members are blind from now on, and what was guessed of them is forgotten. */
  yieldMap(nowMs: number): void {
    for (const member of this.#members) member?.close(nowMs);
    this.#fading = undefined;
    this.close();
  }

  /** Where a member's feed writes: the map, and the count of what the member stores and evicts. */
  storeOf(member: Member): BlockStore {
    return {
      claim: () => this.#made()?.map.claim(),
      clear: (slot) => this.#maps?.map.clear(slot),
      show: (slot) => this.#maps?.map.show(slot),
      add: (digests, slot, tier) => {
        const map = this.#maps?.map;
        const room = kvDigestsPerFeedMax - (map?.blocksOf(slot, tier) ?? 0);
        map?.add(digests.subarray(0, 2 * Math.max(0, room)), slot, tier);
        member.counted(digests.length / 2, 0);
      },
      remove: (digests, slot, tier) => {
        this.#maps?.map.remove(digests, slot, tier);
        member.counted(0, digests.length / 2);
      },
    };
  }

  /** Blocks that the map holds of a replica, on any tier. */
  heldBlocks({ slot }: Member): number {
    const map = this.#maps?.map;
    if (map === undefined || slot === undefined) return 0;
    return map.blocksOf(slot, 'device') + map.blocksOf(slot, 'host');
  }

  /** Those of them that its host keeps, for itself and for others to fetch. */
  hostBlocks({ slot }: Member): number {
    return slot === undefined ? 0 : (this.#maps?.map.blocksOf(slot, 'host') ?? 0);
  }

  /** How far into a prompt each replica's blocks and guesses reach; undefined while no cache is known. */
  match(options: MatchOptions): Depths | undefined {
    return this.#maps?.map.match(options);
  }

  /** How far into a prompt blocks on the hosts' tier reach, written into `depths`; false while no cache is known. */
  matchHost(options: Omit<MatchOptions, 'nowMs'>, depths: Uint16Array): boolean {
    this.#maps?.map.matchHost(options, depths);
    return this.#maps !== undefined;
  }

  /** Expects blocks on a replica; undefined where nothing can be known. */
  expect(options: PredictionOptions): Prediction | undefined {
    return this.#maps?.predictions.add(options);
  }

  /** It will not be so, or is known by now. */
  takeBack(prediction: Prediction): void {
    this.#maps?.predictions.takeBack(prediction);
  }

  /** From `dueMs` on its agent's word counts, and the guess no more. Call in order of due times. */
  fade(prediction: Prediction, dueMs: number): void {
    this.#fading ??= [];
    this.#fading.push({ prediction, dueMs });
    if (this.#fading.length > fadingMax) this.#forget(1);
  }

  /** Takes back what was due. */
  forgetFaded(nowMs: number): void {
    const fading = this.#fading ?? [];
    let count = 0;
    while ((fading[count]?.dueMs ?? Number.POSITIVE_INFINITY) <= nowMs) count += 1;
    if (count > 0) this.#forget(count);
  }

  #forget(count: number): void {
    for (const { prediction } of this.#fading?.splice(0, count) ?? []) this.takeBack(prediction);
  }

  /** Undefined when the budget has nothing left: the cell's replicas stay blind, and their feeds ask again. */
  #made(): Maps | undefined {
    if (this.#maps !== undefined) return this.#maps;
    const bytesMax = this.#budget === undefined ? this.#mapBytes : this.#budget.take(this, this.#mapBytes);
    if (bytesMax === undefined) return undefined;
    this.#takenBytes = bytesMax;
    const predictions = new Predictions({ bytesMax: Math.min(predictionsBytesDefault, bytesMax / 4) });
    const map = new PrefixMap({ bytesMax, secret: this.#secret, predictions });
    this.#maps = { map, predictions };
    return this.#maps;
  }
}
