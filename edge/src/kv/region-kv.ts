/**
 * KV between the hosts of one region: shell around its fabric and its map of keys. Checks keys, signs certificates,
 * sends rosters when they changed and answers who holds a key. Told of links and frames by the region's object; tells
 * its directory whose KV can move. Never sees KV.
 */
import { fromBase64Url } from '@cognitora/protocol/bytes';
import { nodeIdOf } from '@cognitora/protocol/identity';
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import { encodeKvFabric, encodeKvHolders, type KvAsk, type KvPeer } from '@cognitora/protocol/kv-fabric';
import type { Clock } from '../clock.ts';
import type { KvToAgent } from '../link/edge-link.ts';
import type { KvFabricMessage } from '../link/kv-intake.ts';
import { Fabric, type FabricRefusal, rosterGatherMs } from './fabric.ts';
import { FabricStore } from './fabric-store.ts';
import { type FleetCa, fleetCaOf, nodeCertificateMs } from './fleet-ca.ts';
import { KeyHolders } from './key-holders.ts';

export interface RegionKvOptions {
  readonly sql: SqlStorage;
  readonly clock: Clock;
  readonly fleetSecret: string;
  /** Any 32-bit number that nodes do not know. */
  readonly secret: number;
  readonly keyMapsMax: number;
  readonly isLeased: (node: NodeId) => boolean;
  readonly tell: (node: NodeId, frame: KvToAgent, payload: Uint8Array) => void;
  /** Whose KV moves, and whom it reaches; undefined: nobody's of that node. */
  readonly onPeer: (node: NodeId, epoch: Epoch, peer: KvPeer | undefined) => void;
}

export interface RegionKvView {
  /** In the roster, and those of them that are linked. */
  readonly nodes: number;
  readonly linkedNodes: number;
  /** Of all nodes, copies counted. */
  readonly keys: number;
  /** Digests that were asked for, and holders named for them, since the object started. */
  readonly asked: number;
  readonly named: number;
  /** Requests that went with word of who holds their beginning. */
  readonly suggested: number;
  readonly refused: readonly { readonly node: NodeId; readonly why: FabricRefusal }[];
}

/** A timer no longer than this: what lies farther ahead is looked at again. */
const timerMsMax = 3_600_000;

export class RegionKv {
  readonly #options: RegionKvOptions;
  readonly #store: FabricStore;
  readonly #fabric: Fabric;
  readonly #holders: KeyHolders;
  #ca: Promise<FleetCa> | undefined;
  /** KVPEERs are checked one after the other. */
  #checks: Promise<void> = Promise.resolve();
  #sends: Promise<void> = Promise.resolve();
  #timer: { readonly atMs: number; readonly handle: ReturnType<typeof setTimeout> } | undefined;
  #asked = 0;
  #named = 0;
  #suggested = 0;

  constructor(options: RegionKvOptions) {
    this.#options = options;
    this.#store = new FabricStore(options.sql);
    this.#fabric = new Fabric(this.#store.peers, options.clock());
    this.#holders = new KeyHolders({ secret: options.secret, mapsMax: options.keyMapsMax });
  }

  get view(): RegionKvView {
    const { rosterCount, linkedCount, refused } = this.#fabric;
    return {
      ...{ nodes: rosterCount, linkedNodes: linkedCount, refused },
      ...{ keys: this.#holders.keys, asked: this.#asked, named: this.#named, suggested: this.#suggested },
    };
  }

  /** A request goes to a node that had better fetch its beginning. */
  suggested(): void {
    this.#suggested += 1;
  }

  joined(node: NodeId, epoch: Epoch, name: string): void {
    this.#fabric.joined(node, epoch, name, this.#options.clock());
    // A daemon tells its keys anew on each link.
    if (this.#fabric.isCurrent(node, epoch)) this.#holders.forget(node);
  }

  left(node: NodeId, epoch: Epoch): void {
    if (!this.#fabric.isCurrent(node, epoch)) return;
    this.#fabric.left(node, epoch, this.#options.clock());
    this.#holders.forget(node);
  }

  /** The node was removed from the edge: the others hear of it at once. */
  remove(node: NodeId): void {
    this.#fabric.remove(node);
    this.#holders.forget(node);
    this.#send();
  }

  heard(node: NodeId, epoch: Epoch, message: KvFabricMessage): void {
    if (!this.#fabric.isCurrent(node, epoch)) return;
    if (message.type === 'held') this.#holders.heard(node, message.held);
    else if (message.type === 'ask') this.#answer(node, message.ask);
    else this.#checks = this.#checks.then(() => this.#told(node, epoch, message.peer)).catch(() => {});
  }

  async #told(node: NodeId, epoch: Epoch, peer: KvPeer): Promise<void> {
    const key = fromBase64Url(peer.publicKey) ?? new Uint8Array();
    const isOwnKey = nodeIdOf(new Uint8Array(await crypto.subtle.digest('SHA-256', key))) === node;
    if (!this.#fabric.isCurrent(node, epoch)) return;
    this.#fabric.told(node, peer, isOwnKey);
    this.#options.onPeer(node, epoch, this.#fabric.reachOf(node) === undefined ? undefined : peer);
    this.#sendSoon();
  }

  #answer(node: NodeId, { ask, digests }: KvAsk): void {
    const { isLeased, tell } = this.#options;
    const reached = [...(this.#fabric.reachOf(node)?.keys() ?? [])];
    const nodes = reached.filter((other) => this.#fabric.isListed(other) && isLeased(other));
    const holders = this.#holders.among(nodes, digests);
    this.#asked += digests.length / 2;
    for (const places of holders) this.#named += places.length;
    // Only those that are named.
    const named = [...new Set(holders.flat())].sort((one, other) => one - other);
    const placeOf = new Map(named.map((at, place) => [at, place]));
    const answer = {
      ask,
      nodes: named.flatMap((at) => nodes[at] ?? []),
      holders: holders.map((places) => places.flatMap((at) => placeOf.get(at) ?? [])),
    };
    tell(node, 'kvholders', encodeKvHolders(answer));
  }

  /** Sees to it that whatever is due next is sent then; changes of a moment go together. */
  #sendSoon(): void {
    const nowMs = this.#options.clock();
    const dueMs = this.#fabric.dueAtMs(nowMs);
    if (dueMs === undefined) return;
    const atMs = Math.min(Math.max(dueMs, nowMs + rosterGatherMs), nowMs + timerMsMax);
    if (this.#timer !== undefined && this.#timer.atMs <= atMs) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer.handle);
    const handle = setTimeout(() => this.#send(), atMs - nowMs);
    this.#timer = { atMs, handle };
  }

  #send(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer.handle);
    this.#timer = undefined;
    const nowMs = this.#options.clock();
    this.#fabric.expire(nowMs);
    this.#store.save(this.#fabric.roster);
    const due = this.#fabric.due(nowMs, nowMs + nodeCertificateMs / 2);
    // One after the other, each with the roster as it is by then: no older one comes last.
    for (const { node, publicKey } of due) {
      this.#sends = this.#sends.then(() => this.#tell(node, publicKey, nowMs)).catch(() => {});
    }
    this.#sendSoon();
  }

  async #tell(node: NodeId, publicKey: string, nowMs: number): Promise<void> {
    this.#ca ??= fleetCaOf(this.#options.fleetSecret);
    const ca = await this.#ca;
    const certificate = await ca.issue(node, fromBase64Url(publicKey) ?? new Uint8Array(), nowMs);
    if (!this.#fabric.isListed(node)) return;
    const fabric = { ca: ca.certificate, certificate, peers: this.#fabric.roster };
    this.#options.tell(node, 'kvfabric', encodeKvFabric(fabric));
  }
}
