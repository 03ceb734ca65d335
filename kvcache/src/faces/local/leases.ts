/**
 * Values that other programs read in the mapped memory: each is held until its lease is given back or the connection
 * that took it ends, and not a moment longer or shorter, because its bytes are another value's after. So it is bounded
 * how much may be held, and by whom.
 */
import type { HeldValue } from '../../store.ts';

const perConnectionMax = 64;
const totalMax = 1_024;
/** Of memory: what is leased cannot be evicted. */
const share = 0.25;

export class Leases<Connection extends object> {
  readonly #bytesMax: number;
  readonly #held = new Map<number, { readonly connection: Connection; readonly value: HeldValue }>();
  readonly #of = new Map<Connection, Set<number>>();
  #latest = 0;
  #bytes = 0;

  constructor(ramBytesMax: number) {
    this.#bytesMax = ramBytesMax * share;
  }

  get count(): number {
    return this.#held.size;
  }

  isHolding(connection: Connection): boolean {
    return this.#of.has(connection);
  }

  /** Takes the value over. Undefined: no more, and the value is the caller's still. */
  take(connection: Connection, value: HeldValue): number | undefined {
    const own = this.#of.get(connection) ?? new Set();
    const isRoom = own.size < perConnectionMax && this.#held.size < totalMax;
    if (!isRoom || this.#bytes + value.bytes.length > this.#bytesMax) return undefined;
    this.#latest += 1;
    this.#held.set(this.#latest, { connection, value });
    this.#of.set(connection, own.add(this.#latest));
    this.#bytes += value.bytes.length;
    return this.#latest;
  }

  /** Only who took it gives it back. */
  giveBack(connection: Connection, lease: number): boolean {
    const held = this.#held.get(lease);
    if (held?.connection !== connection) return false;
    this.#held.delete(lease);
    this.#bytes -= held.value.bytes.length;
    const own = this.#of.get(connection);
    own?.delete(lease);
    if (own?.size === 0) this.#of.delete(connection);
    held.value.release();
    return true;
  }

  ended(connection: Connection): void {
    for (const lease of [...(this.#of.get(connection) ?? [])]) this.giveBack(connection, lease);
  }
}
