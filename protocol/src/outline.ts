/**
 * What of a request's body is read before an engine sees it: four top-level members and where they stand. A body in
 * one piece is parsed; one in many, which is large or needs no digests, is checked and scanned where it lies, so that
 * reading it costs no memory. Both ways refuse the same bodies and find the same, but for `jsonDepthMax`.
 */
import { joinBytes } from './bytes.ts';
import { CognitoraError } from './errors.ts';
import { JsonCheck } from './json-check.ts';
import { outlineFieldBytesMax } from './limits.ts';
import { MemberScanner, type MemberSpan, scanMembers } from './members.ts';
import { type JsonRecord, parseJsonRecord } from './shape.ts';

const outlineNames: readonly string[] = ['model', 'stream', 'stream_options', 'return_progress'];

export interface Outline {
  /** The members above, as JSON reads them; perhaps with others. */
  readonly fields: JsonRecord;
  /** All members, if the body was parsed. */
  readonly body: JsonRecord | undefined;
  readonly objectStart: number;
  /** The same members, by name, where they stand last. */
  readonly members: ReadonlyMap<string, MemberSpan>;
  /** Bytes of the body from `start` to `end`. */
  readonly slice: (start: number, end: number) => Uint8Array;
}

const what = 'The request body';

/** Reads a body that is here in `parts`. Throws `bad_json`, or `invalid_request` with the field. */
export const outlineOf = (parts: readonly Uint8Array[]): Outline =>
  parts.length > 1 ? scannedOutline(parts) : parsedOutline(parts[0] ?? new Uint8Array());

/** Whether a name is written with escapes and read as one of `names`. */
export const isHidden = (name: string, names: readonly string[]): boolean => {
  if (!name.includes('\\')) return false;
  const plain = name.replaceAll(/\\u([0-9a-fA-F]{4})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return names.includes(plain);
};

/** A splice could not find what a JSON reader finds. */
export const refuseEscapes = (): never => {
  const names = '"model", "stream", "stream_options", "include_usage" and "return_progress"';
  throw new CognitoraError('invalid_request', `Write the names ${names} without escape sequences.`);
};

const parsedOutline = (body: Uint8Array): Outline => {
  const fields = parseJsonRecord(body, 'bad_json', what);
  const { objectStart, members } = scanMembers(body);
  for (const name of members.keys()) if (isHidden(name, outlineNames)) refuseEscapes();
  return {
    fields,
    body: fields,
    objectStart: objectStart ?? 0,
    members,
    slice: (start, end) => body.subarray(start, end),
  };
};

const scannedOutline = (parts: readonly Uint8Array[]): Outline => {
  const scan = new OutlineScan();
  for (const part of parts) if (!scan.push(part)) break;
  return scan.outline(parts);
};

/** The reading of a large body, a part at a time, so that whoever reads it can let others have their turn. */
export class OutlineScan {
  readonly #check = new JsonCheck();
  readonly #members = new Map<string, MemberSpan>();
  readonly #scanner: MemberScanner;
  #isHidden = false;
  #isJson = true;

  constructor() {
    this.#scanner = new MemberScanner((member) => {
      if (outlineNames.includes(member.name)) this.#members.set(member.name, member);
      this.#isHidden ||= isHidden(member.name, outlineNames);
    });
  }

  /** Reads the next part; false when the body is no JSON, whatever still comes. */
  push(part: Uint8Array): boolean {
    this.#isJson &&= this.#check.push(part);
    if (this.#isJson) this.#scanner.push(part);
    return this.#isJson;
  }

  /** What all the parts say. Throws `bad_json`, or `invalid_request` with the field. */
  outline(parts: readonly Uint8Array[]): Outline {
    if (!this.#isJson || !this.#check.end()) {
      throw new CognitoraError('bad_json', `${what} is not valid JSON.`);
    }
    const { objectStart } = this.#scanner;
    if (objectStart === undefined) throw new CognitoraError('bad_json', `${what} must be a JSON object.`);
    if (this.#isHidden) refuseEscapes();
    const slice = (start: number, end: number): Uint8Array => sliceParts(parts, start, end);
    const fields = readFields(this.#members, slice);
    return { fields, body: undefined, objectStart, members: this.#members, slice };
  }
}

/** The values of the members alone, parsed as an object of their own. */
const readFields = (members: ReadonlyMap<string, MemberSpan>, slice: Outline['slice']): JsonRecord => {
  const pieces: Uint8Array[] = [];
  const encoder = new TextEncoder();
  for (const { name, valueStart, valueEnd } of members.values()) {
    if (valueEnd - valueStart > outlineFieldBytesMax) {
      throw new CognitoraError('invalid_request', `"${name}" is too long.`, { param: name });
    }
    pieces.push(encoder.encode(`${pieces.length === 0 ? '' : ','}"${name}":`), slice(valueStart, valueEnd));
  }
  return parseJsonRecord(joinBytes([encoder.encode('{'), ...pieces, encoder.encode('}')]), 'bad_json', what);
};

const sliceParts = (parts: readonly Uint8Array[], start: number, end: number): Uint8Array => {
  const found: Uint8Array[] = [];
  let offset = 0;
  for (const part of parts) {
    const from = Math.max(start - offset, 0);
    const to = Math.min(end - offset, part.length);
    if (from < to) found.push(part.subarray(from, to));
    offset += part.length;
    if (offset >= end) break;
  }
  return joinBytes(found);
};
