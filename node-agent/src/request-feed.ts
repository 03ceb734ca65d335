/**
 * A request's body between the link and the engine: whole at once when it came in one piece, else an async iterable
 * that grants credit as the engine takes it. Bounded by the stream's credit window.
 */
import type { Splicer } from '@cognitora/protocol/edits';

export interface RequestFeedOptions {
  readonly splicer: Splicer;
  /** Length of the body after splicing. */
  readonly bytes: number;
  /** Called once: the body, or the iterable that will be it. */
  readonly onWhole: (body: Buffer | AsyncIterable<Buffer>) => void;
  /** Bytes of the original body, beyond the first piece, that the engine took. */
  readonly onConsumed: (bytes: number) => void;
}

interface Piece {
  readonly bytes: Buffer;
  readonly consumes: number;
}

export class RequestFeed {
  readonly bytes: number;
  readonly #options: RequestFeedOptions;
  readonly #pieces: Piece[] = [];
  #wake: (() => void) | undefined;
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
      return;
    }
    if (bytes.length > 0) this.#pieces.push({ bytes: spliced, consumes: bytes.length });
    if (!this.#started) {
      this.#started = true;
      this.#options.onWhole(this.#iterate());
    }
    this.#wake?.();
  }

  /** Nobody will read the rest: its credit goes back. */
  drop(): void {
    this.#ended = true;
    for (const { consumes } of this.#pieces.splice(0)) this.#options.onConsumed(consumes);
    this.#wake?.();
  }

  async *#iterate(): AsyncGenerator<Buffer> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        if (piece.bytes.length > 0) yield piece.bytes;
        this.#options.onConsumed(piece.consumes);
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
