/**
 * Finds top-level members of a JSON object in its bytes, incrementally, without parsing or copying the rest: the
 * ground that splices stand on. Any split of the input gives the same members. It trusts that the input is JSON;
 * what is not JSON yields members that may be wrong but never a crash, a hang or growth.
 */

/** Where a member stands: byte offsets from the start of the input; `end`s are exclusive. */
export interface MemberSpan {
  /** As it is written: an escape sequence stands there with its backslash. */
  readonly name: string;
  /** At the opening quote of the name. */
  readonly keyStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** White space between JSON's tokens. */
export const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** A member's name longer than this is none that any caller looks for: 24 characters, each as an escape of 6 bytes. */
const nameBytesMax = 144;

type State = 'before' | 'key' | 'colon' | 'value' | 'done';

/**
 * Feed bytes with `push`; each member is reported once its value has ended. `objectStart` is the offset of the
 * outermost `{`, `objectEnd` that of its `}`. Duplicate names are reported each time: JSON readers take the last.
 */
export class MemberScanner {
  objectStart: number | undefined;
  objectEnd: number | undefined;
  readonly #accept: (member: MemberSpan) => void;
  #state: State = 'before';
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The next quote of the bytes now pushed: found once, not once per escape, so that a string costs its length. */
  #quoteAt = -1;
  #offset = 0;
  #nameBytes: number[] = [];
  #keyStart = 0;
  #valueStart = -1;
  #valueEnd = 0;

  constructor(accept: (member: MemberSpan) => void) {
    this.#accept = accept;
  }

  /** True once the outermost object has closed. */
  get done(): boolean {
    return this.#state === 'done';
  }

  /** The offset at which the value now being read starts, with its name; undefined between values. */
  get openMember(): { readonly name: string; readonly valueStart: number } | undefined {
    if (this.#state !== 'value' || this.#valueStart < 0) return undefined;
    return { name: this.#name(), valueStart: this.#valueStart };
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    this.#quoteAt = -1;
    while (at < bytes.length && this.#state !== 'done') {
      at = this.#inString ? this.#string(bytes, at) : this.#structure(bytes, at);
    }
    this.#offset += bytes.length;
  }

  /** Consumes a string's bytes from `at`; returns the position after what it consumed. */
  #string(bytes: Uint8Array, at: number): number {
    if (this.#escaped) {
      this.#escaped = false;
      this.#note(bytes, at, at + 1);
      return at + 1;
    }
    if (this.#quoteAt < at) {
      const found = bytes.indexOf(quote, at);
      this.#quoteAt = found < 0 ? bytes.length : found;
    }
    const stop = this.#quoteAt;
    // Only a backslash before the quote matters, so look for one in this stretch alone.
    const nextEscape = stop > at ? bytes.subarray(at, stop).indexOf(backslash) : -1;
    if (nextEscape >= 0) {
      this.#escaped = true;
      this.#note(bytes, at, at + nextEscape + 1);
      return at + nextEscape + 1;
    }
    this.#note(bytes, at, stop);
    if (stop === bytes.length) return stop;
    this.#inString = false;
    if (this.#state === 'key') this.#state = 'colon';
    else this.#valueEnd = this.#offset + stop + 1;
    return stop + 1;
  }

  #note(bytes: Uint8Array, from: number, to: number): void {
    if (this.#state !== 'key') return;
    for (let at = from; at < to && this.#nameBytes.length <= nameBytesMax; at += 1) {
      this.#nameBytes.push(bytes[at] ?? 0);
    }
  }

  #structure(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    const offset = this.#offset + at;
    if (isSpace(byte)) return at + 1;
    if (byte === quote) {
      this.#inString = true;
      if (this.#depth === 1 && this.#state === 'before') {
        this.#state = 'key';
        this.#keyStart = offset;
        this.#nameBytes = [];
      } else this.#beginValue(offset);
      return at + 1;
    }
    if (byte === colon && this.#depth === 1) {
      this.#state = 'value';
      this.#valueStart = -1;
    } else if (byte === comma && this.#depth === 1) this.#endMember();
    else if (byte === openBrace || byte === openBracket) this.#descend(byte, offset);
    else if (byte === closeBrace || byte === closeBracket) this.#ascend(offset);
    else {
      this.#beginValue(offset);
      this.#valueEnd = offset + 1;
    }
    return at + 1;
  }

  #descend(byte: number, offset: number): void {
    this.#beginValue(offset);
    this.#depth += 1;
    if (this.#depth === 1) {
      if (byte === openBrace) this.objectStart = offset;
      else this.#state = 'done';
    }
  }

  #ascend(offset: number): void {
    if (this.#depth === 1) {
      this.#endMember();
      this.#state = 'done';
      this.objectEnd = offset;
    } else this.#valueEnd = offset + 1;
    this.#depth -= 1;
  }

  #beginValue(offset: number): void {
    if (this.#depth === 1 && this.#state === 'value' && this.#valueStart < 0) this.#valueStart = offset;
  }

  #endMember(): void {
    if (this.#state === 'value' && this.#valueStart >= 0) {
      this.#accept({
        name: this.#name(),
        keyStart: this.#keyStart,
        valueStart: this.#valueStart,
        valueEnd: this.#valueEnd,
      });
    }
    this.#state = 'before';
    this.#valueStart = -1;
  }

  #name(): string {
    return this.#nameBytes.length > nameBytesMax ? '' : String.fromCharCode(...this.#nameBytes);
  }
}

export interface ScannedObject {
  readonly objectStart: number | undefined;
  readonly objectEnd: number | undefined;
  readonly members: ReadonlyMap<string, MemberSpan>;
}

/** All top-level members of a whole JSON object, the last of each name, and the offsets of its `{` and `}`. */
export const scanMembers = (bytes: Uint8Array): ScannedObject => {
  const members = new Map<string, MemberSpan>();
  const scanner = new MemberScanner((member) => members.set(member.name, member));
  scanner.push(bytes);
  return { objectStart: scanner.objectStart, objectEnd: scanner.objectEnd, members };
};
