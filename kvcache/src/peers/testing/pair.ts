/** Two nodes of a fleet on loopback, one that listens and one that dials, for tests of transports and of the wire. */
import { randomBytes } from 'node:crypto';
import type { NodeId } from '@cognitora/protocol/ids';
import type { PeerTransport } from '@cognitora/protocol/kv-daemon';
import { onTestFinished } from 'vitest';
import type { PeerFailure } from '../codes.ts';
import { get, newTransfer, type Transfer } from '../exchange.ts';
import type { NodeKey } from '../identity.ts';
import { type Served, ServedNow, serveChannel } from '../serve.ts';
import {
  type Certified,
  type Channel,
  type Credentials,
  type Listener,
  type Transport,
  type Trunk,
  transports,
} from '../transport.ts';
import { newAuthority, newNodeKey } from './authority.ts';

export const authority = newAuthority();

/** Of a node in good standing. */
export const certifiedOf = (key: NodeKey): Certified => ({
  ca: authority.ca,
  certificate: authority.certify(key),
});

/** Throws where this machine has no such transport. */
export const transportOf = (name: PeerTransport, credentials: Credentials): Transport => {
  const transport = transports[name](credentials);
  if (transport === undefined) throw new Error(`there is no ${name} here`);
  onTestFinished(() => transport.close());
  return transport;
};

export interface Holder {
  readonly key: NodeKey;
  readonly listener: Listener;
  readonly transport: Transport;
  /** Who may come, by raw public key in hex. */
  readonly roster: Map<string, NodeId>;
  readonly refused: PeerFailure[];
  /** Says what this holder has. */
  readonly values: Map<string, Buffer>;
  readonly failed: PeerFailure[];
  admit(key: NodeKey): void;
}

export interface HolderOptions {
  readonly key?: NodeKey;
  readonly port?: number;
  readonly certified?: () => Certified | undefined;
  /** Instead of what a daemon does. */
  readonly onChannel?: (channel: Channel) => void;
  readonly served?: Partial<Served>;
}

export const newHolder = async (name: PeerTransport, options: HolderOptions = {}): Promise<Holder> => {
  const { key = newNodeKey(), served = {} } = options;
  const ours = certifiedOf(key);
  const { certified = () => ours } = options;
  const transport = transportOf(name, { key, certified });
  const roster = new Map<string, NodeId>();
  const values = new Map<string, Buffer>();
  const refused: PeerFailure[] = [];
  const failed: PeerFailure[] = [];
  const all: Served = {
    hold: (asked) => {
      const bytes = values.get(asked);
      return bytes && { bytes, pages: bytes, arena: 0, offset: 0, value: bytes, release: () => {} };
    },
    leftMs: () => 0,
    namespaces: () => [],
    check: () => Promise.reject(new Error('no check here')),
    newest: () => undefined,
    cap: () => undefined,
    nowMs: () => performance.now(),
    onSent: () => {},
    onFailed: (code) => failed.push(code),
    ...served,
  };
  const now = new ServedNow(Number.POSITIVE_INFINITY);
  const listener = await transport.listen({
    host: '127.0.0.1',
    port: options.port ?? 0,
    admit: (publicKey) => roster.get(publicKey.toString('hex')),
    onRefused: (code) => refused.push(code),
    onChannel: options.onChannel ?? ((channel) => void serveChannel(channel, all, now)),
  });
  onTestFinished(() => listener.close());
  const admit = ({ publicKey, node }: NodeKey): void => void roster.set(publicKey.toString('hex'), node);
  return { key, listener, transport, roster, refused, values, failed, admit };
};

export interface AskerOptions {
  readonly key?: NodeKey;
  readonly certified?: Certified | undefined;
  /** Who is meant, if not who listens there. */
  readonly meant?: NodeKey;
  readonly isAdmitted?: boolean;
}

/** One that dials that holder. */
export const newAsker = (name: PeerTransport, holder: Holder, options: AskerOptions = {}): Trunk => {
  const { key = newNodeKey(), meant = holder.key, isAdmitted = true } = options;
  const certified = 'certified' in options ? options.certified : certifiedOf(key);
  if (isAdmitted) holder.admit(key);
  const transport = transportOf(name, { key, certified: () => certified });
  const { node, publicKey } = meant;
  const trunk = transport.trunk({ host: '127.0.0.1', port: holder.listener.port, node, publicKey });
  onTestFinished(() => trunk.cut());
  return trunk;
};

/** Goes on with a transfer into a buffer of its own. */
export const fetchInto = async (trunk: Trunk, key: string, transfer: Transfer): Promise<Buffer> => {
  const channel = await trunk.take();
  await get(channel, key, transfer, {
    roomFor: ({ total }) => Buffer.alloc(total),
    onData: () => undefined,
  });
  return transfer.target;
};

export const fetchFrom = (trunk: Trunk, key: string): Promise<Buffer> => fetchInto(trunk, key, newTransfer());

export const newValue = (bytes: number): Buffer => randomBytes(bytes);
