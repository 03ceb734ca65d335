/** Daemons' peers in one process, with stores of their own and a directory that the test keeps. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeId } from '@cognitora/protocol/ids';
import type { FabricPeer, FromDaemon, PeerAddress, PeerTransport } from '@cognitora/protocol/kv-daemon';
import { onTestFinished } from 'vitest';
import type { PeersOptions } from '../../config/options.ts';
import { KvStore } from '../../store.ts';
import type { NodeKey } from '../identity.ts';
import { keyDigest } from '../key-digest.ts';
import { Peers, type PeersContext } from '../peers.ts';
import { newNodeKey } from './authority.ts';
import { certifiedOf } from './pair.ts';

export interface Daemon {
  readonly key: NodeKey;
  readonly node: NodeId;
  readonly store: KvStore;
  readonly peers: Peers;
  readonly member: FabricPeer;
  /** What its agent was told. */
  readonly lines: readonly FromDaemon[];
  put(key: string, value: Buffer, expiresAtMs?: number): void;
  /** The value, if it is to be had from anywhere; released. */
  read(key: string): Promise<Buffer | undefined>;
}

interface DaemonOptions {
  readonly ramBytesMax: number;
  readonly hasAgent: boolean;
}

export class Fleet {
  /** What the edge's directory says, by digest. */
  readonly holders = new Map<string, NodeId[]>();
  readonly asked: string[][] = [];
  readonly members: FabricPeer[] = [];
  readonly #daemons: Daemon[] = [];

  async daemon(
    options: Partial<PeersOptions> & Partial<PeersContext> & Partial<DaemonOptions> = {},
  ): Promise<Daemon> {
    const { ramBytesMax = 64 * 2 ** 20, hasAgent = true, ...more } = options;
    const lines: FromDaemon[] = [];
    const key = newNodeKey();
    const store = await KvStore.open({ ramBytesMax, ssd: undefined, nowMs: Date.now });
    const listen = { host: '127.0.0.1', port: 0 };
    const none = { advertise: undefined, bytesPerSecondMax: undefined };
    const plain = { listen: [listen], ...none, identity: keyFile(key) };
    const context: PeersContext = {
      store,
      namespaces: () => [],
      nowMs: () => performance.now(),
      wallMs: Date.now,
      random: () => 0.5,
      ...more,
    };
    const peers = await Peers.start({ ...plain, ...more }, context);
    onTestFinished(() => peers.close());
    if (hasAgent) this.#attach(peers, lines);
    const put = (name: string, value: Buffer, expiresAtMs?: number): void => {
      const room = store.reserve(name, value.length);
      if (room === undefined) throw new Error('no room');
      value.copy(room.bytes);
      room.commit({ expiresAtMs });
    };
    const read = async (name: string): Promise<Buffer | undefined> => {
      const held = await store.get(name);
      const bytes = held && Buffer.from(held.bytes);
      held?.release();
      return bytes;
    };
    const member = { node: key.node, name: 'host', ...peers.fabric.self };
    const daemon = { key, node: key.node, store, peers, member, lines, put, read };
    this.#daemons.push(daemon);
    this.members.push(member);
    return daemon;
  }

  /** The answer to a question; undefined: none. */
  answer: (digests: readonly string[]) => readonly (readonly NodeId[])[] | undefined = (digests) =>
    digests.map((digest) => this.holders.get(digest) ?? []);

  #attach(peers: Peers, lines: FromDaemon[]): void {
    const channel = peers.attach((line) => {
      lines.push(line);
      if (line.type !== 'ask') return true;
      this.asked.push([...line.digests]);
      const holders = this.answer(line.digests);
      if (holders !== undefined)
        setImmediate(() => channel.receive({ type: 'holders', ask: line.ask, holders }));
      return true;
    });
  }

  /** Somebody who listens there and is of the fleet. */
  add(key: NodeKey, addresses: readonly PeerAddress[]): void {
    const publicKey = key.publicKey.toString('base64url');
    this.members.push({ node: key.node, name: 'other', publicKey, addresses });
  }

  /** Tells all daemons of all members, or of those with these transports' addresses only. */
  tell(only?: PeerTransport): void {
    const peers = this.members.map((member) => ({
      ...member,
      addresses: member.addresses.filter(({ transport }) => only === undefined || transport === only),
    }));
    for (const { key, peers: daemon } of this.#daemons) daemon.update({ ...certifiedOf(key), peers });
  }

  remove(node: NodeId): void {
    const at = this.members.findIndex((member) => member.node === node);
    if (at >= 0) this.members.splice(at, 1);
  }

  says(key: string, ...nodes: NodeId[]): void {
    this.holders.set(keyDigest(key), nodes);
  }
}

const keyFile = ({ privateKey }: NodeKey): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-peers-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'node.key');
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return file;
};
