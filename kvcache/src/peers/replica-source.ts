/**
 * What a host takes from others without being asked for it: lists of their newest keys, and values, few at a time and
 * at a bounded rate, so that those who wait for a value do not wait for these. Knows no files.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeId } from '@cognitora/protocol/ids';
import type { HeldValue, KvStore } from '../store.ts';
import {
  newestAsksMax,
  newestAsksWaitingMax,
  pullMsMax,
  pullsBytesPerMs,
  pullsMax,
  pullsWaitingMax,
  pullWaitMsMax,
} from './limits.ts';
import type { NewestAnswer, NewestAsk } from './newest-keys.ts';
import type { Peers } from './peers.ts';
import { Slots } from './slots.ts';

export class ReplicaSource {
  readonly #peers: Pick<Peers, 'reach' | 'tier' | 'newest'>;
  readonly #store: KvStore;
  readonly #nowMs: () => number;
  readonly #asks = new Slots({ max: newestAsksMax, waitingMax: newestAsksWaitingMax });
  readonly #pulls = new Slots({ max: pullsMax, waitingMax: pullsWaitingMax });

  /** Of all mirrors of a daemon. */
  constructor(peers: Pick<Peers, 'reach' | 'tier' | 'newest'>, store: KvStore, nowMs: () => number) {
    this.#peers = peers;
    this.#store = store;
    this.#nowMs = nowMs;
  }

  get reached(): readonly NodeId[] {
    return this.#peers.reach.map(({ node }) => node);
  }

  /** Throws `PeerError`. */
  async newest(node: NodeId, ask: NewestAsk): Promise<NewestAnswer> {
    await this.#asks.take(pullWaitMsMax);
    try {
      return await this.#peers.newest(node, ask);
    } finally {
      this.#asks.free();
    }
  }

  /** The value, held as long as `use` takes; undefined when it did not come. Throws `PeerError` while too many wait. */
  async pull<Used>(
    node: NodeId,
    key: string,
    use: (held: HeldValue | undefined) => Promise<Used>,
  ): Promise<Used> {
    await this.#pulls.take(pullWaitMsMax);
    const startedMs = this.#nowMs();
    let bytes = 0;
    try {
      const held = this.#store.has(key)
        ? await this.#store.getHere(key)
        : await this.#peers.tier.fetch(key, { node, deadlineMs: pullMsMax });
      bytes = held?.bytes.length ?? 0;
      try {
        return await use(held);
      } finally {
        held?.release();
      }
    } finally {
      const leftMs = bytes / pullsBytesPerMs - (this.#nowMs() - startedMs);
      if (leftMs >= 1) await delay(leftMs);
      this.#pulls.free();
    }
  }
}
