/**
 * HOT. Requests of the Redis protocol (RESP2 and RESP3 clients send the same: arrays of bulk strings, or one line of
 * words) out of a byte stream in any pieces. A long bulk string can be given the buffer that its bytes are to end up
 * in, and who reads the stream may read them there. Pure: knows no command. A stream that is no such protocol ends with
 * an error, as with Redis, because nothing behind it can be read.
 *
 *   *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $1048576\r\n<bytes>\r\n
 */

/** A shorter string is kept as it came, and of one command no more than this before the sink is asked of each. */
const targetBytesMin = 16 * 1024;
/** Redis' own bound of a line without a length. */
const lineBytesMax = 64 * 1024;

export class ProtocolError extends Error {}

export interface CommandSink {
  /** Of the command that begins: more end the stream. */
  readonly wordsMax: () => number;
  /**
   * A string of so many bytes begins, after these words, of which `keptBytes` are kept. Where to, with room for the two
   * bytes that end it; else it is kept on the heap. 'skip' loses it.
   */
  readonly onBulk: (words: readonly Buffer[], bytes: number, keptBytes: number) => Buffer | 'keep' | 'skip';
  /** A whole command. A string that was given a buffer is in it; one that was skipped is empty. */
  readonly onCommand: (words: readonly Buffer[]) => void;
}

interface Bulk {
  /** Undefined: it is skipped. */
  readonly into: Buffer | undefined;
  readonly bytes: number;
  /** Of the string and its end. */
  at: number;
}

const endBytes = 2;

const carriageReturn = 13;
const lineFeed = 10;
const nothing = Buffer.alloc(0);

export class RespParser {
  readonly #sink: CommandSink;
  /** The begin of a line that is not whole. */
  #line: Buffer = nothing;
  #words: Buffer[] = [];
  #wordsLeft = 0;
  /** Of the words, on the heap. */
  #keptBytes = 0;
  #bulk: Bulk | undefined;

  constructor(sink: CommandSink) {
    this.#sink = sink;
  }

  /** In the middle of a command, which the end of the stream would cut off. */
  get isWithin(): boolean {
    return this.#wordsLeft > 0 || this.#bulk !== undefined || this.#line.length > 0;
  }

  /** Where the next bytes of the stream belong, when so many are to come that reading them there pays. */
  get target(): Buffer | undefined {
    const bulk = this.#bulk;
    if (bulk?.into === undefined || bulk.bytes - bulk.at < targetBytesMin) return undefined;
    return bulk.into.subarray(bulk.at, bulk.bytes + endBytes);
  }

  /** So many bytes were read into `target`. True when that was the last of them: then there is something to push. */
  took(bytes: number): boolean {
    if (this.#bulk === undefined) return false;
    this.#bulk.at += bytes;
    return this.#bulk.at === this.#bulk.bytes + endBytes;
  }

  /**
   * Reads on until the end of the bytes, or until `mayGoOn` says no after a command: then what is left is returned and
   * is to be pushed later. Throws `ProtocolError`.
   */
  push(bytes: Buffer, mayGoOn: () => boolean): Buffer {
    for (let at = 0; ; ) {
      if (this.#bulk !== undefined && this.#bulk.at === this.#bulk.bytes + endBytes)
        this.#endBulk(this.#bulk);
      if (this.#wordsLeft === 0 && this.#words.length > 0) {
        const words = this.#words;
        this.#words = [];
        this.#keptBytes = 0;
        this.#sink.onCommand(words);
        if (!mayGoOn()) return bytes.subarray(at);
      }
      if (at >= bytes.length) return nothing;
      at = this.#bulk === undefined ? this.#readLine(bytes, at) : this.#readBulk(bytes, at, this.#bulk);
    }
  }

  #readLine(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(lineFeed, from);
    const piece = bytes.subarray(from, end === -1 ? bytes.length : end);
    if (this.#line.length + piece.length > lineBytesMax) throw new ProtocolError('too big inline request');
    const line = this.#line.length === 0 ? piece : Buffer.concat([this.#line, piece]);
    if (end === -1) {
      this.#line = Buffer.from(line);
      return bytes.length;
    }
    this.#line = nothing;
    this.#takeLine(line.at(-1) === carriageReturn ? line.subarray(0, -1) : line);
    return end + 1;
  }

  #takeLine(line: Buffer): void {
    const text = line.toString('latin1');
    if (this.#wordsLeft > 0) {
      if (text[0] !== '$') throw new ProtocolError(`expected '$', got '${text[0] ?? ' '}'`);
      this.#beginBulk(lengthIn(text, 2 ** 32, 'invalid bulk length'));
    } else if (text[0] === '*') {
      this.#wordsLeft = Math.max(0, lengthIn(text, this.#sink.wordsMax(), 'invalid multibulk length'));
    } else {
      this.#words = text
        .split(/[ \t]+/)
        .flatMap((word) => (word === '' ? [] : [Buffer.from(word, 'latin1')]));
      if (this.#words.length > this.#sink.wordsMax()) throw new ProtocolError('too big inline request');
    }
  }

  #beginBulk(bytes: number): void {
    if (bytes < 0) throw new ProtocolError('invalid bulk length');
    const kept = this.#keptBytes;
    const target = kept + bytes < targetBytesMin ? 'keep' : this.#sink.onBulk(this.#words, bytes, kept);
    if (target === 'keep') this.#keptBytes += bytes;
    const into =
      target === 'keep' ? Buffer.allocUnsafe(bytes + endBytes) : target === 'skip' ? undefined : target;
    this.#bulk = { into, bytes, at: 0 };
  }

  #readBulk(bytes: Buffer, from: number, bulk: Bulk): number {
    const end = Math.min(bytes.length, from + bulk.bytes + endBytes - bulk.at);
    if (bulk.into !== undefined) bytes.copy(bulk.into, bulk.at, from, end);
    bulk.at += end - from;
    return end;
  }

  #endBulk({ into, bytes }: Bulk): void {
    if (into !== undefined && (into[bytes] !== carriageReturn || into[bytes + 1] !== lineFeed))
      throw new ProtocolError('expected CRLF behind a bulk string');
    this.#words.push(into?.subarray(0, bytes) ?? nothing);
    this.#wordsLeft -= 1;
    this.#bulk = undefined;
  }
}

const lengthIn = (text: string, max: number, complaint: string): number => {
  const digits = text.slice(1);
  const length = /^-?\d{1,10}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(length >= -1 && length <= max)) throw new ProtocolError(complaint);
  return length;
};
