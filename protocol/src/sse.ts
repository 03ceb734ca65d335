/**
 * Server-sent events as bytes: splitting a stream into whole events, and the few events Cognitora itself says. An
 * event keeps its bytes, separator included, so that what is not touched comes out as it went in.
 */
import { joinBytes, utf8 } from './bytes.ts';
import { type CognitoraError, openAiErrorJson } from './errors.ts';
import { sseEventBytesMax } from './limits.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** A comment that keeps the connection alive; SSE readers ignore it. */
export const keepAliveComment: Uint8Array = utf8(': waiting for the engine\n\n');

/** The terminal event of a stream that failed after its headers were sent. No `[DONE]` follows it. */
export const sseError = (error: CognitoraError): Uint8Array => utf8(`data: ${openAiErrorJson(error)}\n\n`);

/** The position after the first blank line at or after `from`; -1 when there is none. LF, CRLF and CR end lines. */
export const endOfEvent = (bytes: Uint8Array, from: number): number => {
  let at = from;
  for (;;) {
    const feed = bytes.indexOf(lineFeed, at);
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

/** The position after the line end that stands at `at`; `at` itself when none does, or none that is sure to be whole. */
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
    return before === lineFeed || (before === carriageReturn && bytes[bytes.length - 3] === lineFeed);
  }
  return last === carriageReturn && before === carriageReturn;
};

/**
 * Cuts a byte stream into whole events. An event beyond `sseEventBytesMax` is passed on in pieces, marked as such,
 * so that memory stays bounded.
 */
export class SseSplitter {
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #oversized = false;

  /** Nothing is held: the next byte starts an event. */
  get atBoundary(): boolean {
    return this.#heldBytes === 0 && !this.#oversized;
  }

  push(bytes: Uint8Array, accept: (event: Uint8Array, whole: boolean) => void): void {
    this.#held.push(bytes);
    const from = joinBytes(this.#held);
    this.#held = [];
    // The separator may straddle the join, so look again at the last three bytes held before.
    let searchFrom = Math.max(0, this.#heldBytes - 3);
    let at = 0;
    for (let end = endOfEvent(from, searchFrom); end >= 0; end = endOfEvent(from, searchFrom)) {
      accept(from.subarray(at, end), !this.#oversized);
      this.#oversized = false;
      at = end;
      searchFrom = end;
    }
    const rest = from.subarray(at);
    if (rest.length > sseEventBytesMax || this.#oversized) {
      this.#oversized = true;
      if (rest.length > 3) accept(rest.subarray(0, rest.length - 3), false);
      this.#hold(rest.slice(Math.max(0, rest.length - 3)));
    } else this.#hold(rest);
  }

  /** What is left when the stream ends without a blank line. */
  end(): Uint8Array {
    const rest = joinBytes(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return rest;
  }

  #hold(rest: Uint8Array): void {
    this.#heldBytes = rest.length;
    if (rest.length > 0) this.#held.push(rest);
  }
}
