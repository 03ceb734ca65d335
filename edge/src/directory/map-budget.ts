/**
 * The memory that the prefix maps of one region may take together. Each cell gets what it asks for, but never more than
 * half of what is left, so that a model that comes later finds room, too; what would be too small to be of use is not
 * given. Pure.
 */

/** Some 35,000 blocks: a few hundred conversations. */
export const mapBytesMin = 1_048_576;

export class MapBudget {
  #leftBytes: number;

  constructor(bytesMax: number) {
    this.#leftBytes = bytesMax;
  }

  /** How much a map may take, up to `bytesMax`; undefined when nothing worth it is left. */
  take(bytesMax: number): number | undefined {
    const bytes = Math.min(bytesMax, Math.floor(this.#leftBytes / 2));
    if (bytes < Math.min(mapBytesMin, bytesMax)) return undefined;
    this.#leftBytes -= bytes;
    return bytes;
  }

  /** A map is gone. */
  give(bytes: number): void {
    this.#leftBytes += bytes;
  }
}
