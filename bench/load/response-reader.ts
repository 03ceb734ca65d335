/**
 * A small, strict reader of HTTP/1.1 responses on one kept-alive connection: status, headers as text, and
 * body bytes as they come, chunked or counted. Exists so that the load generator's own work stays far below
 * what it measures. Understands nothing else: no upgrades, no trailers with content, no 1xx.
 */

export interface ResponseEvents {
  head(status: number, headers: string): void;
  body(bytes: Buffer): void;
  /** The response is whole; the next one may follow. */
  end(): void;
}

type State = 'head' | 'counted' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer';

const headBytesMax = 64 * 1024;

export class ResponseReader {
  readonly #events: ResponseEvents;
  #state: State = 'head';
  /** Bytes of a head or a line that has not ended yet. */
  #held: Buffer = Buffer.alloc(0);
  #left = 0;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** Throws on what is not HTTP/1.1 as described above. */
  push(bytes: Buffer): void {
    let from = bytes;
    if (this.#held.length > 0) {
      from = Buffer.concat([this.#held, bytes]);
      this.#held = Buffer.alloc(0);
    }
    let at = 0;
    while (at < from.length) {
      const next = this.#step(from, at);
      if (next < 0) {
        this.#held = from.subarray(at);
        if (this.#held.length > headBytesMax) throw new Error('a response head or chunk line never ends');
        return;
      }
      at = next;
    }
  }

  /** Handles what stands at `at`; returns the position after it, or -1 when more bytes are needed. */
  #step(from: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#head(from, at);
      case 'counted':
      case 'chunk':
        return this.#bytes(from, at);
      case 'chunk-size':
        return this.#chunkSize(from, at);
      case 'chunk-end':
        if (from.length - at < 2) return -1;
        this.#state = 'chunk-size';
        return at + 2;
      case 'trailer':
        if (from.length - at < 2) return -1;
        this.#finish();
        return at + 2;
    }
  }

  #head(from: Buffer, at: number): number {
    const end = from.indexOf('\r\n\r\n', at, 'latin1');
    if (end < 0) return -1;
    const head = from.toString('latin1', at, end + 2);
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(status))
      throw new Error(`not an HTTP/1.1 response: ${JSON.stringify(head.slice(0, 60))}`);
    this.#events.head(status, head);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) this.#state = 'chunk-size';
    else if (length === undefined) throw new Error('a response without a length');
    else {
      this.#left = Number(length);
      this.#state = 'counted';
      if (this.#left === 0) this.#finish();
    }
    return end + 4;
  }

  #chunkSize(from: Buffer, at: number): number {
    const end = from.indexOf(0x0a, at);
    if (end < 0) return -1;
    this.#left = Number.parseInt(from.toString('latin1', at, end), 16);
    if (Number.isNaN(this.#left)) throw new Error('a chunk without a size');
    this.#state = this.#left === 0 ? 'trailer' : 'chunk';
    return end + 1;
  }

  #bytes(from: Buffer, at: number): number {
    const end = Math.min(from.length, at + this.#left);
    this.#left -= end - at;
    this.#events.body(from.subarray(at, end));
    if (this.#left === 0 && this.#state === 'counted') this.#finish();
    else if (this.#left === 0) this.#state = 'chunk-end';
    return end;
  }

  #finish(): void {
    this.#state = 'head';
    this.#events.end();
  }
}
