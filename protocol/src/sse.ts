/**
 * Server-sent events as bytes: splitting a stream into whole events, and the few events Cognitora itself says. An
 * event keeps its bytes, separator included, so that what is not touched comes out as it went in.
 */
import { joinBytes, utf8 } from './bytes.ts';
import { type CognitoraError, openAiErrorJson } from './errors.ts';
import { sseEventBytesMax } from './limits.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const colon = 0x3a;

/** A comment that keeps the connection alive; SSE readers ignore it. */
export const keepAliveComment: Uint8Array = utf8(': waiting for the engine\n\n');

/** The terminal event of a stream that failed after its headers were sent. No `[DONE]` follows it. */
export const sseError = (error: CognitoraError): Uint8Array => utf8(`data: ${openAiErrorJson(error)}\n\n`);

/** The position after the first blank line at or after `from`; -1 when there is none. LF, CRLF and CR end lines. */
export const endOfEvent = (bytes: Uint8Array, from: number): number => {
  let at = from;
  let feed = from - 1;
  for (;;) {
    // Found once per line feed, not once per line, so that lines that end in CR cost their length.
    if (feed >= 0 ? feed < at : at === from) feed = bytes.indexOf(lineFeed, at);
    const carriage = bytes.subarray(at, feed < 0 ? bytes.length : feed).indexOf(carriageReturn);
    const end = carriage >= 0 ? at + carriage : feed;
    if (end < 0) return -1;
    const next = afterLineEnd(bytes, end);
    if (next === end) return -1;
    const after = afterLineEnd(bytes, next);
    if (after > next) return after;
    at = next;
  }
};

/** The position after the line end at `at`; `at` itself when none stands there, or none that is sure to be whole. */
const afterLineEnd = (bytes: Uint8Array, at: number): number => {
  if (bytes[at] === lineFeed) return at + 1;
  if (bytes[at] !== carriageReturn || at + 1 === bytes.length) return at;
  return bytes[at + 1] === lineFeed ? at + 2 : at + 1;
};

/** Whether a stream may be cut after these bytes without tearing an event. */
export const endsEvent = (bytes: Uint8Array): boolean => {
  const last = bytes[bytes.length - 1];
  const before = bytes[bytes.length - 2];
  if (last === lineFeed) {
    const beforeThat = bytes[bytes.length - 3];
    return (
      before === lineFeed || (before === carriageReturn && (beforeThat === lineFeed || beforeThat === before))
    );
  }
  return last === carriageReturn && (before === carriageReturn || before === lineFeed);
};

const isLineEnd = (byte: number | undefined): boolean => byte === lineFeed || byte === carriageReturn;

type Line = 'start' | 'comment' | 'field';

/** The line that a byte is in, behind one that was in `line`. */
const lineAfter = (line: Line, byte: number | undefined): Line => {
  if (isLineEnd(byte)) return 'start';
  if (line !== 'start') return line;
  return byte === colon ? 'comment' : 'field';
};

/** Tells what a stream says from comments and blank lines, which only show that its sender lives. */
export class FieldLines {
  /** That of the last byte. */
  #line: Line = 'start';

  /** HOT. Whether a byte of a field's line is among these; line ends belong to none. */
  push(bytes: Uint8Array): boolean {
    let line = this.#line;
    let at = 0;
    for (; at < bytes.length; at += 1) {
      line = lineAfter(line, bytes[at]);
      if (line === 'field') break;
    }
    const hasField = at < bytes.length;
    // Of the rest only its last line matters; most often it ends with the bytes.
    let from = bytes.length;
    while (from > at && !isLineEnd(bytes[from - 1])) from -= 1;
    if (from > at) line = from === bytes.length ? 'start' : lineAfter('start', bytes[from]);
    this.#line = line;
    return hasField;
  }
}

const dataPrefix = 'data:';

/** The data of one event's text, without the blank that may stand before each line of it; empty in a comment. */
export const dataOf = (event: string): string =>
  event
    .split(/\r\n|\r|\n/)
    .filter((line) => line.startsWith(dataPrefix))
    .map((line) => line.slice(dataPrefix.length).replace(/^ /, ''))
    .join('\n');

/** A blank line has at most four bytes, so one that ends in new bytes begins in the last three before them. */
const seamBytes = 3;

/**
 * Cuts a byte stream into whole events. An event beyond `sseEventBytesMax` is passed on in one or more pieces, marked
 * as not whole, so that memory stays bounded; which events that befalls does not depend on how the stream was cut.
 */
export class SseSplitter {
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** A copy of the last bytes held. */
  #seam: Uint8Array = new Uint8Array();
  #oversized = false;

  /** Nothing is held: the next byte starts an event. */
  get atBoundary(): boolean {
    return this.#heldBytes === 0 && !this.#oversized;
  }

  push(bytes: Uint8Array, accept: (event: Uint8Array, whole: boolean) => void): void {
    // The held pieces are joined once, when their event ends: one that comes in many pieces costs its length.
    const heldBytes = this.#heldBytes;
    const probe = heldBytes === 0 ? bytes : joinBytes([this.#seam, bytes]);
    if (heldBytes > 0 && endOfEvent(probe, 0) < 0) {
      this.#held.push(bytes);
      this.#heldBytes += bytes.length;
      this.#seam = probe.slice(-seamBytes);
    } else {
      const from = joinBytes([...this.#held, bytes]);
      this.#hold(this.#cut(from, Math.max(0, heldBytes - seamBytes), accept));
    }
    this.#spill(accept);
  }

  /** What is left when the stream ends without a blank line. */
  end(): Uint8Array {
    const rest = joinBytes(this.#held);
    this.#hold(new Uint8Array());
    this.#oversized = false;
    return rest;
  }

  /** Passes on each event that ends in `from`, where a blank line may begin at `searchFrom`; returns the rest. */
  #cut(
    from: Uint8Array,
    searchFrom: number,
    accept: (event: Uint8Array, whole: boolean) => void,
  ): Uint8Array {
    let at = 0;
    for (let end = endOfEvent(from, searchFrom); end >= 0; end = endOfEvent(from, at)) {
      accept(from.subarray(at, end), !this.#oversized && end - at <= sseEventBytesMax);
      this.#oversized = false;
      at = end;
    }
    return from.subarray(at);
  }

  #hold(rest: Uint8Array): void {
    this.#held = rest.length > 0 ? [rest] : [];
    this.#heldBytes = rest.length;
    this.#seam = rest.slice(-seamBytes);
  }

  /** Lets go of an event that has grown too long, but for the bytes that a blank line may begin in. */
  #spill(accept: (event: Uint8Array, whole: boolean) => void): void {
    if (this.#heldBytes <= (this.#oversized ? seamBytes : sseEventBytesMax)) return;
    this.#oversized = true;
    const rest = joinBytes(this.#held);
    const kept = Math.max(0, rest.length - seamBytes);
    accept(rest.subarray(0, kept), false);
    this.#hold(rest.slice(kept));
  }
}
