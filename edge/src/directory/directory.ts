/**
 * Who can serve what, and who serves which request now: the pure core of a region. Owns nodes, epochs' order, replicas
 * and reservations; decides where a request goes and books it in the same turn, so that the siblings of a burst see
 * it. Loads are derived from the set of live reservations, never counted up and down. Never touches a socket, a clock
 * or a disk: time, leases and randomness come in with each call.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  type Epoch,
  type NodeId,
  type ReplicaId,
  type ReplicaName,
  replicaIdOf,
} from '@cognitora/protocol/ids';
import {
  modelMemoryMsMax,
  modelsRememberedMax,
  streamsPerLinkMax,
  unnamedLoadMsMax,
} from '@cognitora/protocol/limits';
import type { ModelCard, ReplicaReport, ReplicaState } from '@cognitora/protocol/link';
import { type Candidate, chooseLeastLoaded } from '../policy/least-loaded.ts';

/** One live request on one replica; unique for the life of a directory. */
export type Reservation = number & { readonly reservation: unique symbol };

export interface NodeView {
  readonly node: NodeId;
  readonly name: string;
  readonly epoch: Epoch;
  readonly connectedAtMs: number;
  readonly live: number;
  readonly replicas: readonly {
    readonly name: ReplicaName;
    readonly state: ReplicaState;
    readonly models: readonly string[];
    readonly live: number;
  }[];
}

interface Replica {
  readonly id: ReplicaId;
  readonly node: NodeEntry;
  readonly name: ReplicaName;
  state: ReplicaState;
  models: readonly ModelCard[];
  /** Since when it may be loading without having said what; undefined for any other. */
  unnamedSinceMs: number | undefined;
  readonly live: Set<Reservation>;
}

interface NodeEntry {
  readonly node: NodeId;
  readonly name: string;
  readonly epoch: Epoch;
  readonly connectedAtMs: number;
  replicas: Map<ReplicaName, Replica>;
}

export interface Decision {
  readonly reservation: Reservation;
  readonly node: NodeId;
  readonly epoch: Epoch;
  readonly replica: ReplicaName;
}

export interface DecideOptions {
  readonly model: string;
  readonly nowMs: number;
  /** Whether the node's lease holds now. */
  readonly isLeased: (node: NodeId) => boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export class Directory {
  readonly #nodes = new Map<NodeId, NodeEntry>();
  /** Who serves each model; a replica stands under each of its models. */
  readonly #servers = new Map<string, Set<Replica>>();
  readonly #reservations = new Map<Reservation, Replica>();
  /** When each model was last seen, so that "gone for a moment" and "never heard of" differ. */
  readonly #modelSeenMs = new Map<string, number>();
  #nextReservation = 1;

  /** A node's link is open. An older epoch of the same node is gone with all it served. */
  join(node: NodeId, epoch: Epoch, name: string, replicas: readonly ReplicaReport[], nowMs: number): void {
    const known = this.#nodes.get(node);
    if (known !== undefined && known.epoch > epoch) {
      throw new CognitoraError('superseded', 'A newer link of this node is open.');
    }
    if (known !== undefined) this.#forget(known);
    this.#nodes.set(node, { node, name, epoch, connectedAtMs: nowMs, replicas: new Map() });
    this.report(node, epoch, replicas, nowMs);
  }

  /** The node's replicas as they are now; a replica that is not named is gone. */
  report(node: NodeId, epoch: Epoch, reports: readonly ReplicaReport[], nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    const before = entry.replicas;
    entry.replicas = new Map();
    for (const { name, state, models } of reports) {
      const id = replicaIdOf(node, name);
      const replica = before.get(name) ?? newReplica(id, entry, name);
      // Many an engine opens its port only once it is loaded: until then its agent calls it failed.
      const isUnnamed = (state === 'loading' || state === 'failed') && models.length === 0;
      replica.unnamedSinceMs = isUnnamed ? (replica.unnamedSinceMs ?? nowMs) : undefined;
      replica.state = state;
      this.#serve(replica, models);
      entry.replicas.set(name, replica);
      before.delete(name);
      this.#remember(models, nowMs);
    }
    for (const gone of before.values()) this.#retire(gone);
  }

  /** The node's link closed. Says nothing about a newer epoch. */
  leave(node: NodeId, epoch: Epoch, nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    for (const replica of entry.replicas.values()) this.#remember(replica.models, nowMs);
    this.#forget(entry);
  }

  /**
   * Chooses a replica and books the request. Throws `no_capacity` when nobody can serve the model now, but some replica
   * does otherwise, lately did, or may once it is loaded; `model_not_found` when none does, `no_nodes` without nodes.
   */
  decide(options: DecideOptions): Decision {
    const { model, random } = options;
    const candidates: (Candidate & { readonly replica: Replica })[] = [];
    for (const replica of this.#servers.get(model) ?? []) {
      if (isEligible(replica, options.isLeased)) candidates.push({ replica, live: replica.live.size });
    }
    const chosen = chooseLeastLoaded(candidates, random)?.replica;
    if (chosen === undefined) throw this.#noReplica(options);
    const reservation = this.#nextReservation as Reservation;
    this.#nextReservation += 1;
    chosen.live.add(reservation);
    this.#reservations.set(reservation, chosen);
    return { reservation, node: chosen.node.node, epoch: chosen.node.epoch, replica: chosen.name };
  }

  /** The request is over. Releasing twice, or after its node left, means nothing. */
  release(reservation: Reservation): void {
    const replica = this.#reservations.get(reservation);
    if (replica === undefined) return;
    this.#reservations.delete(reservation);
    replica.live.delete(reservation);
  }

  /** Models that a ready or loading replica of a leased node serves, by name. */
  models(isLeased: (node: NodeId) => boolean): readonly ModelCard[] {
    const cards = new Map<string, ModelCard>();
    for (const { node, replicas } of this.#nodes.values()) {
      if (!isLeased(node)) continue;
      for (const { state, models } of replicas.values()) {
        if (state === 'failed') continue;
        for (const model of models) cards.set(model.id, model);
      }
    }
    return [...cards.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
  }

  /** Whether any request could be served now. */
  isReady(isLeased: (node: NodeId) => boolean): boolean {
    for (const { replicas } of this.#nodes.values()) {
      for (const replica of replicas.values()) if (isEligible(replica, isLeased)) return true;
    }
    return false;
  }

  nodes(): readonly NodeView[] {
    return [...this.#nodes.values()].map(({ node, name, epoch, connectedAtMs, replicas }) => {
      const views = [...replicas.values()].map((replica) => ({
        name: replica.name,
        state: replica.state,
        models: replica.models.map((model) => model.id),
        live: replica.live.size,
      }));
      const live = views.reduce((sum, replica) => sum + replica.live, 0);
      return { node, name, epoch, connectedAtMs, live, replicas: views };
    });
  }

  /** Moves a replica from the models it served to those it serves. */
  #serve(replica: Replica, models: readonly ModelCard[]): void {
    for (const { id } of replica.models) {
      const servers = this.#servers.get(id);
      servers?.delete(replica);
      if (servers?.size === 0) this.#servers.delete(id);
    }
    for (const { id } of models) {
      const servers = this.#servers.get(id) ?? new Set();
      this.#servers.set(id, servers.add(replica));
    }
    replica.models = models;
  }

  #noReplica({ model, nowMs, isLeased }: DecideOptions): CognitoraError {
    const seenMs = this.#modelSeenMs.get(model);
    const isRecent = seenMs !== undefined && nowMs - seenMs <= modelMemoryMsMax;
    if (isRecent || this.#servers.has(model)) {
      const message = `No replica can serve ${JSON.stringify(model)} now. Check "cgn nodes", then try again.`;
      return new CognitoraError('no_capacity', message, { retryAfterSeconds: 5 });
    }
    if (this.#nodes.size === 0) {
      const message = 'No node is connected. Start an agent on a GPU host: "cgn agent --help" tells how.';
      return new CognitoraError('no_nodes', message, { retryAfterSeconds: 5 });
    }
    if (this.#isSomeUnnamed(nowMs, isLeased)) {
      const message = `Nobody serves ${JSON.stringify(model)} yet; one replica loads and has not said what.`;
      return new CognitoraError('no_capacity', message, { retryAfterSeconds: 5 });
    }
    return new CognitoraError(
      'model_not_found',
      `The model ${JSON.stringify(model)} does not exist here. GET /v1/models lists those that do.`,
      { param: 'model' },
    );
  }

  /** Whether some replica loads a model that nobody knows yet: it may be any. */
  #isSomeUnnamed(nowMs: number, isLeased: (node: NodeId) => boolean): boolean {
    for (const { node, replicas } of this.#nodes.values()) {
      for (const { unnamedSinceMs } of replicas.values()) {
        const isAwaited = unnamedSinceMs !== undefined && nowMs - unnamedSinceMs <= unnamedLoadMsMax;
        if (isAwaited && isLeased(node)) return true;
      }
    }
    return false;
  }

  #remember(models: readonly ModelCard[], nowMs: number): void {
    for (const { id } of models) {
      this.#modelSeenMs.delete(id);
      this.#modelSeenMs.set(id, nowMs);
    }
    for (const oldest of this.#modelSeenMs.keys()) {
      if (this.#modelSeenMs.size <= modelsRememberedMax) return;
      this.#modelSeenMs.delete(oldest);
    }
  }

  #current(node: NodeId, epoch: Epoch): NodeEntry | undefined {
    const entry = this.#nodes.get(node);
    return entry?.epoch === epoch ? entry : undefined;
  }

  #forget(entry: NodeEntry): void {
    for (const replica of entry.replicas.values()) this.#retire(replica);
    this.#nodes.delete(entry.node);
  }

  #retire(replica: Replica): void {
    this.#serve(replica, []);
    for (const reservation of replica.live) this.#reservations.delete(reservation);
    replica.live.clear();
  }
}

const newReplica = (id: ReplicaId, node: NodeEntry, name: ReplicaName): Replica => ({
  id,
  node,
  name,
  state: 'loading',
  models: [],
  unnamedSinceMs: undefined,
  live: new Set(),
});

/** The one filter every path goes through: leased, ready, and with a stream to spare on its link. */
const isEligible = (replica: Replica, isLeased: (node: NodeId) => boolean): boolean => {
  if (replica.state !== 'ready' || !isLeased(replica.node.node)) return false;
  let live = 0;
  for (const sibling of replica.node.replicas.values()) live += sibling.live.size;
  return live < streamsPerLinkMax;
};
