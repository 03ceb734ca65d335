/**
 * The binary frame: 16 bytes of header and a payload. Owns the layout, the type numbers and the decoder; knows
 * nothing of what a payload means. A link's bytes are one ordered stream: a frame may span transport messages.
 *
 *      0      1      2        4              8               12              16
 *   +------+------+--------+--------------+---------------+---------------+----------
 *   | type | flags|reserved|    stream    |   sequence    | payload bytes | payload ...
 *   +------+------+--------+--------------+---------------+---------------+----------
 *
 * Big endian. `sequence` counts every frame of one direction of one link from 0, modulo 2^32: a lost, repeated or
 * reordered frame is a protocol error. A receiver skips unknown types by their length.
 */
import { joinBytes } from './bytes.ts';
import { CognitoraError } from './errors.ts';
import type { StreamId } from './ids.ts';
import { framePayloadBytesMax } from './limits.ts';

export const frameHeaderBytes = 16;

/** Type numbers; below 0x10 about the link, 0x10 to 0x1f edge to agent, 0x20 to 0x2f agent to edge. */
export const frameTypes = {
  hello: 0x01,
  welcome: 0x02,
  replicas: 0x03,
  goaway: 0x04,
  credit: 0x05,
  open: 0x10,
  body: 0x11,
  cancel: 0x12,
  ack: 0x20,
  head: 0x21,
  data: 0x22,
  end: 0x23,
  fail: 0x24,
} as const;

export type FrameType = (typeof frameTypes)[keyof typeof frameTypes];

/** On OPEN and BODY: the request body ends with this frame. */
export const flagLast = 0x01;

export interface Frame {
  /** A number that may be none of `frameTypes`: skip those. */
  readonly type: number;
  readonly flags: number;
  readonly stream: StreamId;
  readonly payload: Uint8Array;
}

const writeU32 = (into: Uint8Array, at: number, value: number): void => {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
};

const readU32 = (from: Uint8Array, at: number): number =>
  (((from[at] ?? 0) << 24) |
    ((from[at + 1] ?? 0) << 16) |
    ((from[at + 2] ?? 0) << 8) |
    (from[at + 3] ?? 0)) >>>
  0;

export interface FrameHeader {
  readonly type: number;
  readonly flags: number;
  readonly stream: StreamId;
  readonly sequence: number;
  readonly payloadBytes: number;
}

/** Writes a header at `at`; returns the position after it. */
export const writeFrameHeader = (into: Uint8Array, at: number, header: FrameHeader): number => {
  into[at] = header.type;
  into[at + 1] = header.flags;
  into[at + 2] = 0;
  into[at + 3] = 0;
  writeU32(into, at + 4, header.stream);
  writeU32(into, at + 8, header.sequence);
  writeU32(into, at + 12, header.payloadBytes);
  return at + frameHeaderBytes;
};

/**
 * Turns a link's bytes into frames. `push` calls `accept` once per whole frame, in order; payloads are views of the
 * pushed bytes, valid for as long as the caller keeps those. Holds at most one frame's bytes between calls.
 *
 * Throws `protocol_error` on a wrong sequence number or an oversized frame; the decoder is then unusable.
 */
export class FrameDecoder {
  /** Pieces of a frame that has not ended yet, joined once enough bytes are there (never once per push). */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #neededBytes = frameHeaderBytes;
  #sequence = 0;

  push(bytes: Uint8Array, accept: (frame: Frame) => void): void {
    let from = bytes;
    if (this.#heldBytes > 0) {
      this.#held.push(bytes);
      this.#heldBytes += bytes.length;
      if (this.#heldBytes < this.#neededBytes) return;
      from = joinBytes(this.#held);
    }
    this.#held = [];
    this.#heldBytes = 0;
    this.#neededBytes = frameHeaderBytes;
    let at = 0;
    while (from.length - at >= frameHeaderBytes) {
      const endOfFrame = at + frameHeaderBytes + this.#checkHeader(from, at);
      if (endOfFrame > from.length) {
        this.#neededBytes = endOfFrame - at;
        break;
      }
      this.#sequence = (this.#sequence + 1) >>> 0;
      const frame: Frame = {
        type: from[at] ?? 0,
        flags: from[at + 1] ?? 0,
        stream: readU32(from, at + 4) as StreamId,
        payload: from.subarray(at + frameHeaderBytes, endOfFrame),
      };
      at = endOfFrame;
      accept(frame);
    }
    if (at < from.length) {
      this.#held.push(from.slice(at));
      this.#heldBytes = from.length - at;
    }
  }

  /** The payload's length in bytes, once size and sequence are found right. */
  #checkHeader(from: Uint8Array, at: number): number {
    const payloadBytes = readU32(from, at + 12);
    if (payloadBytes > framePayloadBytesMax) {
      throw new CognitoraError(
        'protocol_error',
        `frame of ${payloadBytes} bytes; at most ${framePayloadBytesMax} are allowed`,
      );
    }
    const sequence = readU32(from, at + 8);
    if (sequence !== this.#sequence) {
      throw new CognitoraError('protocol_error', `frame ${sequence} came where ${this.#sequence} was due`);
    }
    return payloadBytes;
  }
}

/** CREDIT's payload: bytes granted, unsigned 32 bits. */
export const encodeCredit = (bytes: number): Uint8Array => {
  const payload = new Uint8Array(4);
  writeU32(payload, 0, bytes);
  return payload;
};

export const decodeCredit = (payload: Uint8Array): number => {
  if (payload.length !== 4) throw new CognitoraError('protocol_error', 'CREDIT carries exactly 4 bytes');
  return readU32(payload, 0);
};

/** The offset in front of the bytes of DATA and BODY: unsigned 64 bits, of which 53 are used. */
export const bodyOffsetBytes = 8;

export const writeBodyOffset = (into: Uint8Array, at: number, offset: number): void => {
  writeU32(into, at, Math.floor(offset / 2 ** 32));
  writeU32(into, at + 4, offset >>> 0);
};

/** Splits a DATA or BODY payload into its offset and bytes; `protocol_error` when it is too short. */
export const decodeBody = (payload: Uint8Array): { readonly offset: number; readonly bytes: Uint8Array } => {
  if (payload.length < bodyOffsetBytes) {
    throw new CognitoraError('protocol_error', 'a body frame starts with an offset of 8 bytes');
  }
  const offset = readU32(payload, 0) * 2 ** 32 + readU32(payload, 4);
  return { offset, bytes: payload.subarray(bodyOffsetBytes) };
};

/** OPEN's payload: u32 length of the JSON, the JSON, then the first bytes of the request body. */
export const encodeOpenPayload = (meta: Uint8Array, body: Uint8Array): Uint8Array => {
  const payload = new Uint8Array(4 + meta.length + body.length);
  writeU32(payload, 0, meta.length);
  payload.set(meta, 4);
  payload.set(body, 4 + meta.length);
  return payload;
};

export const decodeOpenPayload = (
  payload: Uint8Array,
): { readonly meta: Uint8Array; readonly body: Uint8Array } => {
  const metaBytes = payload.length < 4 ? Number.POSITIVE_INFINITY : readU32(payload, 0);
  if (4 + metaBytes > payload.length) {
    throw new CognitoraError('protocol_error', 'OPEN is shorter than its metadata');
  }
  return { meta: payload.subarray(4, 4 + metaBytes), body: payload.subarray(4 + metaBytes) };
};
