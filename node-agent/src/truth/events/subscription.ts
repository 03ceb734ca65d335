/**
 * Follows an engine's KV events in sequence. A gap is filled from the engine's replay where it has one; one that cannot
 * be filled, and an engine that counts from the beginning again, mean that nothing is known any more. The sockets are
 * given, so that this decides and moves no bytes.
 */
import { EventSlices } from './event-slices.ts';
import { decodeKvEvents, type KvEvent } from './wire.ts';

export interface EventMessage {
  readonly sequence: bigint;
  readonly payload: Uint8Array;
}

export interface SubscriptionOptions {
  /** What the engine still has from `first` on, in order; none without a replay. */
  readonly replay: (first: bigint) => Promise<readonly EventMessage[]>;
  readonly onEvents: (events: readonly KvEvent[]) => void;
}

const cleared: readonly KvEvent[] = [{ type: 'cleared' }];

export class Subscription {
  readonly #options: SubscriptionOptions;
  readonly #slices = new EventSlices();
  /** Engines before this one. */
  #life = 0;
  /** Undefined: the next message is the first that counts. */
  #expected: bigint | undefined;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
  }

  /** The engine is another one: what it said before does not count, nor what was asked of it. */
  reset(): void {
    this.#life += 1;
    this.#expected = undefined;
  }

  /** One message after the other: await it. */
  async message(message: EventMessage): Promise<void> {
    const life = this.#life;
    const { sequence } = message;
    const isRestart = this.#expected !== undefined && sequence < this.#expected;
    if (isRestart) this.#options.onEvents(cleared);
    const from = isRestart ? 0n : (this.#expected ?? 0n);
    if (sequence > from) await this.#catchUp(from, sequence, life);
    await this.#apply(message, life);
  }

  async #catchUp(from: bigint, to: bigint, life: number): Promise<void> {
    const isFirst = this.#expected === undefined;
    const missed = (await this.#options.replay(from)).filter(
      ({ sequence }) => sequence >= from && sequence < to,
    );
    if (this.#life !== life) return;
    const isWhole = missed.every(({ sequence }, at) => sequence === to - BigInt(missed.length - at));
    const isFilled = isWhole && BigInt(missed.length) === to - from;
    if (!isFilled && !isFirst) this.#options.onEvents(cleared);
    // Of what is left only an unbroken end is of use.
    if (isWhole) for (const message of missed) await this.#apply(message, life);
  }

  async #apply({ sequence, payload }: EventMessage, life: number): Promise<void> {
    if (this.#life !== life) return;
    this.#expected = sequence + 1n;
    const { onEvents } = this.#options;
    try {
      // A message that cannot be read may have said that blocks are gone.
      const events = decodeKvEvents(payload) ?? cleared;
      await this.#slices.apply(events, onEvents, () => this.#life !== life);
    } catch {
      // Nobody knows how far it came.
      onEvents(cleared);
    }
  }
}
