/** What kvcached is told, once it is read: types only. `parse.ts` reads it. */
import type { Listen } from '@cognitora/protocol/config/kinds';
import type { NamespaceFields } from '@cognitora/protocol/kv-daemon';

/** A port or a Unix socket. */
export type Address = Listen | { readonly path: string };

export interface NamespaceOptions {
  /** Of the Redis protocol. */
  readonly database: number;
  readonly fields: NamespaceFields;
}

/** A directory that an engine offloads to. */
export interface MirrorOptions {
  /** Absolute. */
  readonly directory: string;
  readonly fields: NamespaceFields;
  /** Of the directory's files; undefined: the engine's own cap is enough. */
  readonly bytesMax: number | undefined;
  /** Files of other hosts' engines are put there. */
  readonly isReplicated: boolean;
}

export interface PeersOptions {
  /** At least one. TLS by TCP, and QUIC by UDP, on each. */
  readonly listen: readonly Listen[];
  /** Undefined: the addresses listened on, or of this host's interfaces where those are all. The host may be a name. */
  readonly advertise: readonly Listen[] | undefined;
  /** Of one peer, in each direction; undefined: as fast as it goes. */
  readonly bytesPerSecondMax: number | undefined;
  /** The file of the node's Ed25519 key, which the agent makes. */
  readonly identity: string;
}

export interface DaemonOptions {
  readonly dataDirectory: string;
  readonly ramBytesMax: number;
  readonly ssd: { readonly directory: string; readonly bytesMax: number } | undefined;
  /** Where Redis clients connect; may be none. */
  readonly resp: readonly Address[];
  readonly status: Listen | undefined;
  readonly password: string | undefined;
  /** Where programs of this user ask. */
  readonly socket: string;
  /** Of values that are stored without an end; undefined: they have none. */
  readonly ttlMs: number | undefined;
  /** Undefined: this daemon has none. */
  readonly peers: PeersOptions | undefined;
  readonly namespaces: readonly NamespaceOptions[];
  readonly mirrors: readonly MirrorOptions[];
}
