/**
 * A response body between the object that carries a request and the Worker that answers it: the engine's bytes, ours,
 * and how it ended, so that an end can be told from a break. Both ends are one bundle, so what is read is trusted.
 *
 *   [kind u8][length u24, big endian][payload] ...        see docs/design/0010
 */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { type CognitoraError, type ErrorCode, isErrorCode } from '@cognitora/protocol/errors';

/** On an answer whose body is written so. */
export const framedHeader = 'x-cognitora-framed';

/** What the engine calls `content-encoding`, of an object's answer: by that name the runtime would decode the body. */
export const encodingHeader = 'x-cognitora-encoding';

const kinds = { data: 0, ours: 1, end: 2, fail: 3 } as const;
const headerBytes = 4;

const header = (kind: number, length: number): Uint8Array =>
  new Uint8Array([kind, length >>> 16, length >>> 8, length]);

/** HOT. What goes in front of so many bytes of the engine's. */
export const dataHeader = (length: number): Uint8Array => header(kinds.data, length);

const frame = (kind: number, payload: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(headerBytes + payload.length);
  bytes.set(header(kind, payload.length));
  bytes.set(payload, headerBytes);
  return bytes;
};

/** Bytes of the edge's own, for the client. */
export const oursFrame = (bytes: Uint8Array): Uint8Array => frame(kinds.ours, bytes);

export const endFrame: Uint8Array = header(kinds.end, 0);

export interface WireFailure {
  readonly code: ErrorCode;
  readonly message: string;
}

export const failFrame = ({ code, message }: CognitoraError): Uint8Array =>
  frame(kinds.fail, utf8(JSON.stringify({ code, message })));

/** Of a body that says no end: its object is gone. */
export const cut: WireFailure = { code: 'link_lost', message: 'The answer broke off on its way.' };

/** What the Worker hears, in order; nothing after `end` or `fail`. */
export interface WireEvents {
  data(bytes: Uint8Array): void;
  ours(bytes: Uint8Array): void;
  end(): void;
  fail(failure: WireFailure): void;
}

const readFailure = (payload: Uint8Array): WireFailure => {
  const { code, message } = JSON.parse(new TextDecoder().decode(payload)) as WireFailure;
  return { code: isErrorCode(code) ? code : 'internal', message };
};

/** Reads a body in whatever pieces it comes. The engine's bytes are handed on as they come, never held. */
export class WireReader {
  readonly #events: WireEvents;
  readonly #header = new Uint8Array(headerBytes);
  #headerFilled = 0;
  #left = 0;
  /** Of a frame that is handed on whole. */
  #held: Uint8Array[] = [];

  constructor(events: WireEvents) {
    this.#events = events;
  }

  /** HOT. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headerFilled < headerBytes) {
        this.#header[this.#headerFilled] = bytes[at] ?? 0;
        this.#headerFilled += 1;
        at += 1;
        if (this.#headerFilled === headerBytes) this.#begin();
        continue;
      }
      const taken = Math.min(this.#left, bytes.length - at);
      this.#left -= taken;
      this.#part(bytes.subarray(at, at + taken));
      at += taken;
    }
  }

  #begin(): void {
    const [, high = 0, middle = 0, low = 0] = this.#header;
    this.#left = (high << 16) | (middle << 8) | low;
    if (this.#left === 0) this.#part(new Uint8Array());
  }

  #part(bytes: Uint8Array): void {
    const kind = this.#header[0];
    const isLast = this.#left === 0;
    if (isLast) this.#headerFilled = 0;
    if (kind === kinds.data) this.#events.data(bytes);
    else if (kind === kinds.end) this.#events.end();
    else this.#hold(kind, bytes, isLast);
  }

  #hold(kind: number | undefined, bytes: Uint8Array, isLast: boolean): void {
    this.#held.push(bytes);
    if (!isLast) return;
    const payload = joinBytes(this.#held);
    this.#held = [];
    if (kind === kinds.ours) this.#events.ours(payload);
    else this.#events.fail(readFailure(payload));
  }
}

/** An answer as the client gets it, with a body that is framed no more. */
export const clientAnswer = (
  { status, headers }: Response,
  body: Uint8Array | ReadableStream<Uint8Array> | null,
): Response => {
  const own = new Headers(headers);
  const encoding = own.get(encodingHeader);
  if (encoding !== null) own.set('content-encoding', encoding);
  own.delete(framedHeader);
  own.delete(encodingHeader);
  // `manual`: a body that the engine encoded is encoded already.
  const init = { status, headers: own, encodeBody: 'manual' as const };
  return new Response(body, init);
};

/** A success: any other is no stream, whatever it calls itself. */
const isStream = ({ ok, headers }: Response): boolean =>
  ok && (headers.get('content-type') ?? '').toLowerCase().startsWith('text/event-stream');

const isEncoded = ({ headers }: Response): boolean => headers.has(encodingHeader);

/** A stream of events that can be read. */
export const isEventStream = (answer: Response): boolean => isStream(answer) && !isEncoded(answer);

/** One that its engine compressed: it goes on as it comes, and nothing can be put behind a part of it. */
export const isSealedStream = (answer: Response): boolean => isStream(answer) && isEncoded(answer);
