/**
 * An agent's ledger of what one replica holds, and everything it would say about it: what feeds are tested with. Keeps
 * what it held at each sequence. Only tests import it.
 */
import type { Epoch } from '@cognitora/protocol/ids';
import {
  type KvBlocks,
  type KvDelta,
  type KvMark,
  type KvSnapshotPart,
  type Tier,
  tiers,
} from '@cognitora/protocol/kv';
import type { OfEpoch } from '../src/directory/kv-feed.ts';
import { randomWords } from './digests.ts';

/** Digests by small numbers. */
export const digestsOf = (indices: readonly number[]): Uint32Array =>
  Uint32Array.from(indices.flatMap((index) => [...randomWords(index + 1, 2)]));

const key = (tier: Tier, index: number): string => `${tier} ${index}`;

export class KvLedger {
  epoch = 1 as Epoch;
  sequence = 0;
  #held: ReadonlySet<string> = new Set();
  /** By epoch and sequence. */
  readonly #past = new Map<string, ReadonlySet<string>>();

  constructor() {
    this.#remember();
  }

  /** What was held then, as `tier index`. */
  heldAt(epoch: Epoch, sequence: number): ReadonlySet<string> | undefined {
    return this.#past.get(`${epoch} ${sequence}`);
  }

  /** A new link: the ledger goes on where it was. */
  reconnect(): void {
    this.epoch = (this.epoch + 1) as Epoch;
    this.#remember();
  }

  change(
    tier: Tier,
    added: readonly number[],
    removed: readonly number[],
    isCleared = false,
  ): OfEpoch<KvDelta> {
    const held = new Set(isCleared ? [] : this.#held);
    for (const index of added) held.add(key(tier, index));
    for (const index of removed) held.delete(key(tier, index));
    this.#held = held;
    this.sequence += 1;
    this.#remember();
    return {
      epoch: this.epoch,
      sequence: this.sequence,
      isCleared,
      added: [{ tier, digests: digestsOf(added) }],
      removed: [{ tier, digests: digestsOf(removed) }],
    };
  }

  mark(): OfEpoch<KvMark> {
    return { epoch: this.epoch, sequence: this.sequence };
  }

  /** All that is held now, a few digests in each part. */
  snapshot(request: number, digestsPerPart: number): OfEpoch<KvSnapshotPart>[] {
    const blocks: KvBlocks[] = tiers.flatMap((tier) => {
      const indices = [...this.#held]
        .filter((held) => held.startsWith(`${tier} `))
        .map((held) => Number(held.split(' ')[1]));
      const parts = Math.ceil(indices.length / digestsPerPart);
      return Array.from({ length: parts }, (_, part) => ({
        tier,
        digests: digestsOf(indices.slice(part * digestsPerPart, (part + 1) * digestsPerPart)),
      }));
    });
    const { epoch, sequence } = this;
    return Array.from({ length: Math.max(1, blocks.length) }, (_, part) => ({
      epoch,
      request,
      sequence,
      part,
      isLast: part >= blocks.length - 1,
      blocks: blocks.slice(part, part + 1),
    }));
  }

  #remember(): void {
    this.#past.set(`${this.epoch} ${this.sequence}`, this.#held);
  }
}
