/**
 * What stands in front of a region's decisions: the retry budget, admission with its waiting room, and the limits that
 * an operator set. Owns the order in which these are asked. Never chooses a replica.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Clock } from '../clock.ts';
import type { Demand } from '../demand.ts';
import { type Asked, isFirst, isRetry } from '../directory/asked.ts';
import type { Reservation } from '../directory/load.ts';
import { Admission, type AdmissionOptions, type Room, type Spent } from './admission.ts';
import { LimitStore } from './limit-store.ts';
import type { HeldLimits, LimitKind } from './limits.ts';
import { RetryBudget } from './retry-budget.ts';
import type { RegionAdmission } from './view.ts';
import { WaitingRoom } from './waiting-room.ts';

export interface GateOptions extends AdmissionOptions {
  readonly sql: SqlStorage;
  readonly clock: Clock;
}

export class Gate {
  readonly #admission: Admission;
  readonly #waiting: WaitingRoom;
  readonly #retries = new RetryBudget();
  readonly #limits: LimitStore;

  constructor({ sql, clock, ...options }: GateOptions) {
    this.#admission = new Admission(options);
    this.#waiting = new WaitingRoom(this.#admission, clock);
    this.#limits = new LimitStore(sql, this.#admission);
  }

  /**
   * What `decide` returns or throws in the turn in which the request is let in. Rejects with `retry_budget_spent`,
   * `overloaded`, `tenant_limit`, `total_timeout` or `client_gone` where it is not. `room`: of a retry, what there is
   * beside those that it tried.
   */
  async enter<Decided>(
    asked: Asked,
    signal: AbortSignal | undefined,
    room: () => Room,
    decide: (queuedMs: number) => Decided,
  ): Promise<Decided> {
    const isAgain = isRetry(asked);
    // A stream that is continued was served, and is bounded by how often that is done: a dying node has hundreds.
    if (isAgain && asked.occasion !== 'continued' && !this.#retries.take()) {
      throw new CognitoraError('retry_budget_spent', 'Too many requests of this region are tried again now.');
    }
    const { model, demand, remainingMs, awaitsNodes, client: address } = asked;
    const ask = { model, ...demand, awaitsNodes, isRetry: isAgain, remainingMs, ...(isAgain && { room }) };
    return this.#waiting.enter(ask, { signal, address }, (queuedMs) => {
      const decided = decide(queuedMs);
      // What is refused is no load that a share could be of, and what failed in another region was counted there.
      if (isFirst(asked)) this.#retries.first();
      return decided;
    });
  }

  /** Seats may have become free. */
  freed(): void {
    this.#waiting.grant();
  }

  booked(reservation: Reservation, model: string, demand: Demand): void {
    this.#admission.booked(reservation, { model, ...demand });
  }

  firstByte(reservation: Reservation, nowMs: number): void {
    this.#admission.firstByte(reservation, nowMs);
  }

  over(reservation: Reservation, nowMs: number, spent: Spent): void {
    this.#admission.over(reservation, nowMs, spent);
  }

  limitsOf(model: string): HeldLimits {
    return this.#admission.limitsOf(model);
  }

  /** Undefined: the defaults again. Throws `invalid_request`. */
  limit(kind: LimitKind, name: string, limits: JsonRecord | undefined): void {
    this.#limits.use(kind, name, limits);
    this.freed();
  }

  get view(): RegionAdmission {
    const { view, limits } = this.#admission;
    return { ...view, limits, retries: this.#retries.view };
  }
}
