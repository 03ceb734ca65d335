/**
 * A response body between frames and a reader: holds what the reader has not taken, joins what piled up into one
 * chunk, and reports what was taken so that credit follows the reader. Bounded by the stream's credit window.
 */
import { joinBytes } from '@cognitora/protocol/bytes';
import type { Clock } from '../clock.ts';

export interface BodyPipeOptions {
  readonly clock: Clock;
  /** Bytes the reader took, or that were dropped because it left. */
  readonly onConsumed: (bytes: number) => void;
  /** The reader left before the end. */
  readonly onCancel: () => void;
  /** Called once, when the pipe holds nothing and never will again. */
  readonly onDone: () => void;
}

export class BodyPipe {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #options: BodyPipeOptions;
  #controller: ReadableByteStreamController | undefined;
  #queue: Uint8Array[] = [];
  /** Bytes of the queue that came over the link. */
  #countedBytes = 0;
  /** Resolves the reader's pending pull. */
  #pulled: (() => void) | undefined;
  #closing = false;
  #doneTold = false;
  /** When the queue last became non-empty. */
  #waitingSinceMs = 0;

  constructor(options: BodyPipeOptions) {
    this.#options = options;
    this.readable = new ReadableStream(
      {
        type: 'bytes',
        // A body may break off before anybody reads it.
        start: (controller) => {
          this.#controller = controller as ReadableByteStreamController;
        },
        pull: (controller) => this.#pull(controller as ReadableByteStreamController),
        cancel: () => this.#cancelled(),
      },
      { highWaterMark: 0 },
    );
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /** How long bytes have waited for the reader. */
  stalledMs(nowMs: number): number {
    return this.isEmpty ? 0 : nowMs - this.#waitingSinceMs;
  }

  /** Queues bytes that came over the link; `flush` hands them on. */
  write(bytes: Uint8Array): void {
    this.#countedBytes += bytes.length;
    this.writeUncounted(bytes);
  }

  /** Queues bytes of the edge's own: comments and error events. */
  writeUncounted(bytes: Uint8Array): void {
    // A byte stream takes no empty chunk.
    if (bytes.length === 0) return;
    if (this.isEmpty) this.#waitingSinceMs = this.#options.clock();
    this.#queue.push(bytes);
  }

  /** Gives the reader what is queued, if it is waiting. */
  flush(): void {
    const controller = this.#controller;
    const pulled = this.#pulled;
    if (controller === undefined || pulled === undefined) return;
    if (this.isEmpty && !this.#closing) return;
    this.#pulled = undefined;
    this.#hand(controller);
    pulled();
  }

  /** Ends the body behind what is queued. */
  close(): void {
    this.#closing = true;
    this.flush();
    this.#doneIfEmpty();
  }

  /** Breaks the body off, so that the reader sees it was not whole. */
  abort(reason: Error): void {
    this.#drop();
    this.#controller?.error(reason);
    this.#pulled?.();
    this.#pulled = undefined;
  }

  #pull(controller: ReadableByteStreamController): Promise<void> | undefined {
    if (!this.isEmpty || this.#closing) {
      this.#hand(controller);
      return undefined;
    }
    return new Promise((resolve) => {
      this.#pulled = resolve;
    });
  }

  #hand(controller: ReadableByteStreamController): void {
    if (!this.isEmpty) {
      const bytes = joinBytes(this.#queue);
      const counted = this.#countedBytes;
      this.#queue = [];
      this.#countedBytes = 0;
      // `enqueue` takes the buffer over, and frames are views of one message: hand over a copy.
      controller.enqueue(bytes.slice());
      if (counted > 0) this.#options.onConsumed(counted);
      this.#doneIfEmpty();
      return;
    }
    if (!this.#closing) return;
    controller.close();
    controller.byobRequest?.respond(0);
  }

  #cancelled(): void {
    this.#drop();
    this.#options.onCancel();
  }

  #drop(): void {
    const dropped = this.#countedBytes;
    this.#queue = [];
    this.#countedBytes = 0;
    if (dropped > 0) this.#options.onConsumed(dropped);
    this.#closing = true;
    this.#doneIfEmpty();
  }

  #doneIfEmpty(): void {
    if (this.#doneTold || !this.#closing || !this.isEmpty) return;
    this.#doneTold = true;
    this.#options.onDone();
  }
}
