/**
 * The fleet as this daemon sees it: who is of it, on which paths they are reached, and who may come in. The edge says
 * who; a node that leaves the roster is cut at once, and a new certificate is that of all new connections. Looks
 * at every path now and then. Knows no keys and no store.
 */
import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { messageOf } from '@cognitora/protocol/errors';
import type { NodeId } from '@cognitora/protocol/ids';
import {
  type FabricPeer,
  type KvFabric,
  type PeerAddress,
  type PeerReach,
  type PeerTransport,
  peerTransports,
} from '@cognitora/protocol/kv-daemon';
import { kvFabricNodesMax, kvPeerAddressesMax } from '@cognitora/protocol/limits';
import { type PeerFailure, peerErrorOf } from './codes.ts';
import type { PeerCounters } from './counts.ts';
import { ping, probe } from './exchange.ts';
import { type NodeKey, nodeOf } from './identity.ts';
import {
  askedMsMax,
  bandwidthMsMean,
  probeBackoffMsMax,
  probeBytes,
  probeMsMean,
  probesMax,
} from './limits.ts';
import { bestFirst, Path } from './path.ts';
import { Slots } from './slots.ts';
import { type Channel, type Listener, type Transport, transports } from './transport.ts';
import { within } from './within.ts';

/** What reach and its figures are compared for. */
const typicalBytes = 2 ** 20;
/** A new path is looked at within that, an unreachable one again after it, doubled each time. */
const soonMs = 1_000;

export interface FabricOptions {
  readonly key: NodeKey;
  readonly counters: PeerCounters;
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly onChannel: (channel: Channel, transport: PeerTransport) => void;
  /** What is reached changed, or how fast. */
  readonly onReach?: () => void;
  readonly onError?: (message: string) => void;
}

/** TCP and UDP. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Member {
  readonly peer: FabricPeer;
  readonly publicKey: Buffer;
  readonly paths: readonly Path[];
  /** One path at a time, so that who answers slowly at many addresses takes one place of those for all. */
  readonly looks: Slots;
}

/** A peer, and the paths to it, for whoever shows them. */
export interface MemberView {
  readonly node: NodeId;
  readonly name: string;
  readonly paths: readonly (PeerAddress & {
    readonly isReached: boolean;
    /** Of the last failure, while it is not reached. */
    readonly why: PeerFailure | undefined;
    readonly rttMs: number | undefined;
    readonly bytesPerMs: number | undefined;
  })[];
}

export class Fabric {
  readonly #options: FabricOptions;
  readonly #transports: readonly Transport[];
  readonly #members = new Map<NodeId, Member>();
  readonly #listeners: Listener[] = [];
  readonly #timers = new Map<Path, NodeJS.Timeout>();
  readonly #probes = new Slots({ max: probesMax, waitingMax: kvFabricNodesMax * kvPeerAddressesMax });
  readonly #bandwidthDueMs = new Map<Path, number>();
  #certified: KvFabric | undefined;
  readonly #addresses: PeerAddress[] = [];
  #isClosed = false;

  constructor(options: FabricOptions) {
    this.#options = options;
    const credentials = { key: options.key, certified: () => this.#certified };
    this.#transports = peerTransports.flatMap((name) => transports[name](credentials) ?? []);
  }

  /**
   * Where peers come in, by each transport that there is. What they are told is `advertise`, or where it listens; where
   * that is everywhere, each address of this host.
   */
  async listen({ host, port }: Endpoint, advertise?: readonly Endpoint[]): Promise<void> {
    let at = port;
    const listening: PeerTransport[] = [];
    for (const transport of this.#transports) {
      try {
        const listener = await transport.listen({
          host,
          port: at,
          admit: (publicKey) => this.#admit(publicKey),
          onChannel: (channel) => this.#options.onChannel(channel, transport.name),
          onRefused: (code) => this.#options.counters.refused(transport.name, code),
        });
        at = listener.port;
        listening.push(transport.name);
        this.#listeners.push(listener);
      } catch (thrown) {
        this.#failed(`${transport.name} does not listen on ${host}:${at}`, thrown);
        // Without the first there is nothing to go on with.
        if (listening.length === 0) throw thrown;
      }
    }
    const told = advertise ?? hostsOf(host).map((name) => ({ host: name, port: at }));
    this.#tell(told.flatMap((endpoint) => listening.map((transport) => ({ transport, ...endpoint }))));
  }

  get node(): NodeId {
    return this.#options.key.node;
  }

  /** What the fleet is told of this node. */
  get self(): { readonly publicKey: string; readonly addresses: readonly PeerAddress[] } {
    return { publicKey: this.#options.key.publicKey.toString('base64url'), addresses: this.#addresses };
  }

  get members(): readonly MemberView[] {
    return [...this.#members.values()].map(({ peer: { node, name }, paths }) => ({
      node,
      name,
      paths: paths.map(({ address, isReached, why, rttMs, bytesPerMs }) => ({
        ...address,
        isReached,
        why,
        rttMs,
        bytesPerMs,
      })),
    }));
  }

  /** Peers that are reached, each by its better path. */
  get reach(): readonly PeerReach[] {
    return [...this.#members.values()].flatMap(({ peer: { node }, paths }) => {
      const reached = paths.filter(({ isReached }) => isReached);
      const [best] = bestFirst(reached, typicalBytes, this.#options.nowMs());
      if (best?.rttMs === undefined || best.bytesPerMs === undefined) return [];
      const { transport, rttMs, bytesPerMs } = best;
      return [{ node, transport, rttMs, bytesPerMs }];
    });
  }

  get isAlone(): boolean {
    return this.#members.size === 0;
  }

  /** The edge told of a fleet. */
  get isTold(): boolean {
    return this.#certified !== undefined;
  }

  has(node: NodeId): boolean {
    return this.#members.has(node);
  }

  /** The best first; none: not of the fleet, or all failed a moment ago. */
  pathsTo(node: NodeId, bytes = typicalBytes): readonly Path[] {
    return bestFirst(this.#members.get(node)?.paths ?? [], bytes, this.#options.nowMs());
  }

  /** The fleet as the edge tells it now, whole. */
  update(fabric: KvFabric): void {
    if (this.#isClosed) return;
    const certifiedBefore = this.#certified;
    this.#certified = fabric;
    const before = new Map(this.#members);
    this.#members.clear();
    for (const peer of fabric.peers.slice(0, kvFabricNodesMax)) {
      const member = this.#memberOf(peer, before.get(peer.node));
      if (member !== undefined) this.#members.set(peer.node, member);
    }
    const kept = new Set([...this.#members.values()].flatMap(({ paths }) => paths));
    for (const { paths } of before.values()) {
      for (const path of paths) if (!kept.has(path)) this.#drop(path);
    }
    this.#options.counters.keep((node) => this.#members.has(node));
    const failures = this.#listeners.flatMap((listener) => failureOf(() => listener.renew()));
    if (failures.length > 0) {
      this.#failed('the certificate from the edge cannot be used', failures[0]);
      this.#certified = certifiedBefore;
    }
    this.#options.onReach?.();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { paths } of this.#members.values()) for (const path of paths) this.#drop(path);
    this.#members.clear();
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const transport of this.#transports) transport.close();
  }

  /** Looks at all paths now. */
  async probeAll(): Promise<void> {
    const paths = [...this.#members.values()].flatMap((member) => member.paths);
    await Promise.all(paths.map((path) => this.#look(path)));
  }

  /** Of too many the first, each by all transports: to a peer one matters that it reaches. */
  #tell(addresses: readonly PeerAddress[]): void {
    const fresh = addresses.filter((address) => !this.#addresses.some((known) => isSame(known, address)));
    const room = kvPeerAddressesMax - this.#addresses.length;
    this.#addresses.push(...fresh.slice(0, room));
    if (fresh.length > room) {
      const left = fresh.slice(room).map(({ transport, host, port }) => `${transport} ${host}:${port}`);
      this.#options.onError?.(`too many addresses: peers are not told ${left.join(', ')}; see "advertise"`);
    }
  }

  #failed(what: string, thrown: unknown): void {
    const message = messageOf(thrown);
    this.#options.onError?.(`${what}: ${message}`);
  }

  #admit(publicKey: Buffer): NodeId | undefined {
    const node = nodeOf(publicKey);
    return this.#members.get(node)?.publicKey.equals(publicKey) === true ? node : undefined;
  }

  /** Undefined for this node itself, and for what is no node: its id is not the hash of its key. */
  #memberOf(peer: FabricPeer, before: Member | undefined): Member | undefined {
    const publicKey = Buffer.from(peer.publicKey, 'base64url');
    if (publicKey.length !== 32 || nodeOf(publicKey) !== peer.node || peer.node === this.node)
      return undefined;
    const paths = peer.addresses.slice(0, kvPeerAddressesMax).flatMap((address) => {
      const transport = this.#transports.find(({ name }) => name === address.transport);
      if (transport === undefined) return [];
      const known = before?.paths.find((path) => isSame(path.address, address));
      return [known ?? this.#newPath(peer.node, publicKey, address, transport)];
    });
    const looks = before?.looks ?? new Slots({ max: 1, waitingMax: kvPeerAddressesMax });
    return { peer, publicKey, paths, looks };
  }

  #newPath(node: NodeId, publicKey: Buffer, address: PeerAddress, transport: Transport): Path {
    const { host, port } = address;
    const path = new Path(node, address, transport.trunk({ host, port, node, publicKey }));
    this.#schedule(path, this.#options.random() * soonMs);
    return path;
  }

  #drop(path: Path): void {
    clearTimeout(this.#timers.get(path));
    this.#timers.delete(path);
    this.#bandwidthDueMs.delete(path);
    path.trunk.cut();
  }

  #schedule(path: Path, inMs: number): void {
    clearTimeout(this.#timers.get(path));
    const timer = setTimeout(() => void this.#look(path), inMs).unref();
    this.#timers.set(path, timer);
  }

  /** Never rejects. */
  async #look(path: Path): Promise<void> {
    const { counters, nowMs, random } = this.#options;
    const free = await this.#lookPlace(path);
    if (free === undefined) {
      if (this.#isPathOf(path)) this.#schedule(path, probeMsMean);
      return;
    }
    try {
      if (this.#isPathOf(path)) await this.#probe(path);
    } catch (thrown) {
      const { code } = peerErrorOf(thrown);
      // It answers: only its bandwidth is still to be seen.
      if (code === 'busy') return this.#schedule(path, soonMs * (0.5 + random()));
      path.failed(code, nowMs());
      counters.failed(path.node, path.transport, code);
    } finally {
      free();
    }
    if (!this.#isPathOf(path)) return;
    const meanMs =
      path.failures === 0 ? probeMsMean : Math.min(probeBackoffMsMax, soonMs * 2 ** (path.failures - 1));
    this.#schedule(path, meanMs * (0.5 + random()));
    this.#options.onReach?.();
  }

  /** Undefined: it took too long. */
  async #lookPlace({ node }: Path): Promise<(() => void) | undefined> {
    const looks = this.#members.get(node)?.looks;
    try {
      await looks?.take(probeMsMean);
    } catch {
      return undefined;
    }
    try {
      await this.#probes.take(probeMsMean);
    } catch {
      looks?.free();
      return undefined;
    }
    return () => {
      this.#probes.free();
      looks?.free();
    };
  }

  #isPathOf(path: Path): boolean {
    return this.#members.get(path.node)?.paths.includes(path) === true;
  }

  /** All of it has one end. */
  async #probe(path: Path): Promise<void> {
    const { nowMs, random, counters } = this.#options;
    const endsAtMs = nowMs() + askedMsMax;
    const leftMs = (): number => Math.max(1, endsAtMs - nowMs());
    const channel = (): Promise<Channel> =>
      within(path.trunk.take(), leftMs(), 'unreachable', (late) => late.giveBack());
    // The first pays for the connection.
    const rtts: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      rtts.push(await ping(await channel(), randomBytes(8), nowMs, leftMs()));
    }
    path.answered(Math.min(...rtts));
    if (nowMs() < (this.#bandwidthDueMs.get(path) ?? 0)) return;
    const ms = await probe(await channel(), probeBytes, nowMs, leftMs());
    path.brought(probeBytes, ms);
    counters.of(path.node, path.transport).bytesIn += probeBytes;
    this.#bandwidthDueMs.set(path, nowMs() + bandwidthMsMean * (0.5 + random()));
  }
}

const failureOf = (does: () => void): readonly unknown[] => {
  try {
    does();
    return [];
  } catch (thrown) {
    return [thrown];
  }
};

/** Everywhere: the addresses that others can know this host by. */
const hostsOf = (host: string): readonly string[] => {
  if (host !== '0.0.0.0' && host !== '::') return [host];
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const isUsable = ({ internal, family, address }: (typeof all)[number]): boolean =>
    !internal && (host === '::' || family === 'IPv4') && !address.startsWith('fe80:');
  return all.filter(isUsable).map(({ address }) => address);
};

const isSame = (one: PeerAddress, other: PeerAddress): boolean =>
  one.transport === other.transport && one.host === other.host && one.port === other.port;
