/**
 * All that one daemon has to do with others, put together: who they are, what is fetched from them and given to them,
 * and which keys the fleet is told of. Started from plain options; knows neither the edge nor the agent's lines.
 */
import { readFileSync } from 'node:fs';
import type { NodeId } from '@cognitora/protocol/ids';
import type { KvFabric, PeerAddress, PeerReach, PeerTransport } from '@cognitora/protocol/kv-daemon';
import { isRecord } from '@cognitora/protocol/shape';
import type { KvStore } from '../store.ts';
import { PeerError, peerErrorOf } from './codes.ts';
import { PeerCounters, type PeersCounts } from './counts.ts';
import { check, namespaces } from './exchange.ts';
import { Fabric, type FabricListen, type MemberView } from './fabric.ts';
import { HeldKeys } from './held-keys.ts';
import { nodeKeyOf } from './identity.ts';
import { dataBytesMax, fetchMsMax } from './limits.ts';
import { PeerTier, type TierCounts } from './peer-tier.ts';
import { type CheckOutcome, type NamespaceEntry, ServedNow, serveChannel } from './serve.ts';
import { TokenBucket } from './token-bucket.ts';
import type { Channel } from './transport.ts';
import type { AskHolders } from './who-has.ts';

/** Only such keys are fetched because a peer says so. */
export const checkKeyPrefix = 'doctor:';

export interface PeersOptions extends FabricListen {
  /** The file of the node's Ed25519 key, which the agent keeps: PEM, PKCS 8. */
  readonly identityFile: string;
  /** To each peer, and as much from it; undefined: as fast as it goes. */
  readonly bytesPerSecondMax?: number | undefined;
}

export interface PeersContext {
  readonly store: KvStore;
  /** The edge's directory, by the agent. Rejects when it cannot be asked. */
  readonly ask: AskHolders;
  readonly namespaces: () => readonly NamespaceEntry[];
  /** What peers are reached changed, or how fast. */
  readonly onReach?: () => void;
  /** There are keys that the fleet has not been told of. */
  readonly onHeld?: () => void;
  readonly onError?: (message: string) => void;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
}

export class Peers {
  readonly fabric: Fabric;
  readonly tier: PeerTier;
  readonly held: HeldKeys;
  readonly #options: PeersOptions;
  readonly #context: PeersContext;
  readonly #counters = new PeerCounters();
  readonly #serving = new ServedNow();
  readonly #caps = new Map<string, TokenBucket>();
  /** Peers for which a key is fetched back now. */
  readonly #checking = new Set<NodeId>();

  /** Listens, and is the store's source of values from then on. Throws without a key that can be read, or a port. */
  static async start(options: PeersOptions, context: PeersContext): Promise<Peers> {
    const peers = new Peers(options, context);
    await peers.fabric.listen(options);
    context.store.peers = peers.tier;
    context.store.onChanged = (key) => peers.held.changed(key);
    return peers;
  }

  private constructor(options: PeersOptions, context: PeersContext) {
    const { store, ask, nowMs, wallMs, random, onReach = () => {}, onError = () => {} } = context;
    this.#options = options;
    this.#context = context;
    this.held = new HeldKeys(store, context.onHeld);
    this.fabric = new Fabric({
      key: nodeKeyOf(readFileSync(options.identityFile)),
      counters: this.#counters,
      nowMs,
      random,
      onReach,
      onError,
      onChannel: (channel, transport) => void this.#serve(channel, transport),
    });
    const cap = (node: NodeId): TokenBucket | undefined => this.#cap(`from ${node}`);
    this.tier = new PeerTier({
      store,
      fabric: this.fabric,
      counters: this.#counters,
      ask,
      cap,
      nowMs,
      wallMs,
    });
  }

  get self(): { readonly publicKey: string; readonly addresses: readonly PeerAddress[] } {
    return this.fabric.self;
  }

  get reach(): readonly PeerReach[] {
    return this.fabric.reach;
  }

  get members(): readonly MemberView[] {
    return this.fabric.members;
  }

  get counts(): PeersCounts & { readonly tier: TierCounts } {
    return { ...this.#counters.counts, tier: this.tier.counts };
  }

  /** The fleet as the edge tells it now. */
  update(fabric: KvFabric): void {
    this.fabric.update(fabric);
    for (const name of this.#caps.keys()) {
      if (!this.fabric.has(name.slice(name.indexOf(' ') + 1) as NodeId)) this.#caps.delete(name);
    }
  }

  /** That peer fetches the key from this host, and tells what it got. Throws `PeerError`. */
  async check(node: NodeId, key: string): Promise<CheckOutcome> {
    const told = await this.#asking(node, (channel) => check(channel, key, 2 * fetchMsMax));
    const { bytes, sha256, ms } = isRecord(told) ? told : {};
    if (typeof bytes === 'number' && typeof sha256 === 'string' && typeof ms === 'number') {
      return { bytes, sha256, ms };
    }
    throw new PeerError('garbage', 'no outcome of a check');
  }

  /** As that peer tells them. Throws `PeerError`. */
  async namespacesOf(node: NodeId): Promise<readonly NamespaceEntry[]> {
    const told = await this.#asking(node, namespaces);
    const isEntry = (entry: unknown): entry is NamespaceEntry =>
      isRecord(entry) && typeof entry.namespace === 'string' && isRecord(entry.fields);
    if (Array.isArray(told) && told.every(isEntry)) return told;
    throw new PeerError('garbage', 'no namespaces');
  }

  async close(): Promise<void> {
    this.#context.store.peers = undefined;
    this.#context.store.onChanged = undefined;
    await this.fabric.close();
  }

  /** By the best path, and by the next where that fails. */
  async #asking<Answer>(node: NodeId, asks: (channel: Channel) => Promise<Answer>): Promise<Answer> {
    let last = new PeerError('unreachable');
    for (const path of this.fabric.pathsTo(node, 0)) {
      try {
        return await asks(await path.trunk.take());
      } catch (thrown) {
        last = peerErrorOf(thrown);
        this.#counters.failed(node, path.transport, last.code);
        if (last.code === 'missing' || last.code === 'refused') throw last;
      }
    }
    throw last;
  }

  async #serve(channel: Channel, transport: PeerTransport): Promise<void> {
    const { store, namespaces, nowMs, wallMs } = this.#context;
    const { node } = channel;
    const count = (bytes: number, isValue: boolean): void => {
      const counts = this.#counters.of(node, transport);
      counts.bytesOut += bytes;
      counts.served += isValue ? 1 : 0;
    };
    const served = {
      hold: (key: string) => store.getHere(key),
      leftMs: (key: string) => leftMsOf(store.expiresAtMs(key), wallMs()),
      namespaces,
      check: (asker: NodeId, key: string) => this.#checkFor(asker, key),
      cap: () => this.#cap(`to ${node}`),
      nowMs,
      onSent: count,
      onFailed: (code: PeerError['code']) => this.#counters.failed(node, transport, code),
    };
    await serveChannel(channel, served, this.#serving);
  }

  async #checkFor(node: NodeId, key: string): Promise<CheckOutcome> {
    if (!key.startsWith(checkKeyPrefix)) throw new PeerError('refused');
    if (this.#checking.has(node)) throw new PeerError('busy');
    this.#checking.add(node);
    try {
      return await this.tier.check(node, key);
    } finally {
      this.#checking.delete(node);
    }
  }

  #cap(name: string): TokenBucket | undefined {
    const { bytesPerSecondMax } = this.#options;
    if (bytesPerSecondMax === undefined) return undefined;
    const known = this.#caps.get(name);
    const cap = known ?? new TokenBucket(bytesPerSecondMax, dataBytesMax, this.#context.nowMs());
    this.#caps.set(name, cap);
    return cap;
  }
}

const leftMsOf = (expiresAtMs: number | null | undefined, nowMs: number): number =>
  typeof expiresAtMs === 'number' ? Math.max(1, expiresAtMs - nowMs) : 0;
