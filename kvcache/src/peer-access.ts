/**
 * What a daemon's peers do for the rest of it: an interface, so that a daemon without peers is the same daemon. Whoever
 * implements it bounds its own connections, bytes and time.
 */

import type { NodeId } from '@cognitora/protocol/ids';
import type {
  FromDaemon,
  KvDoctor,
  KvFetch,
  KvFetched,
  KvPeers,
  PeerTransport,
  ToDaemon,
} from '@cognitora/protocol/kv-daemon';

export interface PeerAccess {
  /**
   * Brings values into the store, whose `times.peer` it tells. Whatever fails is missing: it never rejects. Ends early
   * with the signal.
   */
  fetch(ask: KvFetch, signal: AbortSignal): Promise<KvFetched>;
  peers(): KvPeers;
  /** Probes one peer, or each that is reached. The namespaces are those of this daemon. Never rejects. */
  doctor(node: NodeId | undefined, signal: AbortSignal): Promise<Pick<KvDoctor, 'probes' | 'why'>>;
  /**
   * The agent listens from now on, instead of one before: all that it must know is sent first. False of `send`: it
   * reads too slowly, and this channel is over.
   */
  attach(send: (line: FromDaemon) => boolean): AgentChannel;
  /** What `/metrics` tells. */
  readonly counts: PeerCounts;
}

/** One agent's connection, as the peers see it. */
export interface AgentChannel {
  receive(line: ToDaemon): void;
  closed(): void;
}

export interface PeerCounts {
  /** Values asked of peers. */
  readonly tier: {
    readonly fetches: number;
    /** Nobody held it, as far as the edge knows. */
    readonly unheld: number;
    readonly inFlight: number;
    /** Why values did not come, whoever they were asked of: also that too many were on their way already. */
    readonly failures: Readonly<Record<string, number>>;
  };
  readonly peers: readonly {
    readonly node: NodeId;
    readonly transport: PeerTransport;
    /** Of values and probes, from the peer and to it. */
    readonly bytesIn: number;
    readonly bytesOut: number;
    /** Values that came whole, and values that were given. */
    readonly fetched: number;
    readonly served: number;
    /** By why. */
    readonly failures: Readonly<Record<string, number>>;
  }[];
  /** Who was not let in, by transport and why. */
  readonly refused: Readonly<Record<PeerTransport, Readonly<Record<string, number>>>>;
}
