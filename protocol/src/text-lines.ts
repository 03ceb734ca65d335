/**
 * Lines of text out of a byte stream in any pieces, of a bounded length each. Pure; what a line says is its reader's.
 */
import { fromUtf8, joinBytes } from './bytes.ts';

const lineFeed = 10;
const piecesMax = 256;

export class LineTooLong extends Error {}

export class TextLines {
  readonly #bytesMax: number;
  /** The begin of a line that is not whole. */
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The lines that are whole by now. Throws `LineTooLong`, and a TypeError on what is no UTF-8. */
  push(bytes: Uint8Array): readonly string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = bytes.indexOf(lineFeed); end !== -1; end = bytes.indexOf(lineFeed, from)) {
      this.#keep(bytes.subarray(from, end));
      lines.push(fromUtf8(joinBytes(this.#pieces)));
      this.#pieces = [];
      this.#bytes = 0;
      from = end + 1;
    }
    // A copy: what the caller handed over may be used again.
    if (from < bytes.length) this.#keep(bytes.slice(from));
    return lines;
  }

  #keep(piece: Uint8Array): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.#bytesMax) throw new LineTooLong(`a line of more than ${this.#bytesMax} bytes`);
    this.#pieces.push(piece);
    // One who sends byte by byte costs no more memory than others.
    if (this.#pieces.length > piecesMax) this.#pieces = [joinBytes(this.#pieces)];
  }
}
