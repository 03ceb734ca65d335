/**
 * All that one daemon has to do with others, put together: who they are, what is fetched from them and given to them,
 * and what the agent is told. The rest of the daemon sees `PeerAccess`. Started from plain options.
 */
import { readFileSync } from 'node:fs';
import { messageOf } from '@cognitora/protocol/errors';
import type { NodeId } from '@cognitora/protocol/ids';
import {
  anyNode,
  type FromDaemon,
  type KvDoctor,
  type KvFabric,
  type KvFetch,
  type KvFetched,
  type KvNamespace,
  type KvPeer,
  type KvPeers,
  type KvProbe,
  type PeerReach,
  type PeerTransport,
  tellsNoAddress,
} from '@cognitora/protocol/kv-daemon';
import { parseKvNamespaces } from '@cognitora/protocol/kv-daemon-bodies';
import { sideBySide } from '@cognitora/protocol/side-by-side';
import type { PeersOptions } from '../config/options.ts';
import { isSharedKey } from '../namespaces.ts';
import type { AgentChannel, PeerAccess } from '../peer-access.ts';
import type { KvStore } from '../store.ts';
import { AgentLines } from './agent-lines.ts';
import { Checks, parseOutcome } from './check.ts';
import { PeerError, peerErrorOf } from './codes.ts';
import { PeerCounters, type PeersCounts } from './counts.ts';
import { check, namespaces, newest } from './exchange.ts';
import { Fabric, type MemberView } from './fabric.ts';
import { HeldKeys } from './held-keys.ts';
import { type NodeKey, nodeKeyOf } from './identity.ts';
import { askedMsMax, dataBytesMax, fetchedTogetherMax, probedTogetherMax, servedShareMax } from './limits.ts';
import { type NewestAnswer, type NewestAsk, type NewestKeys, parseNewest } from './newest-keys.ts';
import { PeerTier, type TierCounts } from './peer-tier.ts';
import { ServedNow, serveChannel } from './serve.ts';
import { TokenBucket } from './token-bucket.ts';
import type { Channel } from './transport.ts';

export interface PeersContext {
  readonly store: KvStore;
  readonly namespaces: () => readonly KvNamespace[];
  /** Undefined: nothing is mirrored here. */
  readonly newest?: NewestKeys | undefined;
  readonly onError?: (message: string) => void;
  /** Monotonic, and since 1970. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
}

export class Peers implements PeerAccess {
  readonly fabric: Fabric;
  readonly tier: PeerTier;
  readonly held: HeldKeys;
  readonly #options: PeersOptions;
  readonly #context: PeersContext;
  readonly #lines = new AgentLines({ fabric: () => this.fabric, held: () => this.held });
  readonly #checks: Checks;
  readonly #counters = new PeerCounters();
  readonly #serving: ServedNow;
  readonly #caps = new Map<string, TokenBucket>();

  /** Listens, and is the store's source of values from then on. Throws without a key that can be read, or a port. */
  static async start(options: PeersOptions, context: PeersContext): Promise<Peers> {
    const peers = new Peers(options, context);
    for (const endpoint of options.listen) await peers.fabric.listen(endpoint, options.advertise);
    context.store.peers = peers.tier;
    context.store.onChanged = (key) => peers.held.changed(key);
    return peers;
  }

  private constructor(options: PeersOptions, context: PeersContext) {
    const { store, nowMs, wallMs, random, onError = () => {} } = context;
    this.#options = options;
    this.#context = context;
    this.#serving = new ServedNow(store.ram.counts.bytesMax * servedShareMax);
    this.held = new HeldKeys(store, () => this.#lines.onHeld());
    const counters = this.#counters;
    this.fabric = new Fabric({
      key: keyIn(options.identity),
      counters,
      nowMs,
      random,
      onReach: () => this.#changed(),
      onError,
      onChannel: (channel, transport) => void this.#serve(channel, transport),
    });
    const ask = (digests: readonly string[]) => this.#lines.ask(digests);
    const cap = (node: NodeId): TokenBucket | undefined => this.#cap(`from ${node}`);
    this.tier = new PeerTier({ store, fabric: this.fabric, counters, ask, cap, nowMs, wallMs });
    this.#checks = new Checks(store, this.tier, nowMs);
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
  }

  attach(send: (line: FromDaemon) => boolean): AgentChannel {
    return this.#lines.attach(send);
  }

  async fetch({ keys, node, deadlineMs }: KvFetch, signal: AbortSignal): Promise<KvFetched> {
    const { store, nowMs } = this.#context;
    const startedMs = nowMs();
    const missing: string[] = [];
    let [fetched, bytes] = [0, 0];
    await sideBySide(keys, fetchedTogetherMax, async (key) => {
      if (store.has(key)) return;
      const leftMs = deadlineMs - (nowMs() - startedMs);
      const options = { node: node === anyNode ? undefined : node, deadlineMs: leftMs };
      const held = leftMs > 0 && !signal.aborted ? await this.tier.fetch(key, options) : undefined;
      fetched += held === undefined ? 0 : 1;
      bytes += held?.bytes.length ?? 0;
      if (held === undefined) missing.push(key);
      held?.release();
    });
    return { fetched, bytes, ms: nowMs() - startedMs, missing };
  }

  peers(): KvPeers {
    const { peers: rows } = this.#counters.counts;
    const reach = new Map(this.reach.map(({ node, ...figures }) => [node, figures]));
    const peers = this.members.map(({ node, name, paths }): KvPeer => {
      const ours = rows.filter((row) => row.node === node);
      const sum = (of: (row: (typeof rows)[number]) => number): number =>
        ours.reduce((all, row) => all + of(row), 0);
      const traffic = { receivedBytes: sum((row) => row.bytesIn), sentBytes: sum((row) => row.bytesOut) };
      const figures = reach.get(node);
      const why = figures === undefined ? { why: whyOf(paths) ?? 'not looked at yet' } : {};
      return { node, name, ...figures, ...why, ...traffic };
    });
    const { node, self, isTold } = this.fabric;
    return { node, addresses: self.addresses, hasFabric: isTold, peers };
  }

  async doctor(node: NodeId | undefined, signal: AbortSignal): Promise<Pick<KvDoctor, 'probes' | 'why'>> {
    const asked = this.members.filter((member) => node === undefined || member.node === node);
    const probes: KvProbe[] = [];
    await sideBySide(asked, probedTogetherMax, async (member) => {
      if (!signal.aborted) probes.push(await this.#probe(member));
    });
    return asked.length > 0 ? { probes } : { probes, why: this.#whyNobody(node) };
  }

  /** Files that its engines wrote last. Throws `PeerError`. */
  newest(node: NodeId, ask: NewestAsk): Promise<NewestAnswer> {
    return this.#asking(node, async (channel) => parseNewest(await newest(channel, ask), ask));
  }

  async close(): Promise<void> {
    this.#context.store.peers = undefined;
    this.#context.store.onChanged = undefined;
    this.#lines.close();
    await this.fabric.close();
  }

  #changed(): void {
    for (const name of this.#caps.keys()) {
      if (!this.fabric.has(name.slice(name.indexOf(' ') + 1) as NodeId)) this.#caps.delete(name);
    }
    this.#lines.onReach();
  }

  #whyNobody(node: NodeId | undefined): string {
    if (!this.fabric.isTold) return 'No agent has told this kvcached of a fleet yet.';
    return node === undefined ? 'No other node of the fleet has a kvcached.' : `${node} has no kvcached.`;
  }

  /** Never rejects. */
  async #probe({ node, name, paths }: MemberView): Promise<KvProbe> {
    let theirs: readonly KvNamespace[] = [];
    try {
      theirs = parseKvNamespaces(await this.#asking(node, namespaces));
      const checked = await this.#checks.probe(node, this.#context.wallMs(), async (key, msMax) =>
        parseOutcome(await this.#asking(node, (channel) => check(channel, key, msMax))),
      );
      const { transport } = this.reach.find((one) => one.node === node) ?? {};
      return { node, name, isOk: true, ...checked, ...(transport && { transport }), namespaces: theirs };
    } catch (thrown) {
      const why = messageOf(thrown);
      return { node, name, isOk: false, why: whyOf(paths) ?? why, namespaces: theirs };
    }
  }

  /** By the best path, and by the next where that fails, unless the peer is slow: it is so on all. */
  async #asking<Answer>(node: NodeId, asks: (channel: Channel) => Promise<Answer>): Promise<Answer> {
    let last = new PeerError('unreachable');
    const endsAtMs = this.#context.nowMs() + askedMsMax;
    for (const path of this.fabric.pathsTo(node, 0)) {
      try {
        return await asks(await path.trunk.take());
      } catch (thrown) {
        last = peerErrorOf(thrown);
        this.#counters.failed(node, path.transport, last.code);
        const isFinal = last.code === 'missing' || last.code === 'busy' || last.code === 'stalled';
        if (isFinal || this.#context.nowMs() >= endsAtMs) break;
      }
    }
    throw last;
  }

  async #serve(channel: Channel, transport: PeerTransport): Promise<void> {
    const { store, namespaces, nowMs, wallMs, newest: newestKeys } = this.#context;
    const { node } = channel;
    const onSent = (bytes: number, isValue: boolean): void => {
      const counts = this.#counters.of(node, transport);
      counts.bytesOut += bytes;
      counts.served += isValue ? 1 : 0;
    };
    const served = {
      hold: (key: string) => (isSharedKey(key) ? store.getHere(key) : undefined),
      leftMs: (key: string) => leftMsOf(store.expiresAtMs(key), wallMs()),
      namespaces,
      check: (asker: NodeId, key: string) => this.#checks.fetchFor(asker, key),
      newest: (ask: NewestAsk) => newestKeys?.since(ask),
      cap: () => this.#cap(`to ${node}`),
      nowMs,
      onSent,
      onFailed: (code: PeerError['code']) => this.#counters.failed(node, transport, code),
    };
    await serveChannel(channel, served, this.#serving);
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

/** Throws what a person can do something about. */
const keyIn = (path: string): NodeKey => {
  try {
    return nodeKeyOf(readFileSync(path));
  } catch (thrown) {
    const why = messageOf(thrown);
    // No mistake of the configuration: an agent that joins later makes it, so a service manager tries again.
    throw new Error(
      `This node's key cannot be read from ${path}: ${why}. The agent makes it when it joins a fleet; ` +
        'identity names where it keeps it.',
    );
  }
};

const leftMsOf = (expiresAtMs: number | null | undefined, nowMs: number): number =>
  typeof expiresAtMs === 'number' ? Math.max(1, expiresAtMs - nowMs) : 0;

/** Why no path works: the last failure of each. */
const whyOf = (paths: MemberView['paths']): string | undefined => {
  const failed = paths.flatMap(({ transport, host, port, why }) =>
    why === undefined ? [] : [`${transport} ${host}:${port} ${why}`],
  );
  if (paths.length === 0) return tellsNoAddress;
  return failed.length === paths.length ? failed.join(', ') : undefined;
};
