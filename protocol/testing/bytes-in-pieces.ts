/**
 * What the tests of byte readers share: cutting bytes anywhere, and making frames by hand. Only tests import it.
 */
import fc from 'fast-check';
import { joinBytes, utf8 } from '../src/bytes.ts';
import { CognitoraError } from '../src/errors.ts';
import { type Frame, FrameDecoder, frameHeaderBytes, writeFrameHeader } from '../src/frame.ts';
import type { StreamId } from '../src/ids.ts';

/** Positions to cut at, as fractions of whatever is cut; two at one place make an empty piece. */
export const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

/** `bytes` cut at the fractions `at`. */
export const pieces = (bytes: Uint8Array, at: readonly number[]): Uint8Array[] => {
  const positions = at.map((fraction) => Math.round(fraction * bytes.length)).sort((a, b) => a - b);
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const to of [...positions, bytes.length]) {
    parts.push(bytes.slice(from, to));
    from = to;
  }
  return parts;
};

export const singleBytes = (bytes: Uint8Array): Uint8Array[] =>
  Array.from(bytes, (byte) => new Uint8Array([byte]));

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const joinText = (parts: readonly Uint8Array[]): string => text(joinBytes(parts));
export const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

export interface PlainFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** A frame's bytes, header included. */
export const frameBytes = (frame: PlainFrame, sequence: number): Uint8Array => {
  const { type, flags, payload } = frame;
  const bytes = new Uint8Array(frameHeaderBytes + payload.length);
  const stream = frame.stream as StreamId;
  writeFrameHeader(bytes, 0, { type, flags, stream, sequence, payloadBytes: payload.length });
  bytes.set(payload, frameHeaderBytes);
  return bytes;
};

/** All frames of some pushes, their payloads copied. */
export const decodeAll = (pushes: readonly Uint8Array[], decoder = new FrameDecoder()): PlainFrame[] => {
  const frames: PlainFrame[] = [];
  const accept = ({ type, flags, stream, payload }: Frame) => {
    frames.push({ type, flags, stream, payload: payload.slice() });
  };
  for (const push of pushes) decoder.push(push, accept);
  return frames;
};

/** What `run` throws, which must be an error of the table; undefined when it throws nothing. */
export const errorOf = (run: () => unknown): CognitoraError | undefined => {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof CognitoraError) return thrown;
    throw thrown;
  }
  return undefined;
};
