/**
 * A log file that cannot grow without bound: beyond half of `bytesMax` it moves to `<path>.1`, replacing the one there.
 */
import { appendFileSync, existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

const bytesMax = 8 * 1024 * 1024;
/** The last lines, for telling why a process ended. */
const tailLinesMax = 20;

export class BoundedLog {
  readonly path: string;
  readonly tail: string[] = [];
  #bytes: number;

  constructor(path: string) {
    this.path = path;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#bytes = existsSync(path) ? statSync(path).size : 0;
  }

  write(line: string): void {
    this.tail.push(line);
    if (this.tail.length > tailLinesMax) this.tail.shift();
    if (this.#bytes > bytesMax / 2) {
      renameSync(this.path, `${this.path}.1`);
      this.#bytes = 0;
    }
    appendFileSync(this.path, `${line}\n`, { mode: 0o600 });
    this.#bytes += Buffer.byteLength(line) + 1;
  }
}
