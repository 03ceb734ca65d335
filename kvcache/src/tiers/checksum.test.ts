import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ArrivingSum, checksumIn, checksumOf, sumOf } from './checksum.ts';

const mask = 2n ** 64n - 1n;

/** What the file's head says, word by word. */
const referenceOf = (bytes: Buffer): bigint => {
  let hash = 0x4b56_6361n;
  for (let from = 0; from < bytes.length; from += 16_384) {
    const part = bytes.subarray(from, from + 16_384);
    const slice = Buffer.concat([part, Buffer.alloc((16 - (part.length % 16)) % 16)]);
    const sums = Array.from({ length: 4 }, () => [0n, 0n, 0n, 0n] as [bigint, bigint, bigint, bigint]);
    for (let at = 0; at < slice.length; at += 4) {
      const stream = sums[(at / 4) % 4];
      let sum = BigInt(slice.readUInt32LE(at));
      for (let order = 0; stream !== undefined && order < 4; order += 1) {
        sum = ((stream[order] ?? 0n) + sum) & mask;
        stream[order] = sum;
      }
    }
    for (let order = 0; order < 4; order += 1) {
      for (const stream of sums) {
        hash = ((hash ^ (stream[order] ?? 0n)) * 0x9e37_79b1_85eb_ca87n) & mask;
        hash ^= hash >> 32n;
      }
    }
  }
  return hash;
};

const unsignedOf = (sum: bigint): bigint => BigInt.asUintN(64, sum);

test.each([1, 4, 15, 16, 17, 4_096, 16_383, 16_384, 16_385, 100_000])('%i bytes, as described', (length) => {
  const bytes = randomBytes(length);
  expect(unsignedOf(sumOf(bytes))).toBe(referenceOf(bytes));
});

test('two values that a file of an earlier run holds keep their checksums', () => {
  expect(checksumIn(sumOf(Buffer.alloc(4_096)))).toBe(3344689797);
  expect(checksumIn(sumOf(Buffer.from('a block of tokens')))).toBe(162349190);
});

test('parts of whole slices give the sum of the whole', () => {
  const bytes = randomBytes(200_000);
  for (const at of [16_384, 65_536, 196_608]) {
    expect(sumOf(bytes.subarray(at), sumOf(bytes.subarray(0, at)))).toBe(sumOf(bytes));
  }
});

test('any flipped bit, torn page and pair of words that changed places is told', () => {
  const bytes = randomBytes(40_000);
  const whole = checksumIn(sumOf(bytes));
  fc.assert(
    fc.property(fc.nat(39_999), fc.nat(7), (at, bit) => {
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      expect(checksumIn(sumOf(bytes))).not.toBe(whole);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    }),
  );
  for (let at = 0; at < 9 * 4_096; at += 4_096) {
    const torn = Buffer.from(bytes);
    torn.fill(0, at, at + 4_096);
    expect(checksumIn(sumOf(torn))).not.toBe(whole);
  }
  for (let at = 4; at < 39_996; at += 4) {
    const swapped = Buffer.from(bytes);
    swapped.writeUInt32LE(bytes.readUInt32LE(0), at);
    swapped.writeUInt32LE(bytes.readUInt32LE(at), 0);
    if (!swapped.equals(bytes)) expect(checksumIn(sumOf(swapped))).not.toBe(whole);
  }
});

test('a large value has the same checksum, with turns for others in between', async () => {
  const bytes = randomBytes(2.5 * 2 ** 20);
  let turns = 0;
  const count = (): void => {
    turns += 1;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  expect(await checksumOf(bytes)).toBe(checksumIn(sumOf(bytes)));
  clearImmediate(timer);
  expect(turns).toBeGreaterThan(0);
});

test('a value that arrives in parts of any length has the same checksum', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 8 }), (parts) => {
      const value = randomBytes(parts.reduce((sum, part) => sum + part, 0));
      const arriving = new ArrivingSum();
      let at = 0;
      for (const part of parts) {
        at += part;
        arriving.upTo(value, at);
      }
      expect(arriving.checksum).toBe(checksumIn(sumOf(value)));
    }),
    { numRuns: 50 },
  );
});
