/**
 * Reads an engine's outputs no faster than this process can afford, which carries streams: what is too much waits in
 * the engine's pipe, and then the engine waits. Nothing is lost.
 */
import type { Readable } from 'node:stream';
import { outputBytesMax, outputLinesMax, outputWindowMs } from './limits.ts';
import { OutputLines } from './output-lines.ts';

/** So much is taken at once of what came: the lines in it are counted only then. */
const pieceBytes = 4 * 1024;

/** What all outputs of one engine may take of this process in one window. */
export class OutputBudget {
  #bytes = 0;
  #lines = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting: (() => void)[] = [];

  get isSpent(): boolean {
    return this.#bytes >= outputBytesMax || this.#lines >= outputLinesMax;
  }

  spend(bytes: number, lines: number): void {
    this.#bytes += bytes;
    this.#lines += lines;
    this.#timer ??= setTimeout(() => this.#renew(), outputWindowMs);
  }

  /** Called once, when there is something to spend again. */
  renewed(go: () => void): void {
    this.#waiting.push(go);
  }

  #renew(): void {
    this.#timer = undefined;
    this.#bytes = 0;
    this.#lines = 0;
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** Its lines, one after the other, until it is closed. */
export const readPaced = (output: Readable, budget: OutputBudget, accept: (line: string) => void): void => {
  const lines = new OutputLines(accept);
  let held: Buffer = Buffer.alloc(0);

  const take = (): void => {
    const piece = held.subarray(0, pieceBytes);
    held = held.subarray(pieceBytes);
    budget.spend(piece.length, lines.push(piece));
  };

  const drain = (): void => {
    while (held.length > 0 && !budget.isSpent) take();
    if (held.length > 0) {
      output.pause();
      budget.renewed(drain);
    } else if (output.isPaused()) output.resume();
  };

  output.on('data', (bytes: Buffer) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    drain();
  });
  output.on('error', () => {});
  output.once('close', () => {
    while (held.length > 0) take();
    lines.end();
  });
};
