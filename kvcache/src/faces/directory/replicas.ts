/**
 * Which files of other hosts this host's directory takes, and where their room comes from: at most half of the
 * directory's bound, out of what came from others alone, the oldest use first, and never for what is older. What the
 * bound removed does not come back for a while. Never removes what this host's engine wrote.
 */
import { Remembered } from '../../peers/remembered.ts';
import { valueBytesMax } from '../../store.ts';
import type { Catalogue, Known } from './catalogue.ts';
import type { Unreplicated } from './counts.ts';
import type { Offer } from './replication.ts';
import type { Restored } from './restores.ts';
import type { Tree } from './tree.ts';

/** Of the directory's bound. */
const share = 0.5;
/** Longer than other hosts list a file that was written when this one removed it, unless they rest. */
const removedMsMax = 3_600_000;
/** About 200 bytes of heap each. */
const removedMax = 32_768;

export interface ReplicasOptions {
  /** Of the directory. */
  readonly bytesMax: number;
  readonly catalogue: Catalogue;
  readonly tree: Tree;
  readonly nowMs: () => number;
  readonly remove: (file: Known) => Promise<void>;
  readonly write: (key: string, writtenMs: number) => Promise<Restored>;
}

export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #bytesMax: number;
  readonly #removed: Remembered;
  /** Being written, or about to be. */
  #comingBytes = 0;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.#bytesMax = Math.floor(options.bytesMax * share);
    this.#removed = new Remembered({ msMax: removedMsMax, entriesMax: removedMax, nowMs: options.nowMs });
  }

  /** By the directory's bound. */
  removed(path: string): void {
    this.#removed.add(path);
  }

  async whyNot(path: string, offer: Offer): Promise<Unreplicated | undefined> {
    const { bytes } = offer;
    const { catalogue, tree } = this.#options;
    if (bytes > valueBytesMax || bytes > this.#bytesMax) return 'large';
    if (catalogue.get(path) !== undefined || (await tree.see(path)) !== undefined) return 'present';
    if (this.#removed.has(path)) return 'removed';
    return catalogue.hasRoomFor(path) && this.#victims(offer) !== undefined ? undefined : 'full';
  }

  /** The store has the value. */
  async place(offer: Offer): Promise<Unreplicated | undefined> {
    const { key, bytes, writtenMs } = offer;
    const victims = this.#victims(offer);
    if (victims === undefined) return 'full';
    this.#comingBytes += bytes;
    try {
      for (const victim of victims) await this.#options.remove(victim);
      const restored = await this.#options.write(key, writtenMs);
      if (restored === 'restored') return undefined;
      return restored === 'present' ? 'present' : 'failed';
    } finally {
      this.#comingBytes -= bytes;
    }
  }

  /** Undefined: not even without all that came from others and is older. */
  #victims({ bytes, writtenMs }: Offer): readonly Known[] | undefined {
    const { catalogue, bytesMax, nowMs } = this.#options;
    const bounds = { bytesMax, replicaBytesMax: this.#bytesMax, usedMsMax: writtenMs };
    return catalogue.replicaVictims(bounds, nowMs(), this.#comingBytes + bytes);
  }
}
