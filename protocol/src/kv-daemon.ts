/**
 * What a host's KV daemon answers on its Unix socket, to the agent and to `cgn kv`: paths, types, and the parsers of
 * the lines that agent and daemon exchange. `docs/design/0009-kv-between-hosts.md` has the table. Knows no store.
 */
import type { NodeId } from './ids.ts';

export const kvDaemonPaths = {
  stat: '/v1/stat',
  keys: '/v1/keys',
  values: '/v1/values/',
  leases: '/v1/leases/',
  exists: '/v1/exists',
  pin: '/v1/pin',
  fetch: '/v1/fetch',
  namespaces: '/v1/namespaces',
  peers: '/v1/peers',
  doctor: '/v1/doctor',
  fleet: '/v1/fleet',
} as const;

/** In the daemon's data directory. */
export const kvDaemonSocketName = 'kvcached.sock';
/** What `Upgrade` names for the lines of the fleet. */
export const kvFleetUpgrade = 'cognitora-kv-fleet';

export type KvTier = 'ram' | 'ssd' | 'peer';

export const peerTransports = ['tls', 'quic'] as const;
export type PeerTransport = (typeof peerTransports)[number];

export interface PeerAddress {
  readonly transport: PeerTransport;
  readonly host: string;
  readonly port: number;
}

/** A node of the roster. */
export interface FabricPeer {
  readonly node: NodeId;
  /** The host's name, for people. */
  readonly name: string;
  /** Raw Ed25519, base64url: the node's id is its hash. */
  readonly publicKey: string;
  readonly addresses: readonly PeerAddress[];
}

/** What the edge tells a node of its fleet. */
export interface KvFabric {
  /** PEM, both; the certificate is over the node's own key. */
  readonly ca: string;
  readonly certificate: string;
  readonly peers: readonly FabricPeer[];
}

/** A peer that this node reaches, by its better transport. */
export interface PeerReach {
  readonly node: NodeId;
  readonly transport: PeerTransport;
  readonly rttMs: number;
  readonly bytesPerMs: number;
}

/** Lines from the agent to the daemon. */
export type ToDaemon =
  | ({ readonly type: 'fabric' } & KvFabric)
  /** For each digest of the ask, who holds it. */
  | { readonly type: 'holders'; readonly ask: number; readonly holders: readonly (readonly NodeId[])[] };

/** Lines from the daemon to the agent. A digest is 16 hex: the first 8 bytes of SHA-256 of a key. */
export type FromDaemon =
  | { readonly type: 'self'; readonly publicKey: string; readonly addresses: readonly PeerAddress[] }
  | { readonly type: 'reach'; readonly peers: readonly PeerReach[] }
  | {
      readonly type: 'held';
      readonly isCleared: boolean;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | { readonly type: 'ask'; readonly ask: number; readonly digests: readonly string[] };

/** What must be equal on two hosts before one uses the other's KV; a field that does not apply is left out. */
export interface NamespaceFields {
  readonly model: string;
  readonly dtype?: string;
  /** Such as `tp2` or `tp2pp1`. */
  readonly layout?: string;
  readonly blockTokens?: number;
  readonly hashAlgorithm?: string;
  readonly engine?: string;
  /** Other facts that must be equal, by name. */
  readonly more?: Readonly<Record<string, string | number>>;
}
