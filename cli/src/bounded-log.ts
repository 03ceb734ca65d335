/**
 * A log file that cannot grow without bound: beyond half of `bytesMax` it moves to `<path>.1`, replacing the one there.
 * Where the disk takes nothing more, lines are lost from the file, never the process that logs them.
 */
import { appendFileSync, existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { warn } from './terminal.ts';

const bytesMax = 8 * 1024 * 1024;
/** The last lines, for telling why a process ended. */
const tailLinesMax = 20;

export class BoundedLog {
  readonly path: string;
  readonly tail: string[] = [];
  #bytes: number;
  #isBroken = false;
  #isTold = false;

  constructor(path: string) {
    this.path = path;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#bytes = bytesOf(path);
  }

  /** ` PATH WORDS`, to end a message with; empty where nobody wrote there. */
  pointer(words: string): string {
    return this.tail.length > 0 && existsSync(this.path) ? ` ${this.path} ${words}` : '';
  }

  write(line: string): void {
    this.tail.push(line);
    if (this.tail.length > tailLinesMax) this.tail.shift();
    try {
      this.#append(line);
    } catch (thrown) {
      this.#isBroken = true;
      if (!this.#isTold)
        warn(`${this.path} cannot be written: ${(thrown as Error).message}. Going on without it.`);
      this.#isTold = true;
    }
  }

  #append(line: string): void {
    // What a failed write left in the file is only known by looking.
    if (this.#isBroken) this.#bytes = bytesOf(this.path);
    this.#isBroken = false;
    if (this.#bytes > bytesMax / 2) {
      renameSync(this.path, `${this.path}.1`);
      this.#bytes = 0;
    }
    appendFileSync(this.path, `${line}\n`, { mode: 0o600 });
    this.#bytes += Buffer.byteLength(line) + 1;
  }
}

const bytesOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
