/**
 * The file in which a slot's state travels: what it stands for, whose it is, and hashes by which a reader knows that it
 * got every byte as it was written, since engines restore a flipped byte without a word and may die of a missing one.
 * Pure; does no I/O. The hashes tell damage, not malice: who may write where envelopes lie is trusted.
 *
 *   magic "CGNKVMV\0"  u32 version  u32 digests  u64 payload bytes  u32 tokens  u32 0
 *   fingerprint 32  digests, 8 bytes each  SHA-256 of all before
 *   payload
 *   SHA-256 of all before
 *
 * A digest's 8 bytes are those that its hash begins with; all other numbers are big endian.
 */
import { createHash } from 'node:crypto';
import { prefixBlocksMax } from '@cognitora/protocol/limits';
import { fingerprintBytes } from './fingerprint.ts';

/** A 70B model in 16 bits with 50 k tokens; what is larger takes longer to move than most would wait. */
export const payloadBytesMax = 16 * 1024 ** 3;
const envelopeVersion = 1;
const magic = Buffer.from('CGNKVMV\0', 'latin1');
const hashBytes = 32;
const digestBytes = 8;
/** Before the digests. */
const fixedBytes = magic.length + 24 + fingerprintBytes;
const tokensMax = 0xffff_ffff;

/** The first bytes of an envelope that always tell how long its head is. */
export const headPrefixBytes = fixedBytes;
export const headBytesMax = fixedBytes + prefixBlocksMax * digestBytes + hashBytes;
export const envelopeBytesMax = headBytesMax + payloadBytesMax + hashBytes;

export interface EnvelopeHead {
  readonly fingerprint: Uint8Array;
  /** The prefix digests of the saved prompt and its answer, from the first on; at least one. */
  readonly digests: BigUint64Array;
  /** All that the state holds. */
  readonly tokens: number;
  readonly payloadBytes: number;
}

/** These bytes are no envelope that may be used; the message says why. */
export class EnvelopeRefused extends Error {}

const refuse = (why: string): never => {
  throw new EnvelopeRefused(`the envelope ${why}`);
};

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

const isIn = (value: number, max: number): boolean => Number.isInteger(value) && value >= 1 && value <= max;

export const encodeHead = ({ fingerprint, digests, tokens, payloadBytes }: EnvelopeHead): Buffer => {
  const isValid =
    fingerprint.length === fingerprintBytes &&
    isIn(digests.length, prefixBlocksMax) &&
    isIn(tokens, tokensMax) &&
    isIn(payloadBytes, payloadBytesMax);
  if (!isValid) throw new RangeError('a head that no reader would accept');
  const head = Buffer.alloc(fixedBytes + digests.length * digestBytes);
  magic.copy(head);
  head.writeUInt32BE(envelopeVersion, 8);
  head.writeUInt32BE(digests.length, 12);
  head.writeBigUInt64BE(BigInt(payloadBytes), 16);
  head.writeUInt32BE(tokens, 24);
  head.set(fingerprint, 32);
  for (const [at, digest] of digests.entries()) head.writeBigUInt64LE(digest, fixedBytes + at * digestBytes);
  return Buffer.concat([head, sha256(head)]);
};

/** Of the whole envelope with this head. */
export const envelopeBytesOf = ({ digests, payloadBytes }: EnvelopeHead): number =>
  fixedBytes + digests.length * digestBytes + hashBytes + payloadBytes + hashBytes;

/** How long the head is that begins with these `headPrefixBytes`; refuses what begins otherwise. */
export const headBytesOf = (prefix: Buffer): number => {
  if (prefix.length < headPrefixBytes) return refuse('ends within its head');
  if (!prefix.subarray(0, magic.length).equals(magic)) return refuse('begins with another magic');
  if (prefix.readUInt32BE(8) !== envelopeVersion) return refuse(`has version ${prefix.readUInt32BE(8)}`);
  const digests = prefix.readUInt32BE(12);
  if (!isIn(digests, prefixBlocksMax)) return refuse(`holds ${digests} digests`);
  return fixedBytes + digests * digestBytes + hashBytes;
};

/** The head out of just its bytes. */
export const parseHead = (bytes: Buffer): EnvelopeHead => {
  if (bytes.length < headPrefixBytes || bytes.length !== headBytesOf(bytes)) refuse('ends within its head');
  const hashed = bytes.subarray(0, -hashBytes);
  if (!sha256(hashed).equals(bytes.subarray(-hashBytes))) refuse('has a damaged head');
  const payloadBytes = Number(bytes.readBigUInt64BE(16));
  const tokens = bytes.readUInt32BE(24);
  if (!isIn(payloadBytes, payloadBytesMax) || tokens < 1) refuse('stands for nothing, or for too much');
  const digests = new BigUint64Array((hashed.length - fixedBytes) / digestBytes);
  for (let at = 0; at < digests.length; at += 1) {
    digests[at] = bytes.readBigUInt64LE(fixedBytes + at * digestBytes);
  }
  return {
    fingerprint: new Uint8Array(bytes.subarray(32, 32 + fingerprintBytes)),
    digests,
    tokens,
    payloadBytes,
  };
};

/** The bytes of an envelope whose head and payload, which is as long as the head says, are given. */
export async function* seal(
  head: EnvelopeHead,
  payload: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  const encoded = encodeHead(head);
  hash.update(encoded);
  yield encoded;
  let bytes = 0;
  for await (const part of payload) {
    bytes += part.length;
    hash.update(part);
    yield part;
  }
  if (bytes !== head.payloadBytes) throw new Error('the payload is not as long as its head says');
  yield hash.digest();
}

/** Takes an envelope in pieces and hands out its payload, of which nothing may be used before `end` has returned. */
export class EnvelopeReader {
  readonly #fingerprint: Uint8Array;
  readonly #hash = createHash('sha256');
  #head: EnvelopeHead | undefined;
  /** Of the head, then of the closing hash. */
  #pending = Buffer.alloc(0);
  #payloadLeft = 0;

  constructor(fingerprint: Uint8Array) {
    this.#fingerprint = fingerprint;
  }

  /** What of the piece is payload. Throws `EnvelopeRefused`. */
  push(piece: Uint8Array): Uint8Array {
    const rest = this.#head === undefined ? this.#takeHead(piece) : piece;
    const payload = rest.subarray(0, this.#payloadLeft);
    this.#hash.update(payload);
    this.#payloadLeft -= payload.length;
    const after = rest.subarray(payload.length);
    if (this.#head !== undefined && after.length > 0) {
      this.#pending = Buffer.concat([this.#pending, after]);
      if (this.#pending.length > hashBytes) refuse('goes on after its end');
    }
    return payload;
  }

  /** All was pushed. Throws `EnvelopeRefused` unless it was an envelope as its writer made it. */
  end(): EnvelopeHead {
    const head = this.#head;
    if (head === undefined || this.#payloadLeft > 0 || this.#pending.length < hashBytes) {
      return refuse('is cut short');
    }
    if (!this.#hash.digest().equals(this.#pending)) refuse('is damaged');
    return head;
  }

  /** Returns what follows the head. */
  #takeHead(piece: Uint8Array): Uint8Array {
    this.#pending = Buffer.concat([this.#pending, piece]);
    if (this.#pending.length < headPrefixBytes) return new Uint8Array(0);
    const headBytes = headBytesOf(this.#pending);
    if (this.#pending.length < headBytes) return new Uint8Array(0);
    const encoded = this.#pending.subarray(0, headBytes);
    const head = parseHead(encoded);
    if (!Buffer.from(head.fingerprint).equals(this.#fingerprint)) refuse('is of another engine or model');
    this.#hash.update(encoded);
    const rest = this.#pending.subarray(headBytes);
    this.#pending = Buffer.alloc(0);
    this.#head = head;
    this.#payloadLeft = head.payloadBytes;
    return rest;
  }
}
