import { prefixBlocksMax } from '@cognitora/protocol/limits';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type EnvelopeHead,
  EnvelopeReader,
  EnvelopeRefused,
  encodeHead,
  headBytesOf,
  seal,
} from './envelope.ts';

const fingerprint = new Uint8Array(32).fill(7);

const heads = fc.record({
  fingerprint: fc.constant(fingerprint),
  digests: fc.bigUint64Array({ minLength: 1, maxLength: 20 }),
  tokens: fc.integer({ min: 1, max: 1_000_000 }),
});
const payloads = fc.uint8Array({ minLength: 1, maxLength: 400 });

async function* inPieces(bytes: Uint8Array, piece: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
}

const sealed = async (head: EnvelopeHead, payload: Uint8Array): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const part of seal(head, inPieces(payload, 64))) parts.push(part);
  return Buffer.concat(parts);
};

interface Read {
  readonly head: EnvelopeHead;
  readonly payload: Buffer;
}

const read = (envelope: Uint8Array, piece = 50, own = fingerprint): Read => {
  const reader = new EnvelopeReader(own);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < envelope.length; at += piece)
    parts.push(reader.push(envelope.subarray(at, at + piece)));
  const head = reader.end();
  return { head, payload: Buffer.concat(parts) };
};

test('what was sealed is read again, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(heads, payloads, fc.integer({ min: 1, max: 600 }), async (some, payload, piece) => {
      const head = { ...some, payloadBytes: payload.length };
      const found = read(await sealed(head, payload), piece);
      expect(found.payload.equals(payload)).toBe(true);
      expect(found.head).toEqual(head);
    }),
  );
});

test('any flipped bit is refused, wherever it is', async () => {
  await fc.assert(
    fc.asyncProperty(heads, payloads, fc.nat(), fc.nat(7), async (some, payload, place, bit) => {
      const envelope = await sealed({ ...some, payloadBytes: payload.length }, payload);
      const at = place % envelope.length;
      envelope[at] = (envelope[at] ?? 0) ^ (1 << bit);
      expect(() => read(envelope)).toThrow(EnvelopeRefused);
    }),
    { numRuns: 500 },
  );
});

test('each byte of one envelope counts', async () => {
  const payload = new Uint8Array(40).fill(3);
  const digests = BigUint64Array.of(1n, 2n);
  const envelope = await sealed({ fingerprint, digests, tokens: 5, payloadBytes: 40 }, payload);
  for (let at = 0; at < envelope.length; at += 1) {
    const flipped = Buffer.from(envelope);
    flipped[at] = (flipped[at] ?? 0) ^ 0x10;
    expect(() => read(flipped), `byte ${at}`).toThrow(EnvelopeRefused);
    expect(() => read(envelope.subarray(0, at)), `cut at ${at}`).toThrow(EnvelopeRefused);
  }
});

test('any cut and any byte too many are refused', async () => {
  await fc.assert(
    fc.asyncProperty(heads, payloads, fc.nat(), payloads, async (some, payload, place, more) => {
      const envelope = await sealed({ ...some, payloadBytes: payload.length }, payload);
      expect(() => read(envelope.subarray(0, place % envelope.length))).toThrow(EnvelopeRefused);
      expect(() => read(Buffer.concat([envelope, more]))).toThrow(EnvelopeRefused);
    }),
  );
});

test('the state of another engine is refused before a byte of it is handed out', async () => {
  const digests = BigUint64Array.of(1n);
  const envelope = await sealed({ fingerprint, digests, tokens: 1, payloadBytes: 3 }, Buffer.from('abc'));
  const reader = new EnvelopeReader(new Uint8Array(32).fill(8));
  expect(() => reader.push(envelope)).toThrow(/another engine/);
});

test('a head that no reader would accept is not written, nor a payload of another length', async () => {
  const digests = BigUint64Array.of(1n);
  const head = { fingerprint, digests, tokens: 1, payloadBytes: 3 };
  for (const wrong of [
    { digests: new BigUint64Array(0) },
    { digests: new BigUint64Array(prefixBlocksMax + 1) },
    { tokens: 0 },
    { payloadBytes: 0 },
    { payloadBytes: 2 ** 40 },
    { fingerprint: new Uint8Array(31) },
  ]) {
    expect(() => encodeHead({ ...head, ...wrong })).toThrow(RangeError);
  }
  await expect(sealed(head, Buffer.from('ab'))).rejects.toThrow(/as long as/);
  expect(headBytesOf(encodeHead(head))).toBe(encodeHead(head).length);
});
