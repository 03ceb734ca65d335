/**
 * Whether a request is decided now, waits, or is refused: the pure core in front of a region's decisions. Owns the
 * queues, the limits, and which live request belongs to which tenant. Seats are asked for, never counted here, so that
 * none can be lost. Time comes in with each call and never runs backwards inside. Never chooses a replica.
 *
 *   enter --room--> decided in the same turn
 *     | full        ^
 *     v             | grant (a seat is free: something ended, began, was reported)
 *   waits ----------+--> refused: too many, too late, its deadline
 *     \--> left
 */
import type { CognitoraError, ErrorCode } from '@cognitora/protocol/errors';
import { unservedMsMax } from '@cognitora/protocol/limits';
import type { Reservation } from '../directory/load.ts';
import type { RefusalReason } from './counts.ts';
import type { Waiting } from './fair-queue.ts';
import { keep, ModelGate, TenantGate } from './gates.ts';
import { type HeldLimits, type ModelLimits, modelDefaults, type TenantLimits } from './limits.ts';
import { refusalOf } from './refusal.ts';
import { retryAfterOf } from './retry-after.ts';
import type { AdmissionView, LimitsView, ModelAdmissionView } from './view.ts';

/** Some replica has a seat; all that could serve are full; who served it may be back in a moment; nobody serves it. */
export type Room = 'room' | 'full' | 'away' | 'none';

/** A request that wants in. */
export interface Ask extends Waiting {
  /** Of its tokens, what the answer may take at most. */
  readonly answerTokens: number;
  /** Who served the model a moment ago is waited for; else it is to be decided at once. */
  readonly awaitsNodes: boolean;
  readonly model: string;
  /** Of its own deadline. */
  readonly remainingMs: number;
  /** What there is for it, where some replicas of the model are out of the question; absent: as for the model. */
  readonly room?: () => Room;
}

/** How a ticket ends: in one of these, once, or because it left. Neither may throw. */
export interface TicketEnds {
  /** It has a seat, if it is booked within this call. */
  readonly granted: (waitedMs: number) => void;
  readonly refused: (error: CognitoraError) => void;
}

/** What a request took. */
export interface Spent {
  /** As the engine counted them, where it did. */
  readonly promptTokens?: number | undefined;
  readonly completionTokens?: number | undefined;
  /** Of its answer, as far as it came. */
  readonly bodyBytes?: number | undefined;
  /** Why it ended before its end. */
  readonly code?: ErrorCode | undefined;
}

export interface Ticket extends Ask, TicketEnds {
  /** By the clock in here. */
  readonly sinceMs: number;
}

export interface AdmissionOptions {
  /** What there is for requests of this model now. */
  readonly roomOf: (model: string, seatsPerReplica: number | undefined) => Room;
}

interface Live {
  readonly model: string;
  readonly tenant: string;
  /** What it was likely to take. */
  readonly tokens: number;
  /** Its tenant paid that when its turn came; else it did not have to wait for one. */
  readonly isPaid: boolean;
  readonly promptTokensGuessed: number;
  /** The most that its answer may take. */
  readonly answerTokensMax: number;
  readonly grantedAtMs: number;
  /** By the clock outside: also while nobody looks. */
  readonly grantedClockMs: number;
  hasBegun: boolean;
}

/** Longer than between two looks nothing is taken to have waited: a clock may jump, and an object be held up. */
const stepMsMax = 5_000;
/** Of an objective, what the way from seat to first token may take of it at most before the rest is waited for. */
const firstTokenShareMax = 0.5;
/** And what is kept for the way to the client, and for chance: under load many wait for nearly all the rest. */
const marginShare = 0.1;

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #modelLimits = new Map<string, ModelLimits>();
  readonly #tenantLimits = new Map<string, TenantLimits>();
  readonly #models = new Map<string, ModelGate>();
  readonly #tenants = new Map<string, TenantGate>();
  readonly #live = new Map<Reservation, Live>();
  /** Since this was made, in steps of the clock outside that are neither back nor too far. */
  #timeMs = 0;
  #clockMs: number | undefined;
  /** Whoever is let in may end at once, and make room for the next, in the same turn. */
  #isGranting = false;
  /** Whose turn it is now: what is booked is its. */
  #turn: Ticket | undefined;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  useModel(model: string, limits: ModelLimits | undefined): void {
    if (limits === undefined) this.#modelLimits.delete(model);
    else this.#modelLimits.set(model, limits);
  }

  useTenant(tenant: string, limits: TenantLimits | undefined): void {
    if (limits === undefined) this.#tenantLimits.delete(tenant);
    else this.#tenantLimits.set(tenant, limits);
  }

  limitsOf(model: string): HeldLimits {
    return { ...modelDefaults, ...this.#modelLimits.get(model) };
  }

  get isAnyWaiting(): boolean {
    for (const { queue } of this.#models.values()) if (queue.size > 0) return true;
    return false;
  }

  /**
   * Undefined: to be decided now, in this turn. Else the ticket, which waits. Throws `tenant_limit` or `overloaded`,
   * with when to come again.
   */
  enter(ask: Ask, ends: TicketEnds, nowMs: number): Ticket | undefined {
    this.#advance(nowMs);
    // One that was let in before is no more than its tenant may have.
    if (!ask.isRetry) this.#assertTenantMay(ask);
    const known = this.#models.get(ask.model);
    if (known !== undefined && known.queue.size > 0) this.#grantAll();
    const room = this.#roomFor(ask);
    // A retry looks for another one: who was lost is not what it waits for.
    if (room === 'none' || (room === 'away' && (ask.isRetry || !ask.awaitsNodes))) return undefined;
    const gate = known ?? this.#addModel(ask.model);
    if (room !== 'away') gate.unservedSinceMs = undefined;
    else if (!this.#mayReturn(gate)) return undefined;
    if (room === 'room') {
      gate.waits.saw(0);
      this.#countGrant(gate, ask.tenant);
      return undefined;
    }
    if (!ask.isRetry) {
      this.#assertInTime(gate, ask);
      this.#makePlace(gate, ask);
    }
    const likelyTokens = (): number => this.#likelyTokens(ask);
    const ticket: Ticket = {
      ...{ ...ask, ...ends, sinceMs: this.#timeMs },
      // As it is known when its turn comes.
      get tokens() {
        return likelyTokens();
      },
    };
    gate.queue.push(ticket, this.#weightOf(ask.tenant));
    return ticket;
  }

  /** Its client left. Means nothing to one that does not wait any more. */
  leave(ticket: Ticket): void {
    const gate = this.#models.get(ticket.model);
    if (gate?.queue.remove(ticket)) this.#ended(gate, ticket, 'client_gone');
  }

  /** Seats may have become free: lets in whom there is room for. */
  grant(nowMs: number): void {
    this.#advance(nowMs);
    this.#grantAll();
  }

  /** The same, and refuses whoever waited for too long. To be called every `queueLookMs` while somebody waits. */
  look(nowMs: number): void {
    this.grant(nowMs);
    for (const [model, gate] of this.#models) {
      if (gate.queue.size === 0) continue;
      for (const ticket of gate.queue) {
        const why = this.#whyLate(model, gate, ticket);
        if (why === undefined) continue;
        gate.queue.remove(ticket);
        this.#refuse(gate, ticket, why);
      }
    }
  }

  /** A request that was let in is on a replica. */
  booked(reservation: Reservation, demand: Pick<Ask, 'model' | 'tenant' | 'tokens' | 'answerTokens'>): void {
    const { model, tenant, answerTokens: answerTokensMax } = demand;
    const promptTokensGuessed = demand.tokens - answerTokensMax;
    const tokens = this.#likelyTokens(demand);
    const costs = { tokens, isPaid: this.#turn !== undefined, promptTokensGuessed, answerTokensMax };
    const grantedClockMs = this.#clockMs ?? 0;
    const granted = { grantedAtMs: this.#timeMs, grantedClockMs, hasBegun: false };
    this.#live.set(reservation, { model, tenant, ...costs, ...granted });
    (this.#models.get(model) ?? this.#addModel(model)).live.add(reservation);
    this.#tenantGate(tenant).live.add(reservation);
  }

  firstByte(reservation: Reservation, nowMs: number): void {
    const live = this.#live.get(reservation);
    if (live === undefined || live.hasBegun) return;
    this.#advance(nowMs);
    live.hasBegun = true;
    this.#models.get(live.model)?.firstTokens.saw(this.#timeMs - live.grantedAtMs);
  }

  /** It is over, however. Twice means nothing. */
  over(
    reservation: Reservation,
    nowMs: number,
    { promptTokens, completionTokens = 0, bodyBytes = 0, code }: Spent = {},
  ): void {
    const live = this.#live.get(reservation);
    if (live === undefined) return;
    this.#advance(nowMs);
    this.#live.delete(reservation);
    const { model, tenant, tokens, isPaid, hasBegun } = live;
    const own = this.#tenants.get(tenant);
    own?.live.delete(reservation);
    const tookMs = Math.max(0, nowMs - live.grantedClockMs);
    own?.lengths.saw(tookMs);
    const gate = this.#models.get(model);
    if (gate === undefined) return;
    gate.live.delete(reservation);
    const ended = { isLeft: code === 'client_gone', tokensMax: live.answerTokensMax };
    const answer = { bodyBytes, hasBegun, tookMs, ...ended };
    if (promptTokens !== undefined) {
      gate.answerTokens.saw(answer, completionTokens);
      gate.promptTokens.saw(promptTokens, live.promptTokensGuessed);
    }
    const answerTokens = promptTokens === undefined ? gate.answerTokens.in(answer) : completionTokens;
    own?.answers.saw(answerTokens);
    const owed = (promptTokens ?? gate.promptTokens.in(live.promptTokensGuessed)) + answerTokens - tokens;
    // Who paid nothing gets nothing back.
    gate.queue.charge(tenant, isPaid ? owed : Math.max(0, owed));
  }

  get view(): AdmissionView {
    const models = [...this.#models].map(([model, gate]): ModelAdmissionView => {
      const { queue, live, counts, waits, firstTokens } = gate;
      return {
        ...{ model, waiting: queue.size, live: live.size, granted: counts.granted },
        ...{ refused: Object.fromEntries(counts.refused), waits: waits.figures },
        ...{ paceMs: gate.pace.msFor(1), firstTokenMs: firstTokens.likelyMs },
      };
    });
    const waiting = new Map<string, number>();
    for (const { queue } of this.#models.values()) {
      for (const [tenant, count] of queue.tenants) waiting.set(tenant, (waiting.get(tenant) ?? 0) + count);
    }
    const tenants = [...this.#tenants].map(([tenant, { live, counts }]) => {
      const refused = Object.fromEntries(counts.refused);
      const figures = { live: live.size, granted: counts.granted, refused };
      return { tenant, waiting: waiting.get(tenant) ?? 0, ...figures };
    });
    return { models, tenants };
  }

  /** Those that are set. */
  get limits(): LimitsView {
    return {
      models: Array.from(this.#modelLimits, ([model, limits]) => ({ model, ...limits })),
      tenants: Array.from(this.#tenantLimits, ([tenant, limits]) => ({ tenant, ...limits })),
    };
  }

  #advance(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - (this.#clockMs ?? nowMs));
    const stepMs = Math.min(stepMsMax, passedMs);
    this.#clockMs = nowMs;
    this.#timeMs += stepMs;
    if (stepMs === 0) return;
    for (const { queue, pace } of this.#models.values()) {
      if (queue.size > 0) pace.waited(stepMs);
      // Nobody looks while nobody waits, so it is all of that time.
      else pace.idled(passedMs);
    }
  }

  #roomOf(model: string): Room {
    const { concurrency, seatsPerReplica } = this.limitsOf(model);
    const room = this.#options.roomOf(model, seatsPerReplica);
    const live = this.#models.get(model)?.live.size ?? 0;
    return room === 'room' && concurrency !== undefined && live >= concurrency ? 'full' : room;
  }

  #roomFor(ask: Ask): Room {
    const room = this.#roomOf(ask.model);
    return room === 'room' ? (ask.room?.() ?? room) : room;
  }

  /** One replica may serve several models: those who wait for them take turns. */
  #grantAll(): void {
    if (this.#isGranting) return;
    this.#isGranting = true;
    try {
      for (let isAny = true; isAny; ) {
        isAny = false;
        for (const [model, gate] of [...this.#waitedFor()]) {
          if (!this.#grantOne(model, gate)) continue;
          isAny = true;
          this.#models.delete(model);
          this.#models.set(model, gate);
        }
      }
    } finally {
      this.#isGranting = false;
    }
  }

  *#waitedFor(): Generator<[string, ModelGate]> {
    for (const [model, gate] of this.#models) if (gate.queue.size > 0) yield [model, gate];
  }

  /** Lets the next one in, or tells it that it is too late. False when nobody may go. */
  #grantOne(model: string, gate: ModelGate): boolean {
    const room = this.#roomOf(model);
    const isUnserved = room === 'none' || room === 'away';
    if (isUnserved && this.#mayReturn(gate)) return false;
    if (!isUnserved) gate.unservedSinceMs = undefined;
    if (room === 'full') return false;
    const ticket = gate.queue.take((one) => one.room?.() !== 'full');
    if (ticket === undefined) return false;
    const why = this.#whyLate(model, gate, ticket);
    if (why === undefined) this.#letIn(gate, ticket);
    else {
      // It had its turn for nothing: that is not its tenant's loss.
      gate.queue.charge(ticket.tenant, -ticket.tokens);
      this.#refuse(gate, ticket, why);
    }
    return true;
  }

  /** Nobody serves the model, and for no longer than a node takes to be back. */
  #mayReturn(gate: ModelGate): boolean {
    gate.unservedSinceMs ??= this.#timeMs;
    return this.#timeMs - gate.unservedSinceMs < unservedMsMax;
  }

  #letIn(gate: ModelGate, ticket: Ticket): void {
    const waitedMs = this.#timeMs - ticket.sinceMs;
    gate.pace.granted();
    gate.waits.saw(waitedMs);
    this.#countGrant(gate, ticket.tenant);
    this.#turn = ticket;
    try {
      ticket.granted(waitedMs);
    } finally {
      this.#turn = undefined;
    }
  }

  #refuse(gate: ModelGate, ticket: Ticket, reason: RefusalReason): void {
    this.#ended(gate, ticket, reason);
    ticket.refused(this.#refusal(gate, ticket, reason));
  }

  /** It waits no longer, without having been let in. */
  #ended(gate: ModelGate, { tenant }: Ticket, reason: RefusalReason): void {
    this.#tenantGate(tenant).counts.refuse(reason);
    gate.counts.refuse(reason);
  }

  #whyLate(model: string, gate: ModelGate, ticket: Ticket): RefusalReason | undefined {
    const waitedMs = this.#timeMs - ticket.sinceMs;
    if (waitedMs >= ticket.remainingMs) return 'deadline';
    const { queueMsMax } = this.limitsOf(model);
    if (waitedMs >= queueMsMax) return 'queue_time';
    // What was let in before is not given up for being late.
    return !ticket.isRetry && waitedMs > this.#patienceMs(model, gate) ? 'predicted_late' : undefined;
  }

  /** Who waits for longer has its first token behind the objective. */
  #patienceMs(model: string, { firstTokens }: ModelGate): number {
    const { firstTokenMs } = this.limitsOf(model);
    const likelyMs = Math.min(firstTokens.likelyMs, firstTokenShareMax * firstTokenMs);
    return (1 - marginShare) * firstTokenMs - likelyMs;
  }

  #assertTenantMay(ask: Ask): void {
    const { concurrency } = this.#tenantLimits.get(ask.tenant) ?? {};
    if (concurrency === undefined) return;
    let own = this.#tenants.get(ask.tenant)?.live.size ?? 0;
    for (const { queue } of this.#models.values()) own += queue.waitingOf(ask.tenant);
    if (own < concurrency) return;
    this.#reject(this.#models.get(ask.model), ask, 'tenant_concurrency');
  }

  /**
   * Refuses who would wait for too long, as far as that can be told. Never who would wait for nobody: it would not be
   * faster later, and while nobody waits the pace stays what it is.
   */
  #assertInTime(gate: ModelGate, ask: Ask): void {
    if (this.#aheadOf(gate, ask) === 0) return;
    const waitMs = this.#waitMsOf(gate, ask);
    if (waitMs === undefined) return;
    const { queueMsMax } = this.limitsOf(ask.model);
    if (waitMs > Math.min(queueMsMax, this.#patienceMs(ask.model, gate))) {
      this.#reject(gate, ask, 'predicted_late');
    }
  }

  /**
   * A full queue makes place for whoever has less than its share, and refuses the others. Retries and continued
   * answers neither ask nor are sent away: they are no more than what was let in within the queue's time.
   */
  #makePlace(gate: ModelGate, ask: Ask): void {
    const { queueMax } = this.limitsOf(ask.model);
    if (gate.queue.size < queueMax) return;
    const last = gate.queue.overShare(ask.tenant, this.#weightOf(ask.tenant));
    if (last !== undefined) {
      gate.queue.remove(last);
      this.#refuse(gate, last, 'tenant_share');
      return;
    }
    const own = gate.queue.waitingOf(ask.tenant);
    this.#reject(gate, ask, own > 0 && own < gate.queue.size ? 'tenant_share' : 'queue_full');
  }

  #reject(gate: ModelGate | undefined, ask: Ask, reason: RefusalReason): never {
    gate?.counts.refuse(reason);
    this.#tenantGate(ask.tenant).counts.refuse(reason);
    throw this.#refusal(gate, ask, reason);
  }

  #refusal(gate: ModelGate | undefined, ask: Ask, reason: RefusalReason): CognitoraError {
    const tenantConcurrency = this.#tenantLimits.get(ask.tenant)?.concurrency;
    const limits = { ...this.limitsOf(ask.model), tenantConcurrency };
    const againMs = reason === 'tenant_concurrency' ? this.#ownEndMs(ask.tenant) : this.#seatMs(gate, ask);
    return refusalOf(ask.model, { reason, limits }, retryAfterOf(againMs ?? againMsUnknown));
  }

  /** How long one more of this kind would wait; undefined while nobody knows. */
  #waitMsOf(gate: ModelGate, ask: Ask): number | undefined {
    return gate.pace.msFor(this.#aheadOf(gate, ask) + 1);
  }

  #aheadOf({ queue }: ModelGate, ask: Ask): number {
    return queue.ahead(ask, this.#weightOf(ask.tenant));
  }

  /** By then what waits before it will have been let in, at the pace of late. */
  #seatMs(gate: ModelGate | undefined, ask: Ask): number | undefined {
    return gate && this.#waitMsOf(gate, ask);
  }

  /** By then the tenant's first one is likely to end, if they take as long as those before. */
  #ownEndMs(tenant: string): number | undefined {
    const { live, lengths } = this.#tenantGate(tenant);
    const [first] = live;
    const { grantedClockMs = 0 } = (first && this.#live.get(first)) ?? {};
    if (lengths.likelyMs === 0) return undefined;
    const leftMs = lengths.likelyMs - Math.max(0, (this.#clockMs ?? 0) - grantedClockMs);
    return leftMs > 0 ? leftMs : lengths.likelyMs;
  }

  /** What it is likely to take: most ask for more than they do. */
  #likelyTokens(demand: Pick<Ask, 'model' | 'tenant' | 'tokens' | 'answerTokens'>): number {
    const { model, tenant, tokens, answerTokens } = demand;
    const guessed = tokens - answerTokens;
    const promptTokens = this.#models.get(model)?.promptTokens.in(guessed) ?? guessed;
    return promptTokens + this.#tenantGate(tenant).answers.within(answerTokens);
  }

  #weightOf(tenant: string): number {
    return this.#tenantLimits.get(tenant)?.weight ?? 1;
  }

  #countGrant(gate: ModelGate, tenant: string): void {
    gate.counts.granted += 1;
    this.#tenantGate(tenant).counts.granted += 1;
  }

  #addModel(model: string): ModelGate {
    const gate = new ModelGate();
    keep(this.#models, model, gate);
    return gate;
  }

  #tenantGate(tenant: string): TenantGate {
    const known = this.#tenants.get(tenant);
    if (known !== undefined) return known;
    const gate = new TenantGate();
    keep(this.#tenants, tenant, gate);
    return gate;
  }
}

/** While no pace is known: about what a short answer takes. */
const againMsUnknown = 5_000;
