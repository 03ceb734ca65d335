/**
 * A request's body between the link and the engine: whole at once when it came in one piece, else an async iterable
 * that grants credit as the engine takes it. Bounded by the stream's credit window, or by whoever holds it back.
 */
import type { Splicer } from '@cognitora/protocol/edits';
import { Fifo } from '@cognitora/protocol/fifo';

export interface RequestFeedOptions {
  readonly splicer: Splicer;
  /** Length of the body after splicing. */
  readonly bytes: number;
  /** Nobody takes it before it is whole, and somebody else bounds it: its credit goes back as it comes. */
  readonly isHeld: boolean;
  /** Called once: the body, or the iterable that will be it. */
  readonly onWhole: (body: Buffer | AsyncIterable<Buffer>) => void;
  /** Bytes of the original body that the engine took, or that nobody will: in the end each byte once. */
  readonly onConsumed: (bytes: number) => void;
}

interface Piece {
  readonly bytes: Buffer;
  readonly consumes: number;
}

export class RequestFeed {
  readonly bytes: number;
  readonly #options: RequestFeedOptions;
  readonly #pieces = new Fifo<Piece>();
  #wake: (() => void) | undefined;
  /** Bytes of the original body that the engine is taking now. */
  #takenBytes = 0;
  #started = false;
  #ended = false;

  constructor(options: RequestFeedOptions) {
    this.bytes = options.bytes;
    this.#options = options;
  }

  push(bytes: Uint8Array, last: boolean): void {
    const spliced = Buffer.concat(this.#options.splicer.push(bytes));
    this.#ended = last;
    if (!this.#started && last) {
      this.#started = true;
      this.#options.onWhole(spliced);
      this.#options.onConsumed(bytes.length);
      return;
    }
    const { isHeld, onConsumed } = this.#options;
    if (bytes.length > 0) this.#pieces.push({ bytes: spliced, consumes: isHeld ? 0 : bytes.length });
    if (isHeld) onConsumed(bytes.length);
    if (!this.#started) {
      this.#started = true;
      this.#options.onWhole(this.#iterate());
    }
    this.#wake?.();
  }

  /** Nobody will read the rest: its credit goes back. */
  drop(): void {
    this.#ended = true;
    for (let piece = this.#pieces.shift(); piece !== undefined; piece = this.#pieces.shift()) {
      this.#options.onConsumed(piece.consumes);
    }
    this.#taken();
    this.#wake?.();
  }

  /** Whoever breaks off while taking a piece may never come back for the next. */
  #taken(): void {
    const bytes = this.#takenBytes;
    this.#takenBytes = 0;
    if (bytes > 0) this.#options.onConsumed(bytes);
  }

  async *#iterate(): AsyncGenerator<Buffer> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#takenBytes = piece.consumes;
        if (piece.bytes.length > 0) yield piece.bytes;
        this.#taken();
      } else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
