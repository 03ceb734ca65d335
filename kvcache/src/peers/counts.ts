/** What went between this daemon and each of its peers, by transport: data for whoever shows it. Only counts. */
import type { NodeId } from '@cognitora/protocol/ids';
import { type PeerTransport, peerTransports } from '@cognitora/protocol/kv-daemon';
import type { PeerFailure } from './codes.ts';

export interface PathCounts {
  /** Of values and probes, from the peer and to it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Values that came whole, and values that were given. */
  readonly fetched: number;
  readonly served: number;
  readonly failures: Readonly<Partial<Record<PeerFailure, number>>>;
}

export interface PeerRow extends PathCounts {
  readonly node: NodeId;
  readonly transport: PeerTransport;
}

export interface PeersCounts {
  readonly peers: readonly PeerRow[];
  /** Who was not let in, by transport and why. */
  readonly refused: Readonly<Record<PeerTransport, Readonly<Partial<Record<PeerFailure, number>>>>>;
}

type Failures = Partial<Record<PeerFailure, number>>;
type Writable = { bytesIn: number; bytesOut: number; fetched: number; served: number; failures: Failures };

export class PeerCounters {
  readonly #rows = new Map<NodeId, Record<PeerTransport, Writable>>();
  readonly #refused: Record<PeerTransport, Failures> = byTransport(() => ({}));

  get counts(): PeersCounts {
    const peers = [...this.#rows].flatMap(([node, row]) =>
      peerTransports.map((transport) => ({ node, transport, ...row[transport] })),
    );
    return { peers, refused: this.#refused };
  }

  of(node: NodeId, transport: PeerTransport): Writable {
    const row = this.#rows.get(node) ?? byTransport(empty);
    this.#rows.set(node, row);
    return row[transport];
  }

  failed(node: NodeId, transport: PeerTransport, code: PeerFailure): void {
    const { failures } = this.of(node, transport);
    failures[code] = (failures[code] ?? 0) + 1;
  }

  refused(transport: PeerTransport, code: PeerFailure): void {
    const failures = this.#refused[transport];
    failures[code] = (failures[code] ?? 0) + 1;
  }

  /** Those that are no longer of the fleet. */
  keep(isThere: (node: NodeId) => boolean): void {
    for (const node of this.#rows.keys()) if (!isThere(node)) this.#rows.delete(node);
  }
}

const byTransport = <Each>(make: () => Each): Record<PeerTransport, Each> =>
  Object.fromEntries(peerTransports.map((name) => [name, make()])) as Record<PeerTransport, Each>;

const empty = (): Writable => ({ bytesIn: 0, bytesOut: 0, fetched: 0, served: 0, failures: {} });
