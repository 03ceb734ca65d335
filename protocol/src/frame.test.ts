import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import {
  cuts,
  decodeAll,
  errorOf,
  frameBytes,
  type PlainFrame,
  pieces,
  singleBytes,
} from '../testing/bytes-in-pieces.ts';
import { joinBytes } from './bytes.ts';
import {
  decodeBody,
  decodeCredit,
  decodeOpenPayload,
  encodeCredit,
  encodeOpenPayload,
  FrameDecoder,
  frameHeaderBytes,
  frameTypes,
  writeBodyOffset,
} from './frame.ts';
import { framePayloadBytesMax } from './limits.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const anyFrame: fc.Arbitrary<PlainFrame> = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  flags: fc.integer({ min: 0, max: 255 }),
  stream: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  payload: fc.uint8Array({ maxLength: 60 }),
});
const anyFrames = fc.array(anyFrame, { maxLength: 12 });

const linkBytes = (frames: readonly PlainFrame[], first = 0): Uint8Array =>
  joinBytes(frames.map((frame, at) => frameBytes(frame, (first + at) >>> 0)));

const frame = (overrides: Partial<PlainFrame> = {}): PlainFrame => ({
  type: frameTypes.data,
  flags: 0,
  stream: 1,
  payload: new Uint8Array([1, 2, 3]),
  ...overrides,
});

test('frames come out as they went in, however the bytes are cut', () => {
  fc.assert(
    fc.property(anyFrames, cuts, (frames, at) => {
      expect(decodeAll(pieces(linkBytes(frames), at))).toEqual(frames);
    }),
    { numRuns: 500 },
  );
});

test('frames come out of single bytes', () => {
  fc.assert(
    fc.property(anyFrames, (frames) => {
      expect(decodeAll(singleBytes(linkBytes(frames)))).toEqual(frames);
    }),
  );
});

test('a type nobody knows is delivered with its number and length, and the next frame follows', () => {
  const unknown = frame({ type: 0x7e, payload: new Uint8Array(100) });
  const [first, second] = decodeAll([linkBytes([unknown, frame()])]);
  expect(first?.type).toBe(0x7e);
  expect(first?.payload.length).toBe(100);
  expect(second).toEqual(frame());
});

test('a lost, a repeated and a reordered frame are protocol errors', () => {
  const [a, b, c] = [0, 1, 2].map((sequence) => frameBytes(frame(), sequence)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  for (const wrong of [[a, c], [a, a], [b], [a, b, b], [a, c, b]]) {
    expect(errorOf(() => decodeAll(wrong))?.code).toBe('protocol_error');
    expect(errorOf(() => decodeAll([joinBytes(wrong)]))?.code).toBe('protocol_error');
  }
});

test('the frames before a wrong one are delivered', () => {
  const decoder = new FrameDecoder();
  let delivered = 0;
  const bytes = joinBytes([frameBytes(frame(), 0), frameBytes(frame(), 1), frameBytes(frame(), 9)]);
  expect(errorOf(() => decoder.push(bytes, () => (delivered += 1)))?.message).toContain('9');
  expect(delivered).toBe(2);
});

test('a length above the limit is refused from the header alone, before a byte of payload', () => {
  const largest = frameBytes(frame({ payload: new Uint8Array(framePayloadBytesMax) }), 0);
  expect(decodeAll([largest])).toHaveLength(1);
  const header = largest.slice(0, frameHeaderBytes);
  new DataView(header.buffer).setUint32(12, framePayloadBytesMax + 1);
  expect(errorOf(() => decodeAll([header]))?.code).toBe('protocol_error');
  expect(errorOf(() => decodeAll(singleBytes(header)))?.code).toBe('protocol_error');
});

test('garbage gives frames or a protocol error, nothing else', () => {
  // Half of the runs keep a valid start, so that the garbage is met in every state.
  const garbage = fc.tuple(
    anyFrames,
    fc.uint8Array({ maxLength: 200 }),
    fc.array(fc.nat(), { maxLength: 3 }),
  );
  fc.assert(
    fc.property(garbage, cuts, ([frames, tail, flips], at) => {
      const bytes = joinBytes([linkBytes(frames), tail]);
      for (const flip of flips) {
        const place = flip % Math.max(1, bytes.length);
        bytes[place] = (bytes[place] ?? 0) ^ (1 << (flip % 8));
      }
      const code = errorOf(() => decodeAll(pieces(bytes, at)))?.code;
      expect([undefined, 'protocol_error']).toContain(code);
    }),
    { numRuns: 1000 },
  );
});

test('sequence numbers wrap at 2^32', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 6 }), anyFrames, cuts, (before, frames, at) => {
      const first = 2 ** 32 - 1 - before;
      const decoder = new FrameDecoder(first);
      expect(decodeAll(pieces(linkBytes(frames, first), at), decoder)).toEqual(frames);
    }),
  );
  const decoder = new FrameDecoder(2 ** 32 - 1);
  decodeAll([frameBytes(frame(), 2 ** 32 - 1)], decoder);
  expect(errorOf(() => decodeAll([frameBytes(frame(), 1)], decoder))?.code).toBe('protocol_error');
});

/** Counts the bytes that `run` copies between arrays. */
const copiedBytes = (run: () => void): number => {
  let copied = 0;
  const { set, slice } = Uint8Array.prototype;
  vi.spyOn(Uint8Array.prototype, 'set').mockImplementation(function (this: Uint8Array, from, at) {
    copied += from.length;
    return set.call(this, from, at);
  });
  vi.spyOn(Uint8Array.prototype, 'slice').mockImplementation(function (this: Uint8Array, from, to) {
    const part = slice.call(this, from, to) as Uint8Array<ArrayBuffer>;
    copied += part.length;
    return part;
  });
  run();
  vi.restoreAllMocks();
  return copied;
};

test('a frame of 256 KiB in single bytes is copied once', () => {
  const payload = new Uint8Array(framePayloadBytesMax);
  const bytes = frameBytes(frame({ payload }), 0);
  const parts = singleBytes(bytes);
  const decoder = new FrameDecoder();
  let frames = 0;
  const copied = copiedBytes(() => {
    for (const part of parts) decoder.push(part, () => (frames += 1));
  });
  expect(frames).toBe(1);
  expect(copied).toBeLessThanOrEqual(bytes.length + 2 * frameHeaderBytes);
});

test('of a long push only the frame that is cut at its ends is copied', () => {
  const bytes = linkBytes(Array.from({ length: 64 }, () => frame({ payload: new Uint8Array(1000) })));
  const decoder = new FrameDecoder();
  const copied = copiedBytes(() => {
    decoder.push(bytes.subarray(0, 500), () => {});
    decoder.push(bytes.subarray(500), () => {});
  });
  expect(copied).toBeLessThan(1100);
});

test('bytes pushed before may change once they were taken in', () => {
  const bytes = frameBytes(frame({ payload: new Uint8Array([7, 8, 9]) }), 0);
  const decoder = new FrameDecoder();
  const reused = new Uint8Array(1);
  const payloads: number[][] = [];
  for (const byte of bytes) {
    reused[0] = byte;
    decoder.push(reused, ({ payload }) => payloads.push([...payload]));
  }
  expect(payloads).toEqual([[7, 8, 9]]);
});

test('CREDIT carries any 32-bit number and is refused at any other length', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (bytes) => {
      expect(decodeCredit(encodeCredit(bytes))).toBe(bytes);
    }),
  );
  for (const length of [0, 3, 5]) {
    expect(errorOf(() => decodeCredit(new Uint8Array(length)))?.code).toBe('protocol_error');
  }
});

test('body offsets survive up to 2^53 - 1 and are refused beyond it', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.uint8Array(), (offset, body) => {
      const payload = new Uint8Array(8 + body.length);
      writeBodyOffset(payload, 0, offset);
      payload.set(body, 8);
      expect(decodeBody(payload)).toEqual({ offset, bytes: body });
    }),
  );
  expect(errorOf(() => decodeBody(new Uint8Array(7)))?.code).toBe('protocol_error');
  expect(errorOf(() => decodeBody(new Uint8Array(8).fill(255)))?.code).toBe('protocol_error');
});

test('OPEN splits into its metadata and the first body bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (meta, body) => {
      expect(decodeOpenPayload(encodeOpenPayload(meta, body))).toEqual({ meta, body });
    }),
  );
});

test('OPEN shorter than it says is a protocol error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (payload) => {
      const code = errorOf(() => decodeOpenPayload(payload))?.code;
      expect([undefined, 'protocol_error']).toContain(code);
    }),
    { numRuns: 500 },
  );
  expect(errorOf(() => decodeOpenPayload(new Uint8Array([0, 0, 0, 2, 1])))?.code).toBe('protocol_error');
  expect(errorOf(() => decodeOpenPayload(new Uint8Array([0, 0, 0])))?.code).toBe('protocol_error');
});
