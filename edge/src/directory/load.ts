/**
 * What one replica works on, as the edge knows it: derived from the set of live requests, never counted up and down.
 * Pure; time comes in with each call.
 *
 *   booked (waits for its prefill) --first byte--> decoding --released--> gone
 */

/** One live request on one replica; unique for the life of a directory. */
export type Reservation = number & { readonly reservation: unique symbol };

export interface LiveRequest {
  bookedAtMs: number;
  readonly contextTokens: number;
  /** Prompt tokens that were expected not to be in the cache. */
  readonly uncachedTokens: number;
  /** What its prefill was expected to take. */
  readonly prefillMs: number;
  /** In service for longer than this it is late; no less than `prefillMs`. */
  readonly lateAfterMs: number;
  firstByteAtMs: number | undefined;
  /** Requests that decoded when its first byte came. */
  decodingBeside: number;
}

interface Derived {
  waitingTokens: number;
  backlogMs: number;
  /** Of the request whose turn it is. */
  headBookedAtMs: number;
  headPrefillMs: number;
  headLateAfterMs: number;
  decoding: number;
  decodingTokens: number;
}

export class ReplicaLoad {
  readonly #live = new Map<Reservation, LiveRequest>();
  /** When a first byte last came: since then the next prefill runs. */
  #turnedAtMs = Number.NEGATIVE_INFINITY;
  #derived: Derived | undefined;

  /** Live requests. */
  get live(): number {
    return this.#live.size;
  }

  get reservations(): Iterable<Reservation> {
    return this.#live.keys();
  }

  /** Requests that were booked more than so long ago. Those of the future count from now on: the clock was set back. */
  *olderThan(ageMs: number, nowMs: number): Generator<Reservation> {
    for (const [reservation, request] of this.#live) {
      if (request.bookedAtMs > nowMs) {
        request.bookedAtMs = nowMs;
        this.#derived = undefined;
      }
      if (nowMs - request.bookedAtMs > ageMs) yield reservation;
    }
  }

  book(reservation: Reservation, request: LiveRequest): void {
    this.#live.set(reservation, request);
    this.#derived = undefined;
  }

  release(reservation: Reservation): LiveRequest | undefined {
    const request = this.#live.get(reservation);
    if (request === undefined) return undefined;
    this.#live.delete(reservation);
    this.#derived = undefined;
    return request;
  }

  /** The request's first byte is out. Returns how long its prefill took by that; undefined when told before. */
  firstByte(reservation: Reservation, nowMs: number): number | undefined {
    const request = this.#live.get(reservation);
    if (request === undefined || request.firstByteAtMs !== undefined) return undefined;
    request.decodingBeside = this.#derive().decoding;
    request.firstByteAtMs = nowMs;
    const prefillMs = nowMs - Math.max(request.bookedAtMs, this.#turnedAtMs);
    this.#turnedAtMs = nowMs;
    this.#derived = undefined;
    return prefillMs;
  }

  /**
   * Requests that have begun, now that this one is answered: itself, those past their first byte, and, as engines take
   * requests in the order in which they come, those that were booked before it.
   */
  begunBy(reservation: Reservation): number {
    let begun = 0;
    let isBefore = true;
    for (const [one, { firstByteAtMs }] of this.#live) {
      if (isBefore || firstByteAtMs !== undefined) begun += 1;
      if (one === reservation) isBefore = false;
    }
    return begun;
  }

  /** Prompt tokens of booked requests that are still to be computed. */
  get waitingTokens(): number {
    return this.#derive().waitingTokens;
  }

  /** Requests past their first byte. */
  get decoding(): number {
    return this.#derive().decoding;
  }

  /** Context tokens of those. */
  get decodingTokens(): number {
    return this.#derive().decodingTokens;
  }

  /**
   * How long a request booked now waits for its prefill to begin. A prefill that is late is expected to be as late
   * again: the longer a replica with work gives no sign of life, the fuller it counts.
   */
  waitMs(nowMs: number): number {
    const { backlogMs, headBookedAtMs, headPrefillMs, headLateAfterMs } = this.#derive();
    if (headBookedAtMs === Number.POSITIVE_INFINITY) return 0;
    const servedMs = Math.max(0, nowMs - Math.max(headBookedAtMs, this.#turnedAtMs));
    const lateMs = Math.max(0, servedMs - headLateAfterMs);
    return backlogMs - Math.min(servedMs, headPrefillMs) + lateMs;
  }

  #derive(): Derived {
    if (this.#derived !== undefined) return this.#derived;
    const derived: Derived = {
      waitingTokens: 0,
      backlogMs: 0,
      headBookedAtMs: Number.POSITIVE_INFINITY,
      headPrefillMs: 0,
      headLateAfterMs: 0,
      decoding: 0,
      decodingTokens: 0,
    };
    for (const request of this.#live.values()) {
      if (request.firstByteAtMs !== undefined) {
        derived.decoding += 1;
        derived.decodingTokens += request.contextTokens;
        continue;
      }
      derived.waitingTokens += request.uncachedTokens;
      derived.backlogMs += request.prefillMs;
      if (request.bookedAtMs < derived.headBookedAtMs) {
        derived.headBookedAtMs = request.bookedAtMs;
        derived.headPrefillMs = request.prefillMs;
        derived.headLateAfterMs = request.lateAfterMs;
      }
    }
    this.#derived = derived;
    return derived;
  }
}
