/**
 * Which cell each replica of a model belongs to, as far as that has to be remembered: of models with more than one. A
 * replica whose link is cut, or whose region lost its memory, finds its place kept for `cellPlaceMsMax`, in whatever
 * order they come back, since a prompt is looked for in the cell that its beginning names. A node has no more places in
 * a model than it may have replicas, and once redials are over a newcomer may take an away replica's place rather than
 * spread who is here over more cells. Pure; what must outlive the object goes to a log. Owns no cells: numbers only.
 */
import {
  cellPlaceFirmMs,
  cellPlaceMsMax,
  cellPlacesMax,
  replicasPerNodeMax,
} from '@cognitora/protocol/limits';

/** A replica, as `node/name`, and the number of its cell. */
export interface CellPlace {
  readonly model: string;
  readonly replica: string;
  readonly cell: number;
}

/** Keeps places durably. Told before a place is used, and never while a request waits for a decision. */
export interface CellLog {
  /** What was written and not erased. */
  places(): Iterable<CellPlace>;
  write(place: CellPlace): void;
  erase(place: CellPlace): void;
}

interface Away {
  readonly place: CellPlace;
  readonly sinceMs: number;
}

export class CellPlan {
  readonly #log: CellLog | undefined;
  /** By model and replica. */
  readonly #models = new Map<string, Map<string, CellPlace>>();
  /** By model and node. */
  readonly #ofNodes = new Map<string, Set<CellPlace>>();
  /** Those that are not here, in the order in which they left. */
  readonly #away = new Map<CellPlace, Away>();

  /** Without a log it is forgotten with the object. After a loss everybody is away from now on. */
  constructor(log: CellLog | undefined, nowMs: number) {
    this.#log = log;
    for (const place of log?.places() ?? []) {
      this.#put(place);
      this.#leave(place, nowMs);
    }
  }

  /** Whether places of this model are kept: since it had a second cell. */
  has(model: string): boolean {
    return this.#models.has(model);
  }

  /** A first cell is full: who sits in it stays there. */
  begin(model: string, replicas: Iterable<string>): void {
    for (const replica of replicas) this.#assign({ model, replica, cell: 0 });
  }

  /** The number of this replica's cell, if it has one. */
  cellOf(model: string, replica: string): number | undefined {
    return this.#models.get(model)?.get(replica)?.cell;
  }

  /**
   * Gives it a place in the first cell with less than `replicasMax`, those that are away included. Where that makes
   * those that are here sit in more cells than they need, it has the place of who is away longest in one of theirs.
   */
  assign(model: string, replica: string, replicasMax: number, nowMs: number): number {
    const before = this.#models.get(model)?.get(replica);
    if (before !== undefined) this.#forget(before);
    const sizes = this.sizes(model);
    let cell = 0;
    while ((sizes.get(cell) ?? 0) >= replicasMax) cell += 1;
    const taken = this.#spareFor(model, cell, replicasMax, nowMs);
    if (taken !== undefined) this.#forget(taken);
    const place = { model, replica, cell: taken?.cell ?? cell };
    this.#assign(place);
    return place.cell;
  }

  /** It is here, and keeps its place while it is. */
  came(model: string, replica: string): void {
    const place = this.#models.get(model)?.get(replica);
    if (place !== undefined) this.#away.delete(place);
  }

  left(model: string, replica: string, nowMs: number): void {
    const place = this.#models.get(model)?.get(replica);
    if (place !== undefined) this.#leave(place, nowMs);
  }

  /** Gives up the places of those that stayed away. */
  sweep(nowMs: number): void {
    for (const { place, sinceMs } of this.#away.values()) {
      if (nowMs - sinceMs < cellPlaceMsMax) break;
      this.#forget(place);
    }
  }

  /** Places in each cell of a model, by number, those of replicas that are away included. */
  sizes(model: string): ReadonlyMap<number, number> {
    const sizes = new Map<number, number>();
    for (const { cell } of this.#models.get(model)?.values() ?? [])
      sizes.set(cell, (sizes.get(cell) ?? 0) + 1);
    return sizes;
  }

  /** The place that a newcomer has instead of one in `cell`, if that spares those that are here a cell. */
  #spareFor(model: string, cell: number, replicasMax: number, nowMs: number): CellPlace | undefined {
    const here = new Map<number, number>();
    let count = 1;
    for (const place of this.#models.get(model)?.values() ?? []) {
      if (this.#away.has(place)) continue;
      here.set(place.cell, (here.get(place.cell) ?? 0) + 1);
      count += 1;
    }
    const cells = new Set(here.keys()).add(cell).size;
    if (cells <= Math.ceil(count / replicasMax)) return undefined;
    let found: CellPlace | undefined;
    for (const { place, sinceMs } of this.#away.values()) {
      if (nowMs - sinceMs < cellPlaceFirmMs) break;
      if (place.model !== model || !here.has(place.cell)) continue;
      if (place.cell < (found?.cell ?? cell)) found = place;
    }
    return found;
  }

  #assign(place: CellPlace): void {
    this.#log?.write(place);
    this.#put(place);
    this.#trim(place);
  }

  /** Of a node with more places in a model than it may have replicas, who left first is given up. */
  #trim(place: CellPlace): void {
    const places = this.#ofNodes.get(nodeKeyOf(place)) ?? [];
    for (const other of places) {
      if (this.#sizeOf(place) <= replicasPerNodeMax) return;
      if (this.#away.has(other)) this.#forget(other);
    }
  }

  #sizeOf(place: CellPlace): number {
    return this.#ofNodes.get(nodeKeyOf(place))?.size ?? 0;
  }

  #put(place: CellPlace): void {
    const places = this.#models.get(place.model) ?? new Map<string, CellPlace>();
    places.set(place.replica, place);
    this.#models.set(place.model, places);
    const ofNode = this.#ofNodes.get(nodeKeyOf(place)) ?? new Set();
    this.#ofNodes.set(nodeKeyOf(place), ofNode.add(place));
  }

  #leave(place: CellPlace, sinceMs: number): void {
    this.#away.delete(place);
    this.#away.set(place, { place, sinceMs });
    // Those of a node stand in the order in which they left, too.
    const ofNode = this.#ofNodes.get(nodeKeyOf(place));
    ofNode?.delete(place);
    ofNode?.add(place);
    this.#trim(place);
    for (const longest of this.#away.keys()) {
      if (this.#away.size <= cellPlacesMax) break;
      this.#forget(longest);
    }
  }

  #forget(place: CellPlace): void {
    this.#log?.erase(place);
    this.#away.delete(place);
    const places = this.#models.get(place.model);
    places?.delete(place.replica);
    if (places?.size === 0) this.#models.delete(place.model);
    const ofNode = this.#ofNodes.get(nodeKeyOf(place));
    ofNode?.delete(place);
    if (ofNode?.size === 0) this.#ofNodes.delete(nodeKeyOf(place));
  }
}

/** Replicas of a node have names that begin alike. */
const nodeKeyOf = ({ model, replica }: CellPlace): string => `${replica.split('/', 1)[0]}/${model}`;
