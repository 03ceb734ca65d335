/**
 * Which nodes of a region share KV: who told where its daemon listens, whom each reaches, and what each was last told
 * of the others. Pure. A node stays in the roster while it is away, for a while, so that a cut link ends no
 * transfer; who is removed leaves at once. Signs nothing, sends nothing and knows no key that a daemon holds.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import type { FabricPeer, PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvPeer } from '@cognitora/protocol/kv-fabric';
import { framePayloadBytesMax, kvFabricAwayMsMax, kvFabricNodesMax } from '@cognitora/protocol/limits';

/** Of a frame the roster takes so much: the rest is for two certificates. */
const rosterBytesMax = framePayloadBytesMax - 16 * 1024;
/** The roster, sent to all, takes at most so much of the edge's way out: of many nodes, changes wait for each other. */
const rosterBytesPerMs = 2 * 1024;
/** Changes within this time go together. */
export const rosterGatherMs = 250;

/** Why a node that told of a daemon is not in the roster. */
export type FabricRefusal = 'foreign-key' | 'roster-full';

/** The node's link that counts, and what it said over that. */
interface Linked {
  readonly epoch: Epoch;
  readonly name: string;
  /** By node, in the order in which they are to be asked: the nearest first. Undefined until it told KVPEER. */
  reach: ReadonlyMap<NodeId, PeerReach> | undefined;
  refusal: FabricRefusal | undefined;
  /** The roster that it was last sent, and until when that certificate need not be renewed. */
  sentVersion: number;
  renewAtMs: number;
}

interface Listed {
  readonly peer: FabricPeer;
  readonly bytes: number;
  /** Undefined while it is linked. */
  awaySinceMs: number | undefined;
}

/** What a transfer of a value of a usual size takes from there, for the order of holders. */
const costMs = ({ rttMs, bytesPerMs }: PeerReach): number => rttMs + 2 ** 20 / Math.max(1, bytesPerMs);

export class Fabric {
  readonly #linked = new Map<NodeId, Linked>();
  readonly #roster = new Map<NodeId, Listed>();
  #bytes = 0;
  /** Of the roster: a greater one differs. */
  #version = 1;
  #nextSendAtMs = Number.NEGATIVE_INFINITY;

  /** `stored` is the roster as it was when the object last ended: all of them have been away from now on. */
  constructor(stored: readonly FabricPeer[], nowMs: number) {
    for (const peer of stored) this.#list(peer, nowMs);
  }

  get roster(): readonly FabricPeer[] {
    return Array.from(this.#roster.values(), ({ peer }) => peer);
  }

  /** Until it tells of its daemon on this link the daemon counts as away. */
  joined(node: NodeId, epoch: Epoch, name: string, nowMs: number): void {
    const known = this.#linked.get(node);
    if (known !== undefined && known.epoch > epoch) return;
    const state = { reach: undefined, refusal: undefined, sentVersion: 0, renewAtMs: 0 };
    this.#linked.set(node, { epoch, name, ...state });
    const listed = this.#roster.get(node);
    if (listed !== undefined) listed.awaySinceMs ??= nowMs;
  }

  isCurrent(node: NodeId, epoch: Epoch): boolean {
    return this.#linked.get(node)?.epoch === epoch;
  }

  /** The node says where its daemon listens and whom it reaches. `isOwnKey`: the key that it names is its own. */
  told(node: NodeId, peer: KvPeer, isOwnKey: boolean): void {
    const linked = this.#linked.get(node);
    if (linked === undefined) return;
    if (!isOwnKey) {
      this.#refuse(node, linked, 'foreign-key');
      return;
    }
    const { publicKey, addresses } = peer;
    const shown: FabricPeer = { node, name: linked.name, publicKey, addresses };
    const before = this.#roster.get(node);
    if (before !== undefined && JSON.stringify(before.peer) === JSON.stringify(shown)) {
      before.awaySinceMs = undefined;
    } else if (!this.#list(shown, undefined)) {
      this.#refuse(node, linked, 'roster-full');
      return;
    }
    linked.refusal = undefined;
    linked.reach = new Map(
      peer.reach
        .filter((reached) => reached.node !== node)
        .toSorted((one, other) => costMs(one) - costMs(other))
        .map((reached) => [reached.node, reached]),
    );
  }

  left(node: NodeId, epoch: Epoch, nowMs: number): void {
    if (!this.isCurrent(node, epoch)) return;
    this.#linked.delete(node);
    const listed = this.#roster.get(node);
    if (listed !== undefined) listed.awaySinceMs = nowMs;
  }

  /** The node was removed from the edge. */
  remove(node: NodeId): void {
    this.#linked.delete(node);
    this.#unlist(node);
    // Others must not wait for it.
    this.#nextSendAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Takes those out who were away for too long. */
  expire(nowMs: number): void {
    for (const [node, listed] of this.#roster) {
      if (listed.awaySinceMs === undefined) continue;
      // The clock was set back.
      listed.awaySinceMs = Math.min(listed.awaySinceMs, nowMs);
      if (nowMs - listed.awaySinceMs >= kvFabricAwayMsMax) this.#unlist(node);
    }
  }

  /** Whom the node reaches of the roster, the nearest first; undefined while it has not said. */
  reachOf(node: NodeId): ReadonlyMap<NodeId, PeerReach> | undefined {
    return this.#linked.get(node)?.reach;
  }

  /** Linked nodes that told of a daemon and are not in the roster. */
  get refused(): readonly { readonly node: NodeId; readonly why: FabricRefusal }[] {
    return Array.from(this.#linked, ([node, { refusal }]) =>
      refusal === undefined ? [] : [{ node, why: refusal }],
    ).flat();
  }

  isListed(node: NodeId): boolean {
    return this.#roster.has(node);
  }

  get rosterCount(): number {
    return this.#roster.size;
  }

  /** Those of the roster that told of their daemon on the link that they have. */
  get linkedCount(): number {
    let count = 0;
    for (const { awaySinceMs } of this.#roster.values()) if (awaySinceMs === undefined) count += 1;
    return count;
  }

  /** When somebody is next to be told something; undefined while nobody is linked. */
  dueAtMs(nowMs: number): number | undefined {
    let dueMs: number | undefined;
    for (const { reach, sentVersion, renewAtMs } of this.#linked.values()) {
      if (reach === undefined) continue;
      const atMs = sentVersion < this.#version ? Math.max(nowMs, this.#nextSendAtMs) : renewAtMs;
      dueMs = Math.min(dueMs ?? atMs, atMs);
    }
    for (const { awaySinceMs } of this.#roster.values()) {
      if (dueMs === undefined || awaySinceMs === undefined) continue;
      dueMs = Math.min(dueMs, awaySinceMs + kvFabricAwayMsMax);
    }
    return dueMs;
  }

  /** Who is to be told the roster as it is; each counts as told. `renewAtMs`: when the certificate is due again. */
  due(nowMs: number, renewAtMs: number): readonly FabricPeer[] {
    const due: FabricPeer[] = [];
    for (const [node, linked] of this.#linked) {
      const listed = this.#roster.get(node);
      if (listed === undefined || linked.reach === undefined) continue;
      if (linked.sentVersion === this.#version && nowMs < linked.renewAtMs) continue;
      linked.sentVersion = this.#version;
      linked.renewAtMs = renewAtMs;
      due.push(listed.peer);
    }
    this.#nextSendAtMs = nowMs + (due.length * this.#bytes) / rosterBytesPerMs;
    return due;
  }

  #refuse(node: NodeId, linked: Linked, refusal: FabricRefusal): void {
    linked.refusal = refusal;
    linked.reach = undefined;
    this.#unlist(node);
  }

  /** False: the roster is full of nodes that are linked. */
  #list(peer: FabricPeer, awaySinceMs: number | undefined): boolean {
    const bytes = utf8(JSON.stringify(peer)).length + 1;
    const before = this.#roster.get(peer.node);
    const grows = bytes - (before?.bytes ?? 0);
    if (!this.#makeRoom(before === undefined, grows)) return false;
    this.#bytes += grows;
    this.#version += 1;
    this.#roster.set(peer.node, { peer, bytes, awaySinceMs });
    return true;
  }

  /** Those who were away for longest make room. */
  #makeRoom(isNew: boolean, grows: number): boolean {
    const isFull = (): boolean =>
      this.#bytes + grows > rosterBytesMax || (isNew && this.#roster.size >= kvFabricNodesMax);
    while (isFull()) {
      const away = [...this.#roster.values()].filter(({ awaySinceMs }) => awaySinceMs !== undefined);
      const [longest] = away.toSorted((one, other) => (one.awaySinceMs ?? 0) - (other.awaySinceMs ?? 0));
      if (longest === undefined) return false;
      this.#unlist(longest.peer.node);
    }
    return true;
  }

  #unlist(node: NodeId): void {
    const listed = this.#roster.get(node);
    if (listed === undefined) return;
    this.#roster.delete(node);
    this.#bytes -= listed.bytes;
    this.#version += 1;
  }
}
