/**
 * Who can serve what, and who serves which request now: the pure core of a region. Owns nodes, epochs' order, replicas,
 * the cells of each model, and reservations; asks at most two cells where a request goes and books it in the same turn,
 * so that the siblings of a burst see it. Loads are derived from the set of live reservations, never counted up and
 * down. Never touches a socket, a clock or a disk: time, leases and randomness come in with each call.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  type Epoch,
  type NodeId,
  type ReplicaId,
  type ReplicaName,
  replicaIdOf,
} from '@cognitora/protocol/ids';
import type { Trust } from '@cognitora/protocol/kv';
import {
  modelMemoryMsMax,
  modelsRememberedMax,
  streamsPerLinkMax,
  unnamedLoadMsMax,
} from '@cognitora/protocol/limits';
import type { ModelCard, ReplicaReport, ReplicaState } from '@cognitora/protocol/link';
import { defaultPolicy, type Policy } from '../policy/policy.ts';
import {
  Cell,
  type CellRequest,
  type Choice,
  type Member,
  newReplicaWork,
  type ReplicaWork,
  type Settlement,
} from './cell.ts';
import { anchorOf, rendezvousScore } from './cell-choice.ts';
import type { KvFeed } from './kv-feed.ts';
import type { Reservation } from './load.ts';
import { replicasPerCellMax } from './replica-slots.ts';
import { SnapshotTurns } from './snapshot-turns.ts';

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

interface Seat {
  readonly cell: Cell;
  readonly member: Member;
}

interface Replica {
  readonly id: ReplicaId;
  readonly node: NodeEntry;
  readonly name: ReplicaName;
  state: ReplicaState;
  models: readonly ModelCard[];
  /** Since when it may be loading without having said what; undefined for any other. */
  unnamedSinceMs: number | undefined;
  readonly work: ReplicaWork;
  /** By model. */
  readonly seats: Map<string, Seat>;
}

interface NodeEntry {
  readonly node: NodeId;
  readonly name: string;
  readonly epoch: Epoch;
  readonly connectedAtMs: number;
  replicas: Map<ReplicaName, Replica>;
}

/** What routing knows of a prompt. */
export interface PromptView {
  /** Digests from its start, as pairs of low and high word; empty when there are none. */
  readonly chain: Uint32Array;
  readonly promptTokens: number;
  /** Tokens that one digest stands for. */
  readonly blockTokens: number;
}

export interface Decision {
  readonly reservation: Reservation;
  readonly node: NodeId;
  readonly epoch: Epoch;
  readonly replica: ReplicaName;
  /** Tokens of the prompt that are expected in the replica's cache. */
  readonly expectedTokens: number;
  readonly trust: Trust;
  readonly policy: string;
  /** Replicas that could have served it. */
  readonly candidates: number;
}

export interface DecideOptions {
  readonly model: string;
  readonly prompt: PromptView;
  readonly nowMs: number;
  /** Whether the node's lease holds now. */
  readonly isLeased: (node: NodeId) => boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface DirectoryOptions {
  /** Any 32-bit number that peers do not know: it keeps them from crowding the maps. */
  readonly secret: number;
  /** Asks the agent for a snapshot of what this replica holds of this model; returns the request's number. */
  readonly askSnapshot: (node: NodeId, replica: ReplicaName, model: string) => number;
  readonly policy?: Policy;
  /** Replicas of one cell; the default is as many as a map's planes have bits. */
  readonly cellReplicasMax?: number;
  readonly mapBytes?: number;
}

/** What the directory knows of each model that it serves. */
interface ServedModel {
  readonly cells: Cell[];
  readonly replicaOf: Map<Member, Replica>;
  policy: Policy;
  shadow: Policy | undefined;
}

export class Directory {
  readonly #options: DirectoryOptions;
  readonly #nodes = new Map<NodeId, NodeEntry>();
  readonly #models = new Map<string, ServedModel>();
  readonly #reservations = new Map<Reservation, Cell>();
  readonly #turns = new SnapshotTurns();
  /** When each model was last seen, so that "gone for a moment" and "never heard of" differ. */
  readonly #modelSeenMs = new Map<string, number>();
  #nextReservation = 1;

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /** A node's link is open. An older epoch of the same node is gone with all it served. */
  join(node: NodeId, epoch: Epoch, name: string, replicas: readonly ReplicaReport[], nowMs: number): void {
    const known = this.#nodes.get(node);
    if (known !== undefined && known.epoch > epoch) {
      throw new CognitoraError('superseded', 'A newer link of this node is open.');
    }
    if (known !== undefined) this.#forget(known, nowMs);
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
      this.#serve(replica, models, nowMs);
      entry.replicas.set(name, replica);
      before.delete(name);
      this.#remember(models, nowMs);
    }
    for (const gone of before.values()) this.#retire(gone, nowMs);
  }

  /** The node's link closed. Says nothing about a newer epoch. */
  leave(node: NodeId, epoch: Epoch, nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    for (const replica of entry.replicas.values()) this.#remember(replica.models, nowMs);
    this.#forget(entry, nowMs);
  }

  /**
   * Chooses a replica and books the request. Throws `no_capacity` when nobody can serve the model now, but some replica
   * does otherwise, lately did, or may once it is loaded; `model_not_found` when none does, `no_nodes` without nodes.
   */
  decide(options: DecideOptions): Decision {
    const { model, prompt, nowMs, random } = options;
    const served = this.#models.get(model);
    if (served === undefined) throw this.#noReplica(options);
    const request: CellRequest = {
      ...prompt,
      nowMs,
      random,
      isEligible: (member) => isEligible(served.replicaOf.get(member), options.isLeased),
    };
    const best =
      bestChoice(chooseCells(served.cells, prompt.chain), request) ?? bestChoice(served.cells, request);
    const replica = best === undefined ? undefined : served.replicaOf.get(best.choice.member);
    if (best === undefined || replica === undefined) throw this.#noReplica(options);
    const reservation = this.#nextReservation as Reservation;
    this.#nextReservation += 1;
    best.cell.book(reservation, best.choice, request);
    this.#reservations.set(reservation, best.cell);
    return {
      reservation,
      node: replica.node.node,
      epoch: replica.node.epoch,
      replica: replica.name,
      expectedTokens: best.choice.expectedTokens,
      trust: best.cell.trustOf(best.choice.member),
      policy: best.cell.policy,
      candidates: best.choice.candidates.length,
    };
  }

  /** The engine's first body byte has come. */
  firstByte(reservation: Reservation, nowMs: number): void {
    this.#reservations.get(reservation)?.firstByte(reservation, nowMs);
  }

  /** The request is over. Settling twice, or after its node left, means nothing. */
  settle(reservation: Reservation, settlement: Settlement): void {
    const cell = this.#reservations.get(reservation);
    if (cell === undefined) return;
    this.#reservations.delete(reservation);
    cell.settle(reservation, settlement);
  }

  /** What the agent says of a replica's cache goes here; undefined for an old epoch, or what the node does not serve. */
  feed(node: NodeId, epoch: Epoch, replica: ReplicaName, model: string): KvFeed | undefined {
    return this.#current(node, epoch)?.replicas.get(replica)?.seats.get(model)?.member.feed;
  }

  /** The replica's agent knows its cache that well, and will tell: asks it for what is there now. */
  announce(node: NodeId, epoch: Epoch, replica: ReplicaName, trust: Trust, nowMs: number): void {
    const seats = this.#current(node, epoch)?.replicas.get(replica)?.seats.values() ?? [];
    for (const { member } of seats) {
      member.announced = trust;
      member.feed.open(epoch, nowMs);
    }
  }

  /** Decides this model's requests by these policies from now on. False when nobody serves the model. */
  usePolicies(model: string, policy: Policy, shadow: Policy | undefined): boolean {
    const served = this.#models.get(model);
    if (served === undefined) return false;
    served.policy = policy;
    served.shadow = shadow;
    for (const cell of served.cells) {
      cell.usePolicy(policy);
      cell.useShadow(shadow);
    }
    return true;
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
        live: replica.work.load.live,
      }));
      const live = views.reduce((sum, replica) => sum + replica.live, 0);
      return { node, name, epoch, connectedAtMs, live, replicas: views };
    });
  }

  /** Moves a replica from the models it served to those it serves. */
  #serve(replica: Replica, models: readonly ModelCard[], nowMs: number): void {
    const ids = new Set(models.map(({ id }) => id));
    for (const [id, { cell, member }] of replica.seats) {
      if (ids.has(id)) continue;
      replica.seats.delete(id);
      cell.leave(member, nowMs);
      this.#vacate(id, cell, member);
    }
    for (const id of ids) {
      if (!replica.seats.has(id)) replica.seats.set(id, this.#seat(replica, id));
    }
    replica.models = models;
  }

  #vacate(model: string, cell: Cell, member: Member): void {
    const served = this.#models.get(model);
    if (served === undefined) return;
    served.replicaOf.delete(member);
    if (cell.size === 0) served.cells.splice(served.cells.indexOf(cell), 1);
    if (served.cells.length === 0) this.#models.delete(model);
  }

  #seat(replica: Replica, model: string): Seat {
    const { policy = defaultPolicy, askSnapshot } = this.#options;
    const served: ServedModel = this.#models.get(model) ?? {
      cells: [],
      replicaOf: new Map(),
      policy,
      shadow: undefined,
    };
    this.#models.set(model, served);
    const cell = served.cells.find((known) => !known.isFull) ?? this.#addCell(served);
    const ask = (): number => askSnapshot(replica.node.node, replica.name, model);
    const member = cell.join(replica.work, ask);
    served.replicaOf.set(member, replica);
    return { cell, member };
  }

  #addCell(served: ServedModel): Cell {
    const { secret, cellReplicasMax = replicasPerCellMax, mapBytes } = this.#options;
    const replicasMax = Math.min(cellReplicasMax, replicasPerCellMax);
    const cell = new Cell({
      secret,
      turns: this.#turns,
      replicasMax,
      ...(mapBytes === undefined ? {} : { mapBytes }),
    });
    cell.usePolicy(served.policy);
    cell.useShadow(served.shadow);
    served.cells.push(cell);
    return cell;
  }

  #noReplica({ model, nowMs, isLeased }: DecideOptions): CognitoraError {
    const seenMs = this.#modelSeenMs.get(model);
    const isRecent = seenMs !== undefined && nowMs - seenMs <= modelMemoryMsMax;
    if (isRecent || this.#models.has(model)) {
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

  #forget(entry: NodeEntry, nowMs: number): void {
    for (const replica of entry.replicas.values()) this.#retire(replica, nowMs);
    this.#nodes.delete(entry.node);
  }

  #retire(replica: Replica, nowMs: number): void {
    for (const reservation of replica.work.load.reservations) this.#reservations.delete(reservation);
    replica.work.load.clear();
    this.#serve(replica, [], nowMs);
  }
}

const newReplica = (id: ReplicaId, node: NodeEntry, name: ReplicaName): Replica => ({
  id,
  node,
  name,
  state: 'loading',
  models: [],
  unnamedSinceMs: undefined,
  work: newReplicaWork(),
  seats: new Map(),
});

/** The one filter every path goes through: leased, ready, and with a stream to spare on its link. */
const isEligible = (replica: Replica | undefined, isLeased: (node: NodeId) => boolean): boolean => {
  if (replica === undefined || replica.state !== 'ready' || !isLeased(replica.node.node)) return false;
  let live = 0;
  for (const sibling of replica.node.replicas.values()) live += sibling.work.load.live;
  return live < streamsPerLinkMax;
};

/** Of many cells the one that the prompt's anchor names, and the least loaded. */
const chooseCells = (cells: readonly Cell[], chain: Uint32Array): readonly Cell[] => {
  const [first, ...others] = cells;
  if (first === undefined || others.length === 0) return cells;
  const anchor = anchorOf(chain);
  let named = first;
  let idlest = first;
  let namedScore = rendezvousScore(anchor, 0);
  for (const [index, cell] of cells.entries()) {
    if (cell.meanLive < idlest.meanLive) idlest = cell;
    const score = rendezvousScore(anchor, index);
    if (score <= namedScore) continue;
    namedScore = score;
    named = cell;
  }
  if (anchor === undefined) return [idlest];
  return named === idlest ? [named] : [named, idlest];
};

/** The cheapest of what the cells would choose; the first wins a tie. */
const bestChoice = (
  cells: readonly Cell[],
  request: CellRequest,
): { readonly cell: Cell; readonly choice: Choice } | undefined => {
  let best: { readonly cell: Cell; readonly choice: Choice } | undefined;
  for (const cell of cells) {
    const choice = cell.weigh(request);
    if (choice !== undefined && (best === undefined || choice.cost < best.choice.cost))
      best = { cell, choice };
  }
  return best;
};
