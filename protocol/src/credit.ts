/**
 * Flow control, pure: bytes that a sender may still send, and bytes that a receiver has yet to read. Used twice on
 * each link and direction, per stream and for the whole link. A Worker's WebSocket shows no backpressure, so this
 * is all that bounds memory between an engine and a slow client.
 */
import { CognitoraError } from './errors.ts';

/** Credit above this is a broken peer, not a generous one. */
const creditBytesMax = 2 ** 31;

/** The sender's half: what may go now. */
export class SendCredit {
  #bytes: number;

  constructor(windowBytes: number) {
    this.#bytes = windowBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  spend(bytes: number): void {
    this.#bytes -= bytes;
  }

  /** Throws `protocol_error` when the sum leaves any sane range. */
  grant(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > creditBytesMax) {
      throw new CognitoraError('protocol_error', 'more credit was granted than any window holds');
    }
  }
}

/**
 * The receiver's half. `received` when bytes arrive, `consumed` when the reader took them; `consumed` returns the
 * bytes to grant now: nothing until half the window was read, so that a trickle of small chunks costs few grants.
 */
export class ReceiveWindow {
  readonly windowBytes: number;
  #mayArriveBytes: number;
  #toGrantBytes = 0;

  constructor(windowBytes: number) {
    this.windowBytes = windowBytes;
    this.#mayArriveBytes = windowBytes;
  }

  /** True when the peer has used all its credit and the reader has taken too little to grant more. */
  get exhausted(): boolean {
    return this.#mayArriveBytes === 0;
  }

  /** Throws `protocol_error` when the peer sends more than it was granted. */
  received(bytes: number): void {
    this.#mayArriveBytes -= bytes;
    if (this.#mayArriveBytes < 0) {
      throw new CognitoraError('protocol_error', 'bytes arrived beyond the granted credit');
    }
  }

  consumed(bytes: number): number {
    this.#toGrantBytes += bytes;
    return this.#toGrantBytes * 2 < this.windowBytes ? 0 : this.grantAll();
  }

  /** What was read and not granted yet, to grant now: for a peer that waits while the rest is not being read. */
  grantAll(): number {
    const granted = this.#toGrantBytes;
    this.#toGrantBytes = 0;
    this.#mayArriveBytes += granted;
    return granted;
  }
}
