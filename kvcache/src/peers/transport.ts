/**
 * What daemons speak over: the interface, and the table of those that there are. A transport gives channels between two
 * nodes that have shown each other who they are; bytes of anybody else are never read. What is said on a channel is
 * `wire.ts`'s, who is of the fleet `fabric.ts`'s.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { PeerTransport } from '@cognitora/protocol/kv-daemon';
import type { PeerFailure } from './codes.ts';
import type { NodeKey } from './identity.ts';
import { openQuic } from './quic.ts';
import { openTls } from './tls.ts';

/** An ordered channel of bytes both ways that one exchange has to itself. */
export interface Channel {
  readonly node: NodeId;
  /**
   * Fills the target. False: the other end ended, in order, before its first byte. Rejects with `PeerError`: `stalled`
   * after so long without a byte, `cut` when it ended in the midst.
   */
  fill(target: Buffer, msMax: number): Promise<boolean>;
  /** Bytes that came on it, ever. */
  readonly came: number;
  /** In the order of the calls; resolves when the bytes are not needed any more. */
  write(...parts: readonly Buffer[]): Promise<void>;
  /** For the asker: the exchange is over, and all of its answer was read. */
  giveBack(): void;
  /** For the holder: nothing more will be said. */
  end(): void;
  /** Whatever is under way ends, at both ends. */
  cut(): void;
}

/** All channels to one address of one node. Makes connections as they are needed. */
export interface Trunk {
  /** Rejects with `PeerError`: `unreachable`, `refused`, `busy`, `closed`. */
  take(): Promise<Channel>;
  cut(): void;
}

export interface Listener {
  readonly port: number;
  /** Ends the connections of those that are no longer admitted, and then takes the certificate that is now, or throws. */
  renew(): void;
  close(): Promise<void>;
}

/** What the fleet's edge gave. */
export interface Certified {
  /** PEM, both. */
  readonly ca: string;
  readonly certificate: string;
}

export interface Credentials {
  readonly key: NodeKey;
  /** Asked for each connection; undefined until the edge told. */
  readonly certified: () => Certified | undefined;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** The node with that raw public key; undefined: not of the fleet. */
  readonly admit: (publicKey: Buffer) => NodeId | undefined;
  readonly onChannel: (channel: Channel) => void;
  /** Somebody was not let in. */
  readonly onRefused: (code: PeerFailure, detail: string) => void;
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly node: NodeId;
  /** Raw; nobody else is spoken to. */
  readonly publicKey: Buffer;
}

export interface Transport {
  readonly name: PeerTransport;
  listen(options: ListenOptions): Promise<Listener>;
  trunk(target: Target): Trunk;
  close(): void;
}

/** In the order in which they are tried where nothing is known; undefined: not on this machine. */
export const transports: Readonly<
  Record<PeerTransport, (credentials: Credentials) => Transport | undefined>
> = {
  tls: openTls,
  quic: openQuic,
};
