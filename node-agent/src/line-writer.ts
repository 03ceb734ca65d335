/**
 * Writes lines to a descriptor without ever waiting for who reads there: a log whose reader stands still must not hold
 * up the streams of this host, as a synchronous write to its pipe would. One write at a time, a bounded queue behind.
 */
import { write } from 'node:fs';

/** Behind a reader that stands still: some thousands of lines, with what each takes beside its text. */
export const queuedBytesMax = 1024 * 1024;
/** A buffer in a list, however short its text. */
export const lineOverheadBytes = 128;
/** One write takes what there is, up to a pipe's capacity. */
const writeBytesMax = 64 * 1024;
/** A descriptor that somebody else made non-blocking is full for a moment. */
const fullMs = 20;

/** Calls back with what `fs.write` says. */
export type WriteBytes = (
  bytes: Uint8Array,
  done: (error: NodeJS.ErrnoException | null, written: number) => void,
) => void;

export const descriptorWriter =
  (descriptor: number): WriteBytes =>
  (bytes, done) =>
    write(descriptor, bytes, done);

export class LineWriter {
  readonly #write: WriteBytes;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #dropped = 0;
  #waiting: (() => void)[] = [];

  constructor(writeBytes: WriteBytes) {
    this.#write = writeBytes;
  }

  /** Lines that found no room, or no reader. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False: the line is dropped. */
  line(text: string): boolean {
    const bytes = Buffer.from(text);
    const roomBytes = bytes.length + lineOverheadBytes;
    if (this.#queuedBytes + roomBytes > queuedBytesMax) {
      this.#dropped += 1;
      return false;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += roomBytes;
    if (!this.#isWriting) this.#next();
    return true;
  }

  /** Resolves when all is written, or after `patienceMs`: somebody is about to end the process. */
  drained(patienceMs: number): Promise<void> {
    if (!this.#isWriting) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, patienceMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #next(): void {
    if (this.#queue.length === 0) {
      this.#isWriting = false;
      for (const tell of this.#waiting.splice(0)) tell();
      return;
    }
    this.#isWriting = true;
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes < writeBytesMax)) {
      bytes += this.#queue[count]?.length ?? 0;
      count += 1;
    }
    this.#send(Buffer.concat(this.#queue.splice(0, count)), count);
  }

  #send(bytes: Buffer, lines: number): void {
    this.#write(bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#send(bytes, lines), fullMs);
        return;
      }
      const done = error === null ? written : bytes.length;
      if (error !== null) this.#dropped += lines;
      this.#queuedBytes -= done;
      if (done < bytes.length) return this.#send(bytes.subarray(done), lines);
      this.#queuedBytes -= lines * lineOverheadBytes;
      this.#next();
    });
  }
}
