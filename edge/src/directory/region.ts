/**
 * The object of one region: shell around its directory, and in the layout `one-object` around its nodes' links too, so
 * that deciding and carrying are one hop. Durable: the epoch, the last dial and the cordon of each node, and which cell
 * its replicas belong to, written before they are used. Everything else is rebuilt from the agents' HELLOs.
 */
import { DurableObject } from 'cloudflare:workers';
import { CognitoraError, toCognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, Region as RegionName, RequestId } from '@cognitora/protocol/ids';
import { leaseMsMax } from '@cognitora/protocol/limits';
import type { Hello, ModelCard, ReplicaReport } from '@cognitora/protocol/link';
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Telemetry } from '@cognitora/protocol/telemetry';
import type { Room } from '../admission/admission.ts';
import { Gate } from '../admission/gate.ts';
import type { LimitKind } from '../admission/limits.ts';
import { AdmissionRefusal } from '../admission/refusal.ts';
import type { RegionAdmission } from '../admission/view.ts';
import { leftOf, systemClock } from '../clock.ts';
import { type Env, settingsOf } from '../env.ts';
import { errorResponse } from '../error-response.ts';
import { RegionKv, type RegionKvView } from '../kv/region-kv.ts';
import type { CarriedEnd } from '../link/carried-response.ts';
import {
  type Booked,
  type DialTimes,
  decideHeader,
  decodeAsked,
  decodeCarry,
  decodePrompt,
  decodeResume,
  openHeader,
  type ResumeCarry,
  readLinkRequest,
  resumeHeader,
} from '../link/carry-request.ts';
import type { KvToAgent } from '../link/edge-link.ts';
import { isOfFabric, type KvMessage } from '../link/kv-intake.ts';
import { LinkHost } from '../link/link-host.ts';
import { nodeLinkObject } from '../objects.ts';
import { type Outcome, refusal, unwrap } from '../outcome.ts';
import { systemRandom } from '../random.ts';
import { type Asked, aboutOf, isRetry, triedIn } from './asked.ts';
import { CellPlan } from './cell-plan.ts';
import { CellStore } from './cell-store.ts';
import { type DecideOptions, type Decision, unreadPrompt } from './decision.ts';
import { Directory } from './directory.ts';
import { type EligibilityTerms, NoReplicaError } from './eligibility.ts';
import type { Reservation } from './load.ts';
import { type ModelView, viewModels } from './model-view.ts';
import { NodeStore } from './node-store.ts';
import type { NodeView } from './node-view.ts';
import { PolicyStore } from './policy-store.ts';
import {
  type EarlierAttempt,
  noteOf,
  type Placed,
  type Receipt,
  type ReceiptSubject,
  Receipts,
} from './receipts.ts';

export interface RegionStatus {
  readonly ready: boolean;
  readonly models: readonly ModelCard[];
  readonly nodes: readonly NodeView[];
  readonly links: number;
  readonly streams: number;
  readonly kv: RegionKvView;
  readonly decisions: Placed;
}

/** What the Worker needs to know to digest prompts, by model. */
export type Roster = ReadonlyMap<string, PromptProfile>;

/** What a cordon finds. */
export interface Cordoned {
  readonly wasCordoned: boolean;
  /** Requests that the node serves now. */
  readonly live: number;
}

/** How a request ended, as a node's object tells it. */
export interface Ended extends CarriedEnd {
  readonly reservation: Reservation;
}

export class Region extends DurableObject<Env> {
  readonly #directory: Directory;
  readonly #host: LinkHost;
  readonly #nodes: NodeStore;
  readonly #policies: PolicyStore;
  readonly #receipts = new Receipts();
  readonly #kv: RegionKv;
  readonly #gate: Gate;
  #region: RegionName | undefined;
  #nextSnapshot = 1;
  /** Layout `object-per-node`: when each node's object last vouched for its link. */
  readonly #vouchedAtMs = new Map<NodeId, number>();

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    const { prefix, cellReplicasMax, mapsBytesMax, keyMapsMax, fleetSecret } = settingsOf(env);
    const secret = Math.floor(systemRandom() * 2 ** 32);
    this.#directory = new Directory({
      secret,
      mapsBytesMax,
      plan: new CellPlan(new CellStore(state.storage.sql), systemClock()),
      askSnapshot: (node, feed) => this.#askSnapshot(node, feed),
      ...(cellReplicasMax === undefined ? {} : { cellReplicasMax }),
      settled: (reservation, settlement) => this.#gate.over(reservation, settlement.nowMs, settlement),
    });
    this.#gate = new Gate({
      ...{ sql: state.storage.sql, clock: systemClock },
      roomOf: (model, seatsPerReplica) => this.#directory.room(model, { ...this.#terms, seatsPerReplica }),
    });
    this.#nodes = new NodeStore(state.storage.sql, this.#directory, systemClock());
    this.#policies = new PolicyStore(state.storage.sql, this.#directory);
    this.#kv = new RegionKv({
      ...{ sql: state.storage.sql, clock: systemClock, fleetSecret, secret, keyMapsMax },
      isLeased: (node) => this.#isLeased(node),
      tell: (node, frame, payload) => this.#tellKv(node, frame, payload),
      onPeer: (node, epoch, peer) => this.#directory.kvPeer(node, epoch, peer),
    });
    this.#host = new LinkHost(state, systemClock, prefix, {
      joined: (node, epoch, hello, region) => this.joined(node, epoch, hello, region),
      reported: (node, epoch, replicas) => this.reported(node, epoch, replicas),
      left: (node, epoch) => this.left(node, epoch),
      kv: (node, epoch, message) => this.heard(node, epoch, [message]),
      measured: (node, epoch, telemetry) => this.measured(node, epoch, telemetry),
    });
  }

  /** The two things that need a Request: a dial's upgrade, and a client's request to carry. */
  override async fetch(request: Request): Promise<Response> {
    try {
      if (request.headers.has(openHeader)) return await this.#serve(request);
      if (request.headers.has(resumeHeader)) return await this.#resume(request);
      if (request.headers.has(decideHeader)) {
        return Response.json(await this.decide(decodeAsked(request.headers), request.signal));
      }
      const { region, node, ...dial } = readLinkRequest(request.headers);
      return this.#host.accept(region, node, unwrap(this.nextEpoch(node, dial)));
    } catch (thrown) {
      return errorResponse(thrown);
    }
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#host.message(socket, message);
  }

  override webSocketClose(socket: WebSocket): void {
    this.#host.gone(socket);
  }

  override webSocketError(socket: WebSocket): void {
    this.#host.gone(socket);
  }

  /** Numbers a node's dial, durably. Refuses one that may be a recording, and a node that was removed meanwhile. */
  nextEpoch(node: NodeId, { dialedAtMs, checkedAtMs }: DialTimes): Outcome<Epoch> {
    try {
      return { value: this.#nodes.nextEpoch(node, dialedAtMs, checkedAtMs, systemClock()) };
    } catch (thrown) {
      return refusal(toCognitoraError(thrown));
    }
  }

  /** Gives the node no new requests, durably, linked or not; tells how many it serves now. */
  cordon(node: NodeId): Cordoned {
    const wasCordoned = this.#nodes.cordonsOf([node]).size > 0;
    this.#nodes.cordon(node, systemClock());
    return { wasCordoned, live: this.#directory.node(node, systemClock())?.live ?? 0 };
  }

  uncordon(node: NodeId): void {
    this.#nodes.uncordon(node);
    this.#gate.freed();
  }

  /** Since when each of these nodes is cordoned; the others are left out. */
  cordonsOf(nodes: readonly NodeId[]): ReadonlyMap<NodeId, number> {
    return this.#nodes.cordonsOf(nodes);
  }

  /** Forgets a node whose enrolment was taken back: its link ends, and no older dial of it counts. */
  async remove(node: NodeId, region: RegionName): Promise<void> {
    const nowMs = systemClock();
    const linked = this.#directory.node(node, nowMs);
    if (linked !== undefined) this.#directory.leave(node, linked.epoch, nowMs);
    this.#nodes.remove(node, nowMs);
    this.#kv.remove(node);
    if (settingsOf(this.env).layout === 'one-object') this.#host.evict(node);
    else await nodeLinkObject(this.env, region, node).evict(node);
  }

  status(): RegionStatus {
    const isLeased = (node: NodeId): boolean => this.#isLeased(node);
    return {
      ready: this.#directory.isReady({ nowMs: systemClock(), isLeased }),
      models: this.#directory.models(isLeased),
      nodes: this.#directory.nodes(systemClock()),
      links: this.#host.links,
      streams: this.#host.streams,
      kv: this.#kv.view,
      decisions: this.#receipts.placed,
    };
  }

  /** Tells every node of this object to leave and dial again. */
  goaway(): void {
    this.#host.goaway('The edge is stopping.');
  }

  /** By which profile each model's prompts are digested. */
  roster(): Roster {
    return this.#directory.profiles();
  }

  /** The caches of each model as this region knows them, and models that nobody serves but whose policy is set. */
  modelViews(): readonly ModelView[] {
    return viewModels(this.#directory.served(), this.#directory.pinned());
  }

  /** The latest decisions under this id, newest first. */
  receipts(requestId: RequestId): readonly Receipt[] {
    return this.#receipts.of(requestId);
  }

  /**
   * Decides a model's requests by this policy from now on, durably; undefined: by the default again. Says whether
   * somebody serves that model now.
   */
  usePolicy(
    model: string,
    policy: string | undefined,
    shadow: string | undefined,
  ): Outcome<{ readonly isServed: boolean }> {
    try {
      this.#policies.use(model, policy, shadow);
      const models = this.#directory.models((node) => this.#isLeased(node));
      return { value: { isServed: models.some(({ id }) => id === model) } };
    } catch (thrown) {
      return refusal(toCognitoraError(thrown));
    }
  }

  /**
   * Layout `object-per-node`: chooses and books once the request is let in; the Worker carries it to the node's object.
   * `client` fires when nobody waits for that any more.
   */
  async decide(asked: Asked, client?: AbortSignal): Promise<Outcome<Booked>> {
    try {
      const booked = await this.#admit(asked, client);
      if (!client?.aborted) return { value: booked };
      // Nobody will carry it, so nobody else would end it.
      this.#settle({ reservation: booked.reservation, record: undefined });
      throw new CognitoraError('client_gone', 'The client left.');
    } catch (thrown) {
      return refusal(toCognitoraError(thrown));
    }
  }

  /** Who waits, who was refused, and which limits are set. */
  admission(): RegionAdmission {
    return this.#gate.view;
  }

  /** Limits a model or a tenant from now on, durably; undefined: as if nothing was ever set. */
  limit(kind: LimitKind, name: string, limits: JsonRecord | undefined): Outcome<undefined> {
    try {
      this.#gate.limit(kind, name, limits);
      return { value: undefined };
    } catch (thrown) {
      return refusal(toCognitoraError(thrown));
    }
  }

  /** Layout `object-per-node`: books a stream that goes on over the link of its node that is open now. */
  rebook(resume: ResumeCarry): Outcome<Booked> {
    try {
      return { value: this.#rebook(resume) };
    } catch (thrown) {
      return refusal(toCognitoraError(thrown));
    }
  }

  joined(node: NodeId, epoch: Epoch, hello: Hello, region: RegionName): void {
    this.#nodes.assertKept(node);
    this.#region = region;
    this.#vouchedAtMs.set(node, systemClock());
    this.#directory.join(node, epoch, hello.name, hello.replicas, systemClock());
    this.#kv.joined(node, epoch, hello.name);
    this.#gate.freed();
  }

  reported(node: NodeId, epoch: Epoch, replicas: readonly ReplicaReport[]): void {
    this.#directory.report(node, epoch, replicas, systemClock());
    this.#gate.freed();
  }

  left(node: NodeId, epoch: Epoch): void {
    this.#directory.leave(node, epoch, systemClock());
    this.#kv.left(node, epoch);
    this.#gate.freed();
  }

  /**
   * A node's object says that its link was heard just now, and what it carries. False when that link is not known here,
   * because this object lost its memory: the node has to say HELLO again.
   */
  vouched(node: NodeId, epoch: Epoch, carried: readonly Reservation[]): boolean {
    if (!this.#directory.knows(node, epoch)) return false;
    const nowMs = systemClock();
    this.#vouchedAtMs.set(node, nowMs);
    // Whoever had them booked left, or died, before the node's object heard of them.
    for (const reservation of this.#directory.strays(node, new Set(carried), nowMs)) {
      this.#settle({ reservation, record: undefined });
    }
    return true;
  }

  /** What a node's agent says of caches and of its host's KV daemon, in its order. */
  heard(node: NodeId, epoch: Epoch, messages: readonly KvMessage[]): void {
    const nowMs = systemClock();
    this.#directory.sweep(nowMs);
    for (const message of messages) {
      if (isOfFabric(message)) this.#kv.heard(node, epoch, message);
      else this.#directory.heard(node, epoch, message, nowMs);
    }
  }

  measured(node: NodeId, epoch: Epoch, telemetry: Telemetry): void {
    this.#directory.measured(node, epoch, telemetry, systemClock());
    this.#gate.freed();
  }

  /** First bytes and ends of one turn, that a node's object tells of. */
  settled(firstBytes: readonly Reservation[], ends: readonly Ended[]): void {
    const begun = new Set(firstBytes);
    // Who begins now may have the place of who ended: seen before that, both would run at once.
    for (const ended of ends) if (!begun.has(ended.reservation)) this.#settle(ended);
    for (const reservation of firstBytes) this.#firstByte(reservation);
    for (const ended of ends) if (begun.has(ended.reservation)) this.#settle(ended);
  }

  #isLeased(node: NodeId): boolean {
    if (settingsOf(this.env).layout === 'one-object') return this.#host.isLeased(node);
    const now = systemClock();
    const vouchedAtMs = Math.min(this.#vouchedAtMs.get(node) ?? 0, now);
    // The clock was set back: the lease runs from now on.
    if (vouchedAtMs === now) this.#vouchedAtMs.set(node, now);
    return now - vouchedAtMs < leaseMsMax;
  }

  #askSnapshot(node: NodeId, feed: number): number {
    const request = this.#nextSnapshot;
    this.#nextSnapshot = (request + 1) >>> 0;
    const want = { feed, request };
    if (settingsOf(this.env).layout === 'one-object') this.#host.wantSnapshot(node, want);
    else if (this.#region !== undefined) {
      // Lost, it is asked for again by the next sweep.
      const asked = nodeLinkObject(this.env, this.#region, node).wantSnapshot(node, want);
      this.ctx.waitUntil(Promise.resolve(asked).catch(() => {}));
    }
    return request;
  }

  #tellKv(node: NodeId, frame: KvToAgent, payload: Uint8Array): void {
    if (settingsOf(this.env).layout === 'one-object') this.#host.tellKv(node, frame, payload);
    else if (this.#region !== undefined) {
      const told = nodeLinkObject(this.env, this.#region, node).tellKv(node, frame, payload);
      this.ctx.waitUntil(Promise.resolve(told).catch(() => {}));
    }
  }

  get #terms(): EligibilityTerms {
    return { nowMs: systemClock(), isLeased: (node) => this.#isLeased(node) };
  }

  /** Books the request when it is its turn, or tells why that never comes. */
  async #admit(asked: Asked, client: AbortSignal | undefined): Promise<Booked> {
    const askedAtMs = systemClock();
    const room = (): Room => this.#directory.room(asked.model, this.#termsOf(asked));
    try {
      return await this.#gate.enter(asked, client, room, (queuedMs) => this.#decide(asked, queuedMs));
    } catch (thrown) {
      // Others are noted where they are decided.
      if (thrown instanceof CognitoraError && !(thrown instanceof NoReplicaError)) {
        const terms = this.#termsOf(asked);
        const about = aboutOf(asked, terms.nowMs, Math.max(0, terms.nowMs - askedAtMs));
        const exclusion = this.#directory.exclusion(asked.model, terms);
        const { code } = thrown;
        const note = thrown instanceof AdmissionRefusal ? { admission: thrown.note } : {};
        this.#receipts.refused(about, { code, exclusion, ...note });
      }
      throw thrown;
    }
  }

  #termsOf({ region, model, earlier }: Asked): EligibilityTerms {
    const { seatsPerReplica } = this.#gate.limitsOf(model);
    return { ...this.#terms, tried: triedIn(region, earlier), seatsPerReplica };
  }

  #decide(asked: Asked, queuedMs: number): Booked {
    const { model, prompt, isStream, demand, earlier } = asked;
    const terms = this.#termsOf(asked);
    this.#directory.sweep(terms.nowMs);
    const firstTokenMsMax = this.#gate.limitsOf(model).firstTokenMs - queuedMs;
    const decision = this.#noted(aboutOf(asked, terms.nowMs, queuedMs), {
      ...{ ...terms, model, prompt, isStream, random: systemRandom },
      ...(isRetry(asked) ? {} : { firstTokenMsMax }),
    });
    this.#gate.booked(decision.reservation, model, demand);
    return this.#booked(decision, earlier, queuedMs);
  }

  #rebook(resume: ResumeCarry): Booked {
    const { requestId, region, model, node, replica, stream: isStream, earlier, demand } = resume;
    const terms = { ...this.#terms, model, prompt: unreadPrompt, isStream, random: systemRandom };
    const decision = this.#directory.rebook(terms, { node, replica });
    const about = { requestId, region, model, decidedAtMs: terms.nowMs, promptBlocks: 0, blockTokens: 0 };
    this.#receipts.decided({ ...about, earlier, occasion: 'resumed', queuedMs: 0 }, decision);
    this.#gate.booked(decision.reservation, model, demand);
    return this.#booked(decision, earlier, 0);
  }

  #booked(decision: Decision, earlier: readonly EarlierAttempt[], queuedMs: number): Booked {
    const { reservation, node, epoch, replica, kvFrom } = decision;
    try {
      const receipt = noteOf(decision, earlier, queuedMs);
      if (kvFrom !== undefined) this.#kv.suggested();
      return { reservation, node, epoch, replica, receipt, ...(kvFrom && { kvFrom }) };
    } catch (thrown) {
      // Nobody will hear of the reservation, so nobody else would end it.
      this.#settle({ reservation, record: undefined });
      throw thrown;
    }
  }

  /** Decides, and notes the decision or why there is none. */
  #noted(about: ReceiptSubject, options: DecideOptions): Decision {
    try {
      const decision = this.#directory.decide(options);
      this.#receipts.decided(about, decision);
      return decision;
    } catch (thrown) {
      if (thrown instanceof NoReplicaError) this.#receipts.refused(about, thrown);
      throw thrown;
    }
  }

  #firstByte(reservation: Reservation): void {
    const nowMs = systemClock();
    this.#directory.firstByte(reservation, nowMs);
    this.#gate.firstByte(reservation, nowMs);
    this.#gate.freed();
  }

  #settle({ reservation, ...end }: Ended): void {
    const nowMs = systemClock();
    const { verdict, bodyBytes, code, record } = end;
    this.#directory.settle(reservation, { nowMs, verdict, bodyBytes, code, ...record?.usage });
    this.#receipts.ended(reservation, nowMs, end);
    this.#gate.freed();
  }

  async #serve(request: Request): Promise<Response> {
    const carried = decodeCarry(request.headers);
    const { region, open, client, prompt, earlier, occasion, demand, awaitsNodes } = carried;
    const { requestId, model, stream: isStream, remainingMs } = open;
    const view = decodePrompt(request.headers, prompt);
    const asked = { requestId, region, model, prompt: view, isStream, earlier, occasion };
    const askedAtMs = systemClock();
    const about = { demand, awaitsNodes, remainingMs, client };
    const booked = await this.#admit({ ...asked, ...about }, request.signal);
    const { reservation, node, epoch, replica, receipt, kvFrom } = booked;
    return this.#host.carry({
      ...{ node, epoch, request, region, client, receipt },
      open: { ...open, replica, remainingMs: leftOf(remainingMs, askedAtMs), ...(kvFrom && { kvFrom }) },
      onFirstByte: () => this.#firstByte(reservation),
      onOver: (end) => this.#settle({ ...end, reservation }),
    });
  }

  async #resume(request: Request): Promise<Response> {
    const asked = decodeResume(request.headers);
    const askedAtMs = systemClock();
    await this.#host.linked(asked.node, asked.waitMs, request.signal);
    const resume = { ...asked, remainingMs: leftOf(asked.remainingMs, askedAtMs) };
    const { reservation, node, epoch, receipt } = this.#rebook(resume);
    return this.#host.resume({
      ...{ node, epoch, request, region: resume.region, client: resume.client, receipt, resume },
      onFirstByte: () => this.#firstByte(reservation),
      onOver: (end) => this.#settle({ ...end, reservation }),
    });
  }
}
