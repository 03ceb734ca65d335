/**
 * Who is next of those that wait for one model: strict priority within a tenant, deficit round robin over tenants by
 * tokens with weights, so that a tenant's share depends neither on how many requests it sends nor on their size. Pure:
 * knows no time, no seats and no limits. Takes and removes in constant time for each tenant that waits.
 */
import { prioritiesMax } from '@cognitora/protocol/limits';

/** What the order of waiting depends on. */
export interface Waiting {
  readonly tenant: string;
  /** Of a tenant's own, higher goes first; below `prioritiesMax`. */
  readonly priority: number;
  /** What it is likely to cost. */
  readonly tokens: number;
  /** It was tried before, or its answer has begun: it goes before those of its priority that were not. */
  readonly isRetry: boolean;
}

/**
 * What a tenant of the weight 1 may take in each round: less than any request, so that nobody sends a row of short ones
 * in its turn. Many rounds cost no more than one.
 */
const roundTokens = 16;
/** What a tenant may be ahead or behind when its requests took more or less than expected: a few long ones. */
const deficitTokensMax = 65_536;

interface Lane<Ticket> {
  /** The order within the lane, first to last; kept as long as somebody waits. */
  readonly rows: readonly Set<Ticket>[];
  readonly weight: number;
  size: number;
  /** Tokens that it may take in this round. */
  deficit: number;
}

const newLane = <Ticket>(weight: number): Lane<Ticket> => ({
  rows: Array.from({ length: 2 * prioritiesMax }, () => new Set<Ticket>()),
  weight,
  size: 0,
  deficit: 0,
});

/** Higher priorities first, and of one priority those that were tried before. */
const rowOf = ({ priority, isRetry }: Waiting): number =>
  2 * (prioritiesMax - 1 - priority) + (isRetry ? 0 : 1);

const firstOf = <Ticket>({ rows }: Lane<Ticket>, mayGo: (ticket: Ticket) => boolean): Ticket | undefined => {
  for (const row of rows) for (const ticket of row) if (mayGo(ticket)) return ticket;
  return undefined;
};

/** Its last row of those that were not tried before. */
const lastNewRow = <Ticket>({ rows }: Lane<Ticket>): Set<Ticket> | undefined =>
  rows.findLast(({ size }, row) => size > 0 && row % 2 === 1);

const lastOf = <Ticket>(row: Iterable<Ticket>): Ticket | undefined => {
  let last: Ticket | undefined;
  for (const ticket of row) last = ticket;
  return last;
};

export class FairQueue<Ticket extends Waiting> {
  /** Of the tenants that wait, in the order of their turns. */
  readonly #lanes = new Map<string, Lane<Ticket>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Generator<Ticket> {
    for (const { rows } of this.#lanes.values()) for (const row of rows) yield* row;
  }

  /** Those that wait, and how many of each. */
  get tenants(): Iterable<readonly [string, number]> {
    return Array.from(this.#lanes, ([tenant, { size }]) => [tenant, size] as const);
  }

  waitingOf(tenant: string): number {
    return this.#lanes.get(tenant)?.size ?? 0;
  }

  /** `weight` counts from when the tenant's first begins to wait until none of its waits. */
  push(ticket: Ticket, weight: number): void {
    let lane = this.#lanes.get(ticket.tenant);
    if (lane === undefined) {
      lane = newLane(weight);
      this.#lanes.set(ticket.tenant, lane);
    }
    lane.rows[rowOf(ticket)]?.add(ticket);
    lane.size += 1;
    this.#size += 1;
  }

  /** False when it does not wait here. */
  remove(ticket: Ticket): boolean {
    const lane = this.#lanes.get(ticket.tenant);
    if (lane === undefined || !lane.rows[rowOf(ticket)]?.delete(ticket)) return false;
    lane.size -= 1;
    this.#size -= 1;
    if (lane.size === 0) this.#lanes.delete(ticket.tenant);
    return true;
  }

  /** The next one, which waits no longer; undefined when nobody may go. */
  take(mayGo: (ticket: Ticket) => boolean = () => true): Ticket | undefined {
    const first = this.#affordable(mayGo);
    if (first !== undefined) return this.#serve(first);
    if (!this.#nextRound(mayGo)) return undefined;
    const next = this.#affordable(mayGo);
    return next && this.#serve(next);
  }

  /** A request of this tenant took so many tokens more than was expected of it, or fewer. */
  charge(tenant: string, tokens: number): void {
    const lane = this.#lanes.get(tenant);
    if (lane === undefined) return;
    lane.deficit = Math.max(-deficitTokensMax, Math.min(deficitTokensMax, lane.deficit - tokens));
  }

  /** About how many of those that wait would go before one more of this kind. */
  ahead(one: Waiting, weight: number): number {
    const own = this.#lanes.get(one.tenant);
    let ownAhead = 0;
    for (let row = 0; row <= rowOf(one); row += 1) ownAhead += own?.rows[row]?.size ?? 0;
    let ahead = ownAhead;
    for (const lane of this.#lanes.values()) {
      if (lane !== own) ahead += Math.min(lane.size, ((ownAhead + 1) * lane.weight) / weight);
    }
    return ahead;
  }

  /**
   * Who had better make room for one more of this tenant: the last of the tenant that waits with most for its weight,
   * of those with any that was not tried before. Undefined when that is this tenant itself, or would be with one more.
   */
  overShare(tenant: string, weight: number): Ticket | undefined {
    let most: Lane<Ticket> | undefined;
    let row: Set<Ticket> | undefined;
    for (const lane of this.#lanes.values()) {
      if (most !== undefined && lane.size / lane.weight <= most.size / most.weight) continue;
      const last = lastNewRow(lane);
      if (last !== undefined) [most, row] = [lane, last];
    }
    if (most === undefined || most === this.#lanes.get(tenant)) return undefined;
    const own = (this.waitingOf(tenant) + 1) / weight;
    return own <= (most.size - 1) / most.weight ? lastOf(row ?? []) : undefined;
  }

  /** Whoever cannot afford its first one is passed over, and stands last for its next turn. */
  #affordable(mayGo: (ticket: Ticket) => boolean): Ticket | undefined {
    let left = this.#lanes.size;
    for (const [tenant, lane] of this.#lanes) {
      if (left === 0) return undefined;
      left -= 1;
      const ticket = firstOf(lane, mayGo);
      if (ticket !== undefined && ticket.tokens <= lane.deficit) return ticket;
      this.#lanes.delete(tenant);
      this.#lanes.set(tenant, lane);
    }
    return undefined;
  }

  /** As many rounds at once as it takes until somebody can afford its first one. False when nobody may go. */
  #nextRound(mayGo: (ticket: Ticket) => boolean): boolean {
    const able: Lane<Ticket>[] = [];
    let rounds = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values()) {
      const ticket = firstOf(lane, mayGo);
      if (ticket === undefined) continue;
      able.push(lane);
      const needed = Math.ceil((ticket.tokens - lane.deficit) / (roundTokens * lane.weight));
      rounds = Math.min(rounds, Math.max(1, needed));
    }
    for (const lane of able) lane.deficit += rounds * roundTokens * lane.weight;
    return able.length > 0;
  }

  #serve(ticket: Ticket): Ticket {
    const lane = this.#lanes.get(ticket.tenant);
    if (lane !== undefined) lane.deficit -= ticket.tokens;
    this.remove(ticket);
    return ticket;
  }
}
