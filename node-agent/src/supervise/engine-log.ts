/**
 * What one engine wrote: its last lines in memory, all of it in a file that moves to `<path>.1` when it has half of its
 * bytes. Writing never waits, as the log of `cgn up` does: this process carries streams. Where the disk takes no more,
 * lines are lost from the file only.
 */
import { closeSync, mkdirSync, openSync, renameSync, statSync, write } from 'node:fs';
import { dirname } from 'node:path';
import { LineWriter } from '../line-writer.ts';
import { hiding } from '../log.ts';
import { lastLineCharsMax, lastLinesMax, logBytesMax } from './limits.ts';

type Written = (error: NodeJS.ErrnoException | null, bytes: number) => void;

/** Appends to the file of that path, and starts a new one when it is full. */
class RotatingFile {
  readonly #path: string;
  readonly #bytesMax: number;
  #descriptor: number | undefined;
  #bytes = 0;

  constructor(path: string, bytesMax: number) {
    this.#path = path;
    this.#bytesMax = bytesMax;
  }

  write(bytes: Uint8Array, done: Written): void {
    try {
      this.#descriptor ??= this.#open();
      if (this.#bytes > 0 && this.#bytes + bytes.length > this.#bytesMax / 2) {
        this.#rotate();
        this.#descriptor = this.#open();
      }
    } catch (thrown) {
      // Later, so that a queue of many lines is no chain of calls.
      setImmediate(() => done(thrown as NodeJS.ErrnoException, 0));
      return;
    }
    write(this.#descriptor, bytes, (error, written) => {
      this.#bytes += written ?? 0;
      done(error, written);
    });
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #open(): number {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    this.#bytes = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
    return openSync(this.#path, 'a', 0o600);
  }

  #rotate(): void {
    this.close();
    this.#bytes = 0;
    renameSync(this.#path, `${this.#path}.1`);
  }
}

export class EngineLog {
  readonly path: string;
  readonly #file: RotatingFile;
  readonly #writer: LineWriter;
  readonly #lastLines: string[] = [];
  readonly #hidden: (text: string) => string;

  constructor(path: string, secrets: readonly string[], bytesMax = logBytesMax) {
    this.path = path;
    this.#hidden = hiding(secrets);
    this.#file = new RotatingFile(path, bytesMax);
    this.#writer = new LineWriter((bytes, done) => this.#file.write(bytes, done));
  }

  /** Oldest first; without the engine's secrets, and what looks like one. */
  get lastLines(): readonly string[] {
    return this.#lastLines;
  }

  line(text: string): void {
    // Before it is cut: the beginning of a secret is not known as one.
    const shown = this.#hidden(text);
    const last = shown.length > lastLineCharsMax ? `${shown.slice(0, lastLineCharsMax)}...` : shown;
    this.#lastLines.push(last);
    if (this.#lastLines.length > lastLinesMax) this.#lastLines.shift();
    this.#writer.line(`${text}\n`);
  }

  async close(patienceMs: number): Promise<void> {
    await this.#writer.drained(patienceMs);
    this.#file.close();
  }
}
