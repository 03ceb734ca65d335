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
  kvwant: 0x13,
  kvfabric: 0x14,
  kvholders: 0x15,
  resume: 0x16,
  ack: 0x20,
  head: 0x21,
  data: 0x22,
  end: 0x23,
  fail: 0x24,
  kvfeed: 0x25,
  kvdelta: 0x26,
  kvsnapshot: 0x27,
  kvmark: 0x28,
  telemetry: 0x29,
  kvpeer: 0x2a,
  kvheld: 0x2b,
  kvask: 0x2c,
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
 * pushed bytes, valid for as long as the caller keeps those, or of the decoder's own copy when a frame came in pieces.
 * Holds at most one frame's bytes between calls, in one array of that frame's size, however small the pieces are.
 *
 * Throws `protocol_error` on a wrong sequence number or an oversized frame; the decoder is then unusable.
 */
export class FrameDecoder {
  /** A frame that has not ended yet: room for its header, and once that is whole for all of it. */
  #held = new Uint8Array();
  #heldBytes = 0;
  #sequence: number;

  /** `firstSequence` is 0 on a link; a test of the wrap at 2^32 starts elsewhere. */
  constructor(firstSequence = 0) {
    this.#sequence = firstSequence;
  }

  push(bytes: Uint8Array, accept: (frame: Frame) => void): void {
    let at = this.#heldBytes === 0 ? 0 : this.#fill(bytes, accept);
    while (bytes.length - at >= frameHeaderBytes) {
      const frameBytes = this.#checkHeader(bytes, at);
      if (at + frameBytes > bytes.length) {
        this.#hold(bytes.subarray(at), frameBytes);
        return;
      }
      accept(this.#frameOf(bytes.subarray(at, at + frameBytes)));
      at += frameBytes;
    }
    if (at < bytes.length) this.#hold(bytes.subarray(at), frameHeaderBytes);
  }

  /** Starts a copy of a frame, of which `part` is here, in an array of `size` bytes. */
  #hold(part: Uint8Array, size: number): void {
    this.#held = new Uint8Array(size);
    this.#held.set(part);
    this.#heldBytes = part.length;
  }

  /** Completes the held frame as far as `bytes` go; returns how many of them it took. */
  #fill(bytes: Uint8Array, accept: (frame: Frame) => void): number {
    let at = this.#copy(bytes, 0);
    if (this.#held.length === frameHeaderBytes && this.#heldBytes === frameHeaderBytes) {
      this.#hold(this.#held, this.#checkHeader(this.#held, 0));
      at = this.#copy(bytes, at);
    }
    if (this.#heldBytes === this.#held.length) {
      const whole = this.#held;
      this.#held = new Uint8Array();
      this.#heldBytes = 0;
      accept(this.#frameOf(whole));
    }
    return at;
  }

  /** Copies what fits of `bytes` from `at` into the held frame; returns the position after it. */
  #copy(bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.#held.length - this.#heldBytes);
    this.#held.set(bytes.subarray(at, end), this.#heldBytes);
    this.#heldBytes += end - at;
    return end;
  }

  #frameOf(whole: Uint8Array): Frame {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return {
      type: whole[0] ?? 0,
      flags: whole[1] ?? 0,
      stream: readU32(whole, 4) as StreamId,
      payload: whole.subarray(frameHeaderBytes),
    };
  }

  /** The length in bytes of the frame that starts at `at`, once its size and sequence are found right. */
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
    return frameHeaderBytes + payloadBytes;
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

/** Splits a DATA or BODY payload into its offset and bytes; `protocol_error` when it is too short or too far. */
export const decodeBody = (payload: Uint8Array): { readonly offset: number; readonly bytes: Uint8Array } => {
  if (payload.length < bodyOffsetBytes) {
    throw new CognitoraError('protocol_error', 'a body frame starts with an offset of 8 bytes');
  }
  const offset = readU32(payload, 0) * 2 ** 32 + readU32(payload, 4);
  if (!Number.isSafeInteger(offset)) {
    throw new CognitoraError('protocol_error', 'the offset of a body frame is beyond 2^53');
  }
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
