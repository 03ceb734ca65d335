/**
 * A response body between frames and a reader: hands on what came in each turn as one chunk, and reports what the
 * reader took so that credit follows it. Bounded by the stream's credit window.
 *
 *   write -> queue --flush--> stream's own queue (`handed`) --> reader
 *
 * The stream is asked how much of `handed` is left whenever something else happens anyway (`#settle`), because a
 * call per chunk from the runtime's pump back into here costs as much as the chunk itself. Only when much waits does
 * the pipe ask to be called (`pull`) once the reader has taken it.
 */
import { joinBytes } from '@cognitora/protocol/bytes';
import { edgeStreamWindowBytes } from '@cognitora/protocol/limits';
import type { Clock } from '../clock.ts';

export interface BodyPipeOptions {
  readonly clock: Clock;
  /** Bytes the reader took, or that were dropped because it left. */
  readonly onConsumed: (bytes: number) => void;
  /** The reader left before the end. */
  readonly onCancel: () => void;
  /** Called once, when the pipe needs no more watching: its bytes are taken, or few and their end follows them. */
  readonly onDone: () => void;
}

/** With this much unread the pipe wants to hear when it is read: credit must flow before the window is spent. */
const quietBytesMax = edgeStreamWindowBytes / 8;
/** The end goes out behind at most this much unread: less than a socket's buffer takes from a client that stopped. */
const tailBytesMax = 4 * 1024;
/** A chunk may keep a message in memory that is this many times as long; otherwise it is copied out. */
const pinnedRatioMax = 4;

interface Handed {
  /** All bytes of the chunk, and those of them that came over the link. */
  readonly bytes: number;
  readonly counted: number;
}

export class BodyPipe {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #options: BodyPipeOptions;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #queue: Uint8Array[] = [];
  /** Bytes of the queue that came over the link. */
  #countedBytes = 0;
  /** Chunks in the stream that the reader had not taken when last looked, oldest first. */
  readonly #handed: Handed[] = [];
  #handedBytes = 0;
  /** Set while `pull` is held back; calling it makes the stream pull again once it is empty. */
  #release: (() => void) | undefined;
  #closing = false;
  #doneTold = false;
  /** When the pipe last became non-empty. */
  #waitingSinceMs = 0;

  constructor(options: BodyPipeOptions) {
    this.#options = options;
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pull(),
        cancel: () => this.#cancelled(),
      },
      { highWaterMark: 0 },
    );
  }

  get isEmpty(): boolean {
    this.#settle();
    return this.#queue.length === 0 && this.#handed.length === 0;
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
    if (bytes.length === 0) return;
    if (this.isEmpty) this.#waitingSinceMs = this.#options.clock();
    this.#queue.push(bytes);
  }

  /** Hands the reader what is queued, as one chunk. */
  flush(): void {
    if (this.#queue.length === 0 || this.#doneTold) return;
    const bytes = joinBytes(this.#queue);
    this.#handed.push({ bytes: bytes.length, counted: this.#countedBytes });
    this.#handedBytes += bytes.length;
    this.#queue = [];
    this.#countedBytes = 0;
    this.#controller?.enqueue(unpinned(bytes));
    if (this.#handedBytes > quietBytesMax) this.#listen();
  }

  /** Ends the body behind what is queued. */
  close(): void {
    if (this.#doneTold) return;
    this.flush();
    this.#settle();
    this.#closing = true;
    if (this.#handedBytes <= tailBytesMax) this.#finish();
    else this.#listen();
  }

  /** Gives up what waits for the reader and ends the body with these bytes instead, for when it reads again. */
  replace(bytes: Uint8Array): void {
    this.#queue = [];
    this.#controller?.enqueue(bytes);
    this.#controller?.close();
    this.#drop();
  }

  /** The stream is empty and its reader waits. What it returns holds the next call back. */
  #pull(): Promise<void> | undefined {
    this.flush();
    this.#settle();
    if (this.#handed.length > 0) return undefined;
    if (this.#closing) {
      this.#finish();
      return undefined;
    }
    return new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  #listen(): void {
    this.#release?.();
    this.#release = undefined;
  }

  /** Learns from the stream what the reader has taken. */
  #settle(): void {
    const desired = this.#controller?.desiredSize ?? 0;
    if (this.#handed.length <= -desired) return;
    let consumed = 0;
    for (const { bytes, counted } of this.#handed.splice(0, this.#handed.length + desired)) {
      this.#handedBytes -= bytes;
      consumed += counted;
    }
    if (consumed > 0) this.#options.onConsumed(consumed);
  }

  #finish(): void {
    this.#controller?.close();
    this.#drop();
  }

  #cancelled(): void {
    this.#drop();
    this.#options.onCancel();
  }

  /** Gives back what waits: nobody will ask again how much of it was read. */
  #drop(): void {
    let dropped = this.#countedBytes;
    for (const { counted } of this.#handed.splice(0)) dropped += counted;
    this.#queue = [];
    this.#countedBytes = 0;
    this.#handedBytes = 0;
    if (dropped > 0) this.#options.onConsumed(dropped);
    this.#listen();
    if (this.#doneTold) return;
    this.#doneTold = true;
    this.#options.onDone();
  }
}

/** Frames are views of one message, which lives as long as any of them. */
const unpinned = (bytes: Uint8Array): Uint8Array =>
  bytes.buffer.byteLength > pinnedRatioMax * bytes.length ? bytes.slice() : bytes;
