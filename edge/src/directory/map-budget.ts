/**
 * The memory that the prefix maps of one region may take together. Each cell gets what it asks for, but never more than
 * half of what is left, so that a model that comes later finds room, too; what would be too small to be of use is not
 * given. Memory follows demand: for a model that is asked for, those give way whose own was not asked for of late, or
 * never, whoever made them up. Pure.
 */

/** Some 35,000 blocks: a few hundred conversations. */
export const mapBytesMin = 1_048_576;
/** Who was asked for so much later than another may have its map: a snapshot brings it back when it is needed. */
export const mapIdleMsMin = 600_000;

/** Who has a map, or wants one. */
export interface MapHolder {
  /** When its model was last asked for; minus infinity for never. */
  readonly askedAtMs: number;
  /** Its map is no longer its own: gives it back, and forgets what stood in it. */
  yieldMap(nowMs: number): void;
}

export class MapBudget {
  #leftBytes: number;
  readonly #held = new Map<MapHolder, number>();

  constructor(bytesMax: number) {
    this.#leftBytes = bytesMax;
  }

  /** How much its map may take, up to `bytesMax`; undefined when nothing worth it is left. */
  take(holder: MapHolder, bytesMax: number): number | undefined {
    const bytes = share(this.#leftBytes, bytesMax);
    if (bytes === undefined) return undefined;
    this.#leftBytes -= bytes;
    this.#held.set(holder, bytes);
    return bytes;
  }

  /** Its map, if it had one, is gone. */
  give(holder: MapHolder): void {
    this.#leftBytes += this.#held.get(holder) ?? 0;
    this.#held.delete(holder);
  }

  /**
   * Takes the maps of those who have been idle, as many as it needs, and `holder`'s own, if that makes room for one at
   * least twice as large. True: it has none now, and is to take one.
   */
  makeRoom(holder: MapHolder, bytesMax: number, nowMs: number): boolean {
    const hasBytes = this.#held.get(holder) ?? 0;
    const isIdle = (other: MapHolder): boolean => holder.askedAtMs - other.askedAtMs >= mapIdleMsMin;
    const idle = [...this.#held.keys()].filter(isIdle);
    idle.sort((one, other) => (one.askedAtMs < other.askedAtMs ? -1 : 1));
    let leftBytes = this.#leftBytes + hasBytes;
    let count = 0;
    while (count < idle.length && (share(leftBytes, bytesMax) ?? 0) < bytesMax) {
      leftBytes += this.#held.get(idle[count] as MapHolder) ?? 0;
      count += 1;
    }
    const wouldGet = share(leftBytes, bytesMax);
    if (wouldGet === undefined || wouldGet < 2 * hasBytes) return false;
    for (const other of idle.slice(0, count)) other.yieldMap(nowMs);
    if (hasBytes > 0) holder.yieldMap(nowMs);
    return true;
  }
}

const share = (leftBytes: number, bytesMax: number): number | undefined => {
  const bytes = Math.min(bytesMax, Math.floor(leftBytes / 2));
  return bytes < Math.min(mapBytesMin, bytesMax) ? undefined : bytes;
};
