/**
 * Who can serve what, and who serves which request now: the pure core of a region. Owns nodes, epochs' order, replicas
 * and reservations; asks a model's cells where a request goes and books it in the same turn, so that the siblings of a
 * burst see it. Loads are derived from the set of live reservations, never counted up and down. Never touches a
 * socket, a clock or a disk: time, leases and randomness come in with each call.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import type { KvFeedOpen } from '@cognitora/protocol/kv';
import type { KvPeer } from '@cognitora/protocol/kv-fabric';
import {
  leaseMsMax,
  prefixMapsBytesMaxSelfHosted,
  relinkMsMax,
  unnamedLoadMsMax,
  unservedMsMax,
} from '@cognitora/protocol/limits';
import type { ModelCard, ReplicaReport } from '@cognitora/protocol/link';
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';
import type { Telemetry } from '@cognitora/protocol/telemetry';
import type { Room } from '../admission/admission.ts';
import { SeatsMemory } from '../admission/seats.ts';
import type { KvCacheMessage } from '../link/kv-intake.ts';
import { defaultPolicy } from '../policy/policy.ts';
import type { Cell, CellRequest, Settlement } from './cell.ts';
import { CellPlan } from './cell-plan.ts';
import { assertInTime, type DecideOptions, type Decision, decisionOf, requestOf } from './decision.ts';
import {
  type EligibilityTerms,
  type Exclusion,
  exclusionOf,
  ineligibilityOf,
  lastResortOf,
  type NoReplicaError,
  type ReplicaPlace,
  refusalOf,
} from './eligibility.ts';
import { GpuFigures } from './figures.ts';
import type { Reservation } from './load.ts';
import { MapBudget } from './map-budget.ts';
import { ModelMemory } from './model-memory.ts';
import { kvMovesOf, type NodeEntry, newReplica, nodeKvOf, type Replica } from './node-entry.ts';
import { type NodeView, viewNode } from './node-view.ts';
import { type CellChoice, type Policies, type Seat, ServedModel } from './served-model.ts';
import { SnapshotTurns } from './snapshot-turns.ts';
import { TruthMemory } from './truth-memory.ts';

export interface DirectoryOptions {
  /** Any 32-bit number that peers do not know: it keeps them from crowding the maps. */
  readonly secret: number;
  /** Asks the node for a snapshot of a feed; returns the request's number. */
  readonly askSnapshot: (node: NodeId, feed: number) => number;
  /** How a model is decided unless `usePolicies` said otherwise. */
  readonly policies?: Policies;
  /** Replicas of one cell; the default is as many as a map's planes have bits. */
  readonly cellReplicasMax?: number;
  /** Which cells replicas belong to; the default forgets it with the directory. */
  readonly plan?: CellPlan;
  /** Of one cell's prefix map, and of all of them together. */
  readonly mapBytes?: number;
  readonly mapsBytesMax?: number;
  /** Hears of the end of each reservation, once. */
  readonly settled?: (reservation: Reservation, settlement: Settlement) => void;
}

interface LiveReservation {
  readonly cell: Cell;
  readonly served: ServedModel<Replica>;
  readonly promptBytes: number;
}

const defaultPolicies: Policies = { policy: defaultPolicy, shadow: undefined };

export class Directory {
  readonly #options: DirectoryOptions;
  readonly #nodes = new Map<NodeId, NodeEntry>();
  /** Linked or not. */
  readonly #cordoned = new Set<NodeId>();
  /** Linked before this directory began, and not since. */
  readonly #awaited = new Set<NodeId>();
  #awaitedUntilMs = 0;
  readonly #models = new Map<string, ServedModel<Replica>>();
  readonly #policies = new Map<string, Policies>();
  readonly #reservations = new Map<Reservation, LiveReservation>();
  readonly #turns = new SnapshotTurns();
  readonly #truths = new TruthMemory();
  readonly #seats = new SeatsMemory();
  readonly #budget: MapBudget;
  readonly #plan: CellPlan;
  readonly #memory = new ModelMemory();
  /** Not those of a directory before it: its nodes' objects may still tell of them. */
  #nextReservation: number;

  constructor(options: DirectoryOptions) {
    this.#options = options;
    this.#nextReservation = options.secret * 2 ** 20 + 1;
    this.#plan = options.plan ?? new CellPlan(undefined, 0);
    this.#budget = new MapBudget(options.mapsBytesMax ?? prefixMapsBytesMaxSelfHosted);
  }

  /** A node's link is open. An older epoch of the same node is gone with all it served. */
  join(node: NodeId, epoch: Epoch, name: string, replicas: readonly ReplicaReport[], nowMs: number): void {
    const known = this.#nodes.get(node);
    if (known !== undefined && known.epoch > epoch) {
      throw new CognitoraError('superseded', 'A newer link of this node is open.');
    }
    if (known !== undefined) this.#forget(known, nowMs);
    this.#awaited.delete(node);
    const entry: NodeEntry = {
      ...{ node, name, epoch, connectedAtMs: nowMs, rttMs: 0, isCordoned: this.#cordoned.has(node) },
      ...{ gpus: new GpuFigures(), replicas: new Map(), feeds: new Map(), kv: undefined },
    };
    this.#nodes.set(node, entry);
    this.report(node, epoch, replicas, nowMs);
  }

  /** The node's replicas as they are now; a replica that is not named is gone. */
  report(node: NodeId, epoch: Epoch, reports: readonly ReplicaReport[], nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    const before = entry.replicas;
    entry.replicas = new Map();
    // First, so that what is known of those who go is known of those who come.
    const named = new Set(reports.map(({ name }) => name));
    for (const [name, gone] of before) if (!named.has(name)) this.#retire(gone, nowMs);
    for (const { name, state, role = 'both', why, models } of reports) {
      const replica = before.get(name) ?? newReplica(entry, name, this.#seats.of(node, name));
      // Many an engine opens its port only once it is loaded: until then its agent calls it failed.
      const isUnnamed = (state === 'loading' || state === 'failed') && models.length === 0;
      replica.unnamedSinceMs = isUnnamed ? (replica.unnamedSinceMs ?? nowMs) : undefined;
      // What its engine was last heard to do is over with it.
      if (state !== replica.state && (state === 'loading' || state === 'failed')) {
        replica.work.figures.beginAnew();
        replica.work.requestSeats.beginAnew();
      }
      Object.assign(replica, { state, role, why });
      entry.replicas.set(name, replica);
      this.#serve(replica, models, nowMs);
      this.#memory.saw(models, nowMs);
    }
  }

  /** The node's link closed. Says nothing about a newer epoch. */
  leave(node: NodeId, epoch: Epoch, nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    for (const replica of entry.replicas.values()) this.#memory.saw(replica.models, nowMs);
    this.#forget(entry, nowMs);
  }

  /** Nodes that were linked before this directory began: what only they serve is not unknown yet. */
  awaitNodes(nodes: Iterable<NodeId>, nowMs: number): void {
    for (const node of nodes) this.#awaited.add(node);
    this.#awaitedUntilMs = nowMs + relinkMsMax;
  }

  #isAwaiting(nowMs: number): boolean {
    return this.#awaited.size > 0 && nowMs < this.#awaitedUntilMs;
  }

  /** Of a model that nobody serves: who did, or may have, is likely to be back in a moment. */
  #isAway(model: string, nowMs: number): boolean {
    return this.#isAwaiting(nowMs) || this.#memory.isRecent(model, nowMs, unservedMsMax);
  }

  /** Keeps new requests from a node, whatever its link does, until that is taken back. What runs there goes on. */
  cordon(node: NodeId, isCordoned: boolean): void {
    if (isCordoned) this.#cordoned.add(node);
    else this.#cordoned.delete(node);
    const entry = this.#nodes.get(node);
    if (entry !== undefined) entry.isCordoned = isCordoned;
  }

  /** What the node says of its replicas' caches. Of an old link, or of what it does not serve, it means nothing. */
  heard(node: NodeId, epoch: Epoch, message: KvCacheMessage, nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    if (message.type === 'feed') {
      this.#endFeed(entry, message.feed, nowMs);
      entry.feeds.set(message.feed.feed, message.feed);
      this.#offer(entry, message.feed, nowMs);
      return;
    }
    const number = feedNumberOf(message);
    const open = entry.feeds.get(number);
    const seat = open === undefined ? undefined : entry.replicas.get(open.replica)?.seats.get(open.model);
    if (seat === undefined || seat.offer?.open.feed !== number) return;
    const { feed } = seat.member;
    if (message.type === 'delta') feed.delta({ ...message.delta, epoch }, nowMs);
    else if (message.type === 'snapshot') feed.snapshotPart({ ...message.snapshot, epoch }, nowMs);
    else if (message.type === 'mark') feed.mark({ ...message.mark, epoch }, nowMs);
    else seat.member.missed(nowMs);
  }

  /** Whether that link of the node is the one that counts here. */
  knows(node: NodeId, epoch: Epoch): boolean {
    return this.#current(node, epoch) !== undefined;
  }

  /** What the node measured of its host and its way here. */
  measured(node: NodeId, epoch: Epoch, { rttMs, replicas, gpus }: Telemetry, nowMs: number): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    entry.gpus.told(gpus ?? [], nowMs);
    for (const load of replicas ?? []) {
      const work = entry.replicas.get(load.name)?.work;
      work?.figures.told(load, nowMs);
      work?.requestSeats.told(load);
    }
    entry.rttMs = rttMs;
    for (const { work } of entry.replicas.values()) work.rttMs = rttMs;
  }

  /** Whose KV the node's daemon can move, and whom it reaches; undefined: it has none that belongs to the fleet. */
  kvPeer(node: NodeId, epoch: Epoch, peer: KvPeer | undefined): void {
    const entry = this.#current(node, epoch);
    if (entry === undefined) return;
    entry.kv = peer && nodeKvOf(peer);
    for (const replica of entry.replicas.values()) replica.work.kv = kvMovesOf(entry, replica.name);
  }

  /** Called now and then: snapshots that never came are asked for again, places of who stayed away are given up. */
  sweep(nowMs: number): void {
    this.#turns.sweep(nowMs);
    this.#plan.sweep(nowMs);
  }

  /**
   * Chooses a replica and books the request. Throws `no_capacity` when nobody can serve the model now, but some replica
   * does otherwise, lately did, or may once it is loaded; `model_not_found` when none does, `no_nodes` without nodes.
   * Each of them is a `NoReplicaError`, which names who was kept back and by what.
   */
  decide(options: DecideOptions): Decision {
    const served = this.#models.get(options.model);
    if (served === undefined) throw this.#noReplica(options);
    served.noteAsked(options.nowMs);
    const failing = new Set<Replica>();
    const request = requestOf(served, options, failing);
    let chosen = served.choose(request);
    if (chosen === undefined && failing.size > 0) {
      const last = lastResortOf(failing);
      chosen = served.choose({ ...request, isEligible: (member) => served.ownerOf(member) === last });
    }
    if (chosen !== undefined) assertInTime(chosen.choice, options);
    const booked =
      chosen && this.#book(served, chosen, request, { promptBytes: options.prompt.bytes, failing });
    if (booked === undefined) throw this.#noReplica(options);
    return booked;
  }

  /**
   * Books a stream that goes on where it is, over its node's next link. Throws `stream_gone` when its replica does not
   * serve the model any more.
   */
  rebook(options: DecideOptions, { node, replica }: ReplicaPlace): Decision {
    const served = this.#models.get(options.model);
    const owner = this.#nodes.get(node)?.replicas.get(replica);
    if (served !== undefined && owner !== undefined) {
      const failing = new Set<Replica>();
      const request = requestOf(served, options, failing);
      const chosen = served.choose({ ...request, isEligible: (member) => served.ownerOf(member) === owner });
      const booked = chosen && this.#book(served, chosen, request, { promptBytes: 0, failing });
      if (booked !== undefined) return booked;
    }
    throw new CognitoraError('stream_gone', 'The replica that had the stream is gone.');
  }

  #book(
    served: ServedModel<Replica>,
    chosen: CellChoice,
    request: CellRequest,
    { promptBytes, failing }: { readonly promptBytes: number; readonly failing: ReadonlySet<Replica> },
  ): Decision | undefined {
    const replica = served.ownerOf(chosen.choice.member);
    if (replica === undefined) return undefined;
    const promptTokens = promptBytes === 0 ? undefined : request.promptTokens;
    const reservation = this.#nextReservation as Reservation;
    this.#nextReservation += 1;
    const told = { promptTokens, failing: failing.size };
    const decision = decisionOf(reservation, replica, served, chosen, told);
    chosen.cell.book(reservation, chosen.choice, request);
    this.#reservations.set(reservation, { cell: chosen.cell, served, promptBytes });
    return decision;
  }

  /** Who serves the model, and what keeps each from one more request. */
  exclusion(model: string, terms: EligibilityTerms): Exclusion {
    return exclusionOf(this.#models.get(model)?.owners() ?? [], (replica) => ineligibilityOf(replica, terms));
  }

  /** The engine's first body byte has come. */
  firstByte(reservation: Reservation, nowMs: number): void {
    this.#reservations.get(reservation)?.cell.firstByte(reservation, nowMs);
  }

  /** The request is over. Settling twice, or after its node left, means nothing. */
  settle(reservation: Reservation, settlement: Settlement): void {
    const live = this.#reservations.get(reservation);
    if (live === undefined) return;
    this.#reservations.delete(reservation);
    if (settlement.promptTokens !== undefined) {
      live.served.scale.learn(settlement.promptTokens, live.promptBytes);
    }
    live.cell.settle(reservation, settlement);
    this.#options.settled?.(reservation, settlement);
  }

  /** Requests of a node that were booked more than a lease ago and that are none of these. */
  strays(node: NodeId, carried: ReadonlySet<Reservation>, nowMs: number): readonly Reservation[] {
    const replicas = [...(this.#nodes.get(node)?.replicas.values() ?? [])];
    return replicas.flatMap(({ work }) =>
      [...work.load.olderThan(leaseMsMax, nowMs)].filter((reservation) => !carried.has(reservation)),
    );
  }

  /** Whether some replica of the model has a seat for one more request. */
  room(model: string, terms: EligibilityTerms): Room {
    const { nowMs } = terms;
    const served = this.#models.get(model);
    if (served === undefined) return this.#isAway(model, nowMs) ? 'away' : 'none';
    let room: Room = 'none';
    for (const replica of served.owners()) {
      const why = ineligibilityOf(replica, terms);
      if (why === undefined) return 'room';
      if (why === 'busy') room = 'full';
    }
    return room;
  }

  /** Decides this model's requests by these policies from now on; undefined: by the directory's own again. */
  usePolicies(model: string, policies: Policies | undefined): void {
    if (policies === undefined) this.#policies.delete(model);
    else this.#policies.set(model, policies);
    this.#models.get(model)?.usePolicies(this.#policiesOf(model));
  }

  /** Models that are decided by policies of their own, served or not. */
  pinned(): ReadonlyMap<string, Policies> {
    return this.#policies;
  }

  /** By which profile each model's prompts are digested; models whose caches nobody knows are left out. */
  profiles(): ReadonlyMap<string, PromptProfile> {
    const profiles = new Map<string, PromptProfile>();
    for (const [model, { profile }] of this.#models) if (profile !== undefined) profiles.set(model, profile);
    return profiles;
  }

  served(): ReadonlyMap<string, ServedModel<Replica>> {
    return this.#models;
  }

  /** Models that requests may ask for: of ready or loading replicas of leased nodes, by name. */
  models(isLeased: (node: NodeId) => boolean): readonly ModelCard[] {
    const cards = new Map<string, ModelCard>();
    for (const { node, replicas } of this.#nodes.values()) {
      if (!isLeased(node)) continue;
      for (const { state, role, models } of replicas.values()) {
        if (state === 'failed' || role !== 'both') continue;
        for (const model of models) cards.set(model.id, model);
      }
    }
    return [...cards.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
  }

  /** Whether any request could be served. A failing replica is tried when there is no other, a busy one waited for. */
  isReady(terms: EligibilityTerms): boolean {
    for (const { replicas } of this.#nodes.values()) {
      for (const replica of replicas.values()) {
        const why = ineligibilityOf(replica, terms);
        if (why === undefined || why === 'failing' || why === 'busy') return true;
      }
    }
    return false;
  }

  nodes(nowMs: number): readonly NodeView[] {
    return [...this.#nodes.values()].map((entry) => viewNode(entry, nowMs));
  }

  /** Of a node that is linked. */
  node(node: NodeId, nowMs: number): NodeView | undefined {
    const entry = this.#nodes.get(node);
    return entry && viewNode(entry, nowMs);
  }

  /** Moves a replica from the models it served to those it serves. */
  #serve(replica: Replica, models: readonly ModelCard[], nowMs: number): void {
    const ids = new Set(models.map(({ id }) => id));
    for (const [id, seat] of replica.seats) {
      if (ids.has(id)) continue;
      replica.seats.delete(id);
      const served = this.#models.get(id);
      this.#truths.keep(replica.node.node, id, replica.name, seat.member.truth, nowMs);
      served?.rise(seat, nowMs);
      if (served?.isEmpty) this.#models.delete(id);
    }
    replica.models = models;
    for (const id of ids) if (!replica.seats.has(id)) this.#sit(replica, id, nowMs);
  }

  #sit(replica: Replica, model: string, nowMs: number): void {
    const served = this.#models.get(model) ?? this.#addModel(model);
    const { node, replicas } = replica.node;
    const others = [...replicas.values()].flatMap(({ seats }) => seats.get(model)?.member.truth ?? []);
    const truth = this.#truths.of(node, model, replica.name, others, nowMs);
    const ask = (): number => this.#options.askSnapshot(node, seat.offer?.open.feed ?? 0);
    const seat: Seat = served.sit(replica, `${node}/${replica.name}`, replica.work, ask, truth, nowMs);
    replica.seats.set(model, seat);
    // Its agent may have spoken of the cache before it named the model.
    for (const open of replica.node.feeds.values()) {
      if (open.replica === replica.name && open.model === model) this.#offer(replica.node, open, nowMs);
    }
  }

  #addModel(model: string): ServedModel<Replica> {
    const { secret, cellReplicasMax, mapBytes } = this.#options;
    const [policies, scale] = [this.#policiesOf(model), this.#memory.scaleOf(model)];
    const served = new ServedModel<Replica>({
      ...{ model, secret, turns: this.#turns, budget: this.#budget, plan: this.#plan },
      ...{ cellReplicasMax, mapBytes, policies, scale },
      voterOf: ({ state, node }) => (state === 'ready' ? node.node : undefined),
    });
    this.#models.set(model, served);
    return served;
  }

  #policiesOf(model: string): Policies {
    return this.#policies.get(model) ?? this.#options.policies ?? defaultPolicies;
  }

  /** A feed's number is used again: what was said under it, of whatever replica and model, counts no longer. */
  #endFeed(entry: NodeEntry, { feed: number }: KvFeedOpen, nowMs: number): void {
    const before = entry.feeds.get(number);
    const seat =
      before === undefined ? undefined : entry.replicas.get(before.replica)?.seats.get(before.model);
    if (seat?.offer?.open.feed === number) seat.member.close(nowMs);
  }

  #offer(entry: NodeEntry, open: KvFeedOpen, nowMs: number): void {
    const seat = entry.replicas.get(open.replica)?.seats.get(open.model);
    if (seat !== undefined) this.#models.get(open.model)?.offer(seat, entry.epoch, open, nowMs);
  }

  #noReplica(options: DecideOptions): NoReplicaError {
    const { model, nowMs, isLeased } = options;
    const served = this.#models.get(model);
    return refusalOf(model, {
      isKnown: served !== undefined || this.#memory.isRecent(model, nowMs),
      hasNodes: this.#nodes.size > 0,
      isAwaiting: this.#isAwaiting(nowMs),
      isAway: served === undefined && this.#isAway(model, nowMs),
      kept: exclusionOf(served?.owners() ?? [], (replica) => ineligibilityOf(replica, options)),
      unnamed: () => exclusionOf(this.#unnamed(nowMs, isLeased), () => 'unnamed'),
    });
  }

  /** Replicas that load a model which nobody knows yet: it may be any. */
  *#unnamed(nowMs: number, isLeased: (node: NodeId) => boolean): Generator<Replica> {
    for (const { node, replicas } of this.#nodes.values()) {
      for (const replica of replicas.values()) {
        const { unnamedSinceMs } = replica;
        const isAwaited = unnamedSinceMs !== undefined && nowMs - unnamedSinceMs <= unnamedLoadMsMax;
        if (isAwaited && isLeased(node)) yield replica;
      }
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
    for (const reservation of [...replica.work.load.reservations]) this.settle(reservation, { nowMs });
    this.#serve(replica, [], nowMs);
  }
}

const feedNumberOf = (message: Exclude<KvCacheMessage, { type: 'feed' }>): number => {
  if (message.type === 'delta') return message.delta.feed;
  if (message.type === 'snapshot') return message.snapshot.feed;
  return message.type === 'mark' ? message.mark.feed : message.missed.feed;
};
