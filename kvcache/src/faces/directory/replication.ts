/**
 * Files of other hosts' engines, before this host's engine looks for them: each peer that is reached is asked for its
 * newest keys every few seconds, for what is new since the last time, and what is wanted is pulled, the newest first,
 * one at a time from each. Knows neither the directory nor the wire.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import { newestAskedMax } from '../../peers/limits.ts';
import type { ReplicaSource } from '../../peers/replica-source.ts';
import type { Unreplicated } from './counts.ts';
import { pathOf } from './paths.ts';

const roundMs = 2_000;
/** Who does not answer, as a daemon that knows no such question, is left alone for ever longer. */
const restMsMax = 300_000;
/** Of one peer: more are too old by the time that they would come. */
const pendingMax = 512;
/** In a row: the others will not come now either. */
const failuresMax = 3;

/** A file of another host. */
export interface Offer {
  readonly key: string;
  readonly bytes: number;
  /** There, by our clock. */
  readonly writtenMs: number;
}

export interface ReplicationOptions {
  readonly namespace: string;
  readonly source: Pick<ReplicaSource, 'reached' | 'newest' | 'pull'>;
  readonly nowMs: () => number;
  /** Nothing is pulled now. */
  readonly isPaused: () => boolean;
  /** Why it is not to be pulled. */
  readonly whyNot: (path: string, offer: Offer) => Promise<Unreplicated | undefined>;
  /** Of what the store has now: a file; or why there is none. */
  readonly place: (offer: Offer) => Promise<Unreplicated | undefined>;
  readonly onSkipped: (why: Unreplicated, files?: number) => void;
}

interface Peer {
  after: number;
  pending: readonly Offer[];
  /** In a row. */
  failures: number;
  dueMs: number;
  round: Promise<void> | undefined;
}

export class Replication {
  readonly #options: ReplicationOptions;
  readonly #peers = new Map<NodeId, Peer>();
  readonly #timer: NodeJS.Timeout;
  #isEnding = false;

  constructor(options: ReplicationOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.round(), roundMs).unref();
  }

  /** Asks all who are due, and pulls. Never rejects. */
  async round(): Promise<void> {
    if (this.#isEnding) return;
    const { source, nowMs } = this.#options;
    const reached = new Set(source.reached);
    for (const node of this.#peers.keys()) if (!reached.has(node)) this.#peers.delete(node);
    for (const node of reached) {
      const fresh: Peer = { after: 0, pending: [], failures: 0, dueMs: 0, round: undefined };
      const peer = this.#peers.get(node) ?? fresh;
      this.#peers.set(node, peer);
      // A clock that was set back keeps nobody from being asked.
      if (nowMs() < peer.dueMs && peer.dueMs - nowMs() <= restMsMax) continue;
      peer.round ??= this.#ask(node, peer).finally(() => {
        peer.round = undefined;
      });
    }
    await this.#settled();
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    clearInterval(this.#timer);
    await this.#settled();
  }

  async #settled(): Promise<void> {
    await Promise.all([...this.#peers.values()].map(({ round }) => round));
  }

  async #ask(node: NodeId, peer: Peer): Promise<void> {
    const { source, namespace, nowMs, onSkipped } = this.#options;
    const endsAtMs = nowMs() + roundMs;
    try {
      const ask = { namespace, after: peer.after, limit: newestAskedMax };
      const { at, keys } = await source.newest(node, ask);
      peer.after = at;
      peer.failures = 0;
      const told = new Set(keys.map(({ key }) => key));
      const offers = keys.map(({ key, bytes, ageMs }) => ({
        key,
        bytes,
        writtenMs: Math.max(0, nowMs() - ageMs),
      }));
      const all = [...offers, ...peer.pending.filter(({ key }) => !told.has(key))];
      peer.pending = all.slice(0, pendingMax);
      if (all.length > pendingMax) onSkipped('old', all.length - pendingMax);
    } catch {
      peer.failures += 1;
      peer.dueMs = nowMs() + Math.min(restMsMax, roundMs * 2 ** peer.failures);
      return;
    }
    await this.#pullAll(node, peer, endsAtMs);
  }

  /** Until the next ask, so that what is newer then comes first. */
  async #pullAll(node: NodeId, peer: Peer, endsAtMs: number): Promise<void> {
    const { nowMs, isPaused, onSkipped } = this.#options;
    let failures = 0;
    while (nowMs() < endsAtMs && failures < failuresMax && !this.#isEnding && !isPaused()) {
      const [next, ...rest] = peer.pending;
      if (next === undefined) return;
      peer.pending = rest;
      const why = await this.#pull(node, next).catch((): Unreplicated => 'failed');
      failures = why === 'failed' ? failures + 1 : 0;
      if (why !== undefined) onSkipped(why);
    }
  }

  async #pull(node: NodeId, offer: Offer): Promise<Unreplicated | undefined> {
    const { source, namespace, whyNot, place } = this.#options;
    const { key, bytes } = offer;
    const path = pathOf(namespace, key);
    if (path === undefined) return 'foreign';
    const why = await whyNot(path, offer);
    if (why !== undefined) return why;
    return source.pull(node, key, async (held) => (held?.bytes.length === bytes ? place(offer) : 'failed'));
  }
}
