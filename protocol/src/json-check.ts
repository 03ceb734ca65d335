/**
 * Tells whether bytes are one JSON text (RFC 8259, in UTF-8), incrementally and without making anything of them: what
 * `JSON.parse` would say of a body of which it would first make a string and then a second copy in objects. Accepts
 * just what `JSON.parse` of the decoded bytes accepts, but for `jsonDepthMax`; any split of the input gives the same.
 */
import { jsonDepthMax } from './limits.ts';

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;
const isHex = (byte: number): boolean =>
  isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** A byte inside a character of several; undefined is none, so that a cut character is read byte by byte. */
const isTail = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

const escapes: ReadonlySet<number> = new Set([...'"\\/bfnrt'].map((character) => character.charCodeAt(0)));

/** By byte: a look-up without hashing for the hot loop. */
const escapeTable = Uint8Array.from({ length: 256 }, (_, byte) => (escapes.has(byte) ? 1 : 0));
const isEscape = (byte: number | undefined): boolean => byte !== undefined && escapeTable[byte] === 1;
const literals: ReadonlyMap<number, string> = new Map([
  [0x74, 'true'],
  [0x66, 'false'],
  [0x6e, 'null'],
]);

/** What may come next. */
type State =
  | 'value'
  | 'valueOrEnd'
  | 'key'
  | 'keyOrEnd'
  | 'colon'
  | 'afterValue'
  | 'string'
  | 'escape'
  | 'hex'
  | 'literal'
  | 'number'
  | 'wrong';

/** Where in a number: each name is what was read last. */
type NumberPart = 'minus' | 'zero' | 'integer' | 'point' | 'fraction' | 'e' | 'sign' | 'exponent';

const nextNumberPart = (part: NumberPart, byte: number): NumberPart | undefined => {
  const digit = isDigit(byte);
  const isE = byte === 0x65 || byte === 0x45;
  switch (part) {
    case 'minus':
      if (byte === 0x30) return 'zero';
      return digit ? 'integer' : undefined;
    case 'zero':
    case 'integer':
      if (digit) return part === 'integer' ? 'integer' : undefined;
      if (byte === 0x2e) return 'point';
      return isE ? 'e' : undefined;
    case 'point':
      return digit ? 'fraction' : undefined;
    case 'fraction':
      if (digit) return 'fraction';
      return isE ? 'e' : undefined;
    case 'e':
      if (byte === 0x2b || byte === 0x2d) return 'sign';
      return digit ? 'exponent' : undefined;
    case 'sign':
    case 'exponent':
      return digit ? 'exponent' : undefined;
  }
};

const mayEnd = (part: NumberPart): boolean =>
  part === 'zero' || part === 'integer' || part === 'fraction' || part === 'exponent';

const byteOrderMark = [0xef, 0xbb, 0xbf];

export class JsonCheck {
  #state: State = 'value';
  /** For each open container whether it is an object. */
  readonly #isObject: boolean[] = [];
  #isKey = false;
  #hexLeft = 0;
  #literal = '';
  #literalAt = 0;
  #number: NumberPart = 'minus';
  /** Continuation bytes still due in a character, and the range of the next one. */
  #due = 0;
  #dueMin = 0x80;
  #dueMax = 0xbf;
  /** Bytes of a byte order mark read so far; a decoder drops one at the start. */
  #markAt: number | undefined = 0;

  /** Takes more of the text. False once it can no longer become JSON. */
  push(bytes: Uint8Array): boolean {
    let at = 0;
    while (this.#markAt !== undefined && at < bytes.length) at = this.#mark(bytes[at] ?? 0, at);
    while (at < bytes.length && this.#state !== 'wrong') {
      at = this.#state === 'string' ? this.#string(bytes, at) : this.#byte(bytes[at] ?? 0, at);
    }
    return this.#state !== 'wrong';
  }

  /** Whether what was pushed is JSON, whole. */
  end(): boolean {
    if (this.#state === 'number' && mayEnd(this.#number)) this.#state = 'afterValue';
    return this.#state === 'afterValue' && this.#isObject.length === 0;
  }

  #mark(byte: number, at: number): number {
    const markAt = this.#markAt ?? 0;
    if (byte === byteOrderMark[markAt]) {
      this.#markAt = markAt === 2 ? undefined : markAt + 1;
      return at + 1;
    }
    this.#markAt = undefined;
    if (markAt > 0) this.#state = 'wrong';
    return at;
  }

  /** HOT: consumes a string's bytes from `at`; returns the position after what it consumed. */
  #string(bytes: Uint8Array, from: number): number {
    let at = from;
    while (at < bytes.length) {
      let byte = bytes[at] ?? 0;
      if (this.#due > 0) {
        if (byte < this.#dueMin || byte > this.#dueMax) return this.#wrong(at);
        this.#due -= 1;
        this.#dueMin = 0x80;
        this.#dueMax = 0xbf;
        at += 1;
        continue;
      }
      while (byte >= 0x20 && byte < 0x80 && byte !== quote && byte !== backslash) {
        at += 1;
        if (at === bytes.length) return at;
        byte = bytes[at] ?? 0;
      }
      // Most of what is not ASCII: characters of three bytes without a rule of their own.
      if (byte >= 0xe1 && byte <= 0xec && isTail(bytes[at + 1]) && isTail(bytes[at + 2])) {
        at += 3;
        continue;
      }
      at += 1;
      if (byte === quote) {
        this.#state = this.#isKey ? 'colon' : 'afterValue';
        return at;
      }
      if (byte === backslash) {
        // Most escapes are of one character and whole: code in a prompt is full of them.
        if (isEscape(bytes[at])) {
          at += 1;
          continue;
        }
        this.#state = 'escape';
        return at;
      }
      if (byte < 0x20 || !this.#beginsCharacter(byte)) return this.#wrong(at);
    }
    return at;
  }

  /** The first byte of a character of several, as UTF-8 allows them: no overlong form, no surrogate. */
  #beginsCharacter(byte: number): boolean {
    if (byte >= 0xc2 && byte <= 0xdf) this.#due = 1;
    else if (byte >= 0xe0 && byte <= 0xef) {
      this.#due = 2;
      if (byte === 0xe0) this.#dueMin = 0xa0;
      if (byte === 0xed) this.#dueMax = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      this.#due = 3;
      if (byte === 0xf0) this.#dueMin = 0x90;
      if (byte === 0xf4) this.#dueMax = 0x8f;
    }
    return this.#due > 0;
  }

  #wrong(at: number): number {
    this.#state = 'wrong';
    return at;
  }

  /** One byte outside of a string's characters; returns the position after it, or its own to look at it again. */
  #byte(byte: number, at: number): number {
    switch (this.#state) {
      case 'escape':
        if (byte === 0x75) {
          this.#state = 'hex';
          this.#hexLeft = 4;
        } else this.#state = escapes.has(byte) ? 'string' : 'wrong';
        return at + 1;
      case 'hex':
        this.#hexLeft -= 1;
        if (!isHex(byte)) this.#state = 'wrong';
        else if (this.#hexLeft === 0) this.#state = 'string';
        return at + 1;
      case 'literal':
        if (byte !== this.#literal.charCodeAt(this.#literalAt)) return this.#wrong(at);
        this.#literalAt += 1;
        if (this.#literalAt === this.#literal.length) this.#state = 'afterValue';
        return at + 1;
      case 'number': {
        const next = nextNumberPart(this.#number, byte);
        if (next === undefined) {
          this.#state = mayEnd(this.#number) ? 'afterValue' : 'wrong';
          return at;
        }
        this.#number = next;
        return at + 1;
      }
      default:
        if (!isSpace(byte)) this.#structure(byte);
        return at + 1;
    }
  }

  #structure(byte: number): void {
    switch (this.#state) {
      case 'value':
        this.#beginValue(byte);
        return;
      case 'valueOrEnd':
        if (byte === closeBracket) this.#close();
        else this.#beginValue(byte);
        return;
      case 'key':
      case 'keyOrEnd':
        if (byte === quote) {
          this.#isKey = true;
          this.#state = 'string';
        } else if (byte === closeBrace && this.#state === 'keyOrEnd') this.#close();
        else this.#state = 'wrong';
        return;
      case 'colon':
        this.#state = byte === 0x3a ? 'value' : 'wrong';
        return;
      default:
        this.#afterValue(byte);
    }
  }

  #afterValue(byte: number): void {
    const isObject = this.#isObject.at(-1);
    if (isObject === undefined) this.#state = 'wrong';
    else if (byte === 0x2c) this.#state = isObject ? 'key' : 'value';
    else if (byte === (isObject ? closeBrace : closeBracket)) this.#close();
    else this.#state = 'wrong';
  }

  #beginValue(byte: number): void {
    const literal = literals.get(byte);
    if (byte === quote) {
      this.#isKey = false;
      this.#state = 'string';
    } else if (byte === openBrace || byte === openBracket) {
      this.#isObject.push(byte === openBrace);
      if (this.#isObject.length > jsonDepthMax) this.#state = 'wrong';
      else this.#state = byte === openBrace ? 'keyOrEnd' : 'valueOrEnd';
    } else if (literal !== undefined) {
      this.#literal = literal;
      this.#literalAt = 1;
      this.#state = 'literal';
    } else if (byte === 0x2d || isDigit(byte)) {
      this.#number = byte === 0x2d ? 'minus' : byte === 0x30 ? 'zero' : 'integer';
      this.#state = 'number';
    } else this.#state = 'wrong';
  }

  #close(): void {
    this.#isObject.pop();
    this.#state = 'afterValue';
  }
}
