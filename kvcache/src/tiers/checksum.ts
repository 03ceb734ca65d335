/**
 * The checksum of values, on disks and between hosts: Fletcher's with four sums, as ZFS has it, in four streams beside
 * each other, folded to 32 bits. A few lines of WebAssembly, since that is where JavaScript has vectors: the cheapest
 * look at 1 MiB that Node has itself, `crc32`, takes two to three times as long, and a fast disk no longer to read it.
 *
 * A slice of 16 KiB at a time is copied to where WebAssembly sees it and padded with zeros to 16 bytes:
 *
 *   for each 16 bytes, stream by stream:  a += word; b += a; c += b; d += c          words of 32 bits, sums of 64
 *   for each sum, a to d, streams 0 1 2 3: hash = (hash ^ sum) * prime; hash ^= hash >> 32       from the slice before
 *
 * Tells damage from what was written, not from what somebody made to look like it. Knows no store.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Stays in a core's first cache with what it is copied from. */
const sliceBytes = 16 * 1024;
const vectorBytes = 16;
/** Anything but 0, so that zeros have a checksum other than 0. */
const seed = 0x4b56_6361n;
/** The first of XXH64's: odd, half of its bits set. */
const prime = 0x9e37_79b1_85eb_ca87n;

/** A sixth of a millisecond: so much at a time leaves the event loop to others. */
const turnBytes = 2 ** 20;

/** What WebAssembly calls its instructions, as far as they occur. */
const [i32, i64] = [0x7f, 0x7e];
const vector = 0xfd;
const v128 = 0x7b;
const [localGet, localSet, localTee] = [0x20, 0x21, 0x22];
const [at, end, hash, firstSum, word] = [0, 1, 2, 3, 11];
const sums = 8;
const [extendLow, extendHigh] = [0xc9, 0xca];

/** LEB128, of an unsigned number. */
const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
const signed = (value: bigint): number[] => {
  const low = Number(value & 0x7fn);
  const rest = value >> 7n;
  return rest === (low & 0x40 ? -1n : 0n) ? [low] : [low | 0x80, ...signed(rest)];
};
const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
const simd = (instruction: number, ...operands: number[]): number[] => [
  vector,
  ...unsigned(instruction),
  ...operands,
];
const add = simd(0xce);

/** `half` of the words goes to every second sum. */
const addWords = (half: number, first: number): number[] => [
  ...[localGet, first, localGet, word, ...simd(half), ...add, localTee, first],
  ...[localGet, first + 2, ...add, localTee, first + 2],
  ...[localGet, first + 4, ...add, localTee, first + 4],
  ...[localGet, first + 6, ...add, localSet, first + 6],
];

const foldIn = (sum: number, lane: number): number[] => [
  // hash = (hash ^ sum) * prime
  ...[localGet, hash, localGet, sum, ...simd(0x1d, lane), 0x85],
  ...[0x42, ...signed(BigInt.asIntN(64, prime)), 0x7e, localTee, hash],
  // hash ^= hash >>> 32
  ...[localGet, hash, 0x42, 32, 0x88, 0x85, localSet, hash],
];

/** `(at, end, hash) => hash`, of the bytes from `at` to `end` in memory. */
const moduleBytes = (): Uint8Array => {
  const body = [
    ...[1, sums + 1, v128],
    ...[0x03, 0x40, localGet, at, ...simd(0, 4, 0), localSet, word],
    ...addWords(extendLow, firstSum),
    ...addWords(extendHigh, firstSum + 1),
    // at += 16; again while at < end
    ...[localGet, at, 0x41, vectorBytes, 0x6a, localTee, at, localGet, end, 0x49, 0x0d, 0, 0x0b],
    ...Array.from({ length: sums }, (_, sum) =>
      [0, 1].flatMap((lane) => foldIn(firstSum + sum, lane)),
    ).flat(),
    ...[localGet, hash, 0x0b],
  ];
  const memory = [1, 0x6d];
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, ...sized([1, 0x60, ...sized([i32, i32, i64]), ...sized([i64])])],
    ...[3, ...sized([1, 0])],
    ...[5, ...sized([1, 0, 1])],
    ...[7, ...sized([2, 1, 0x66, 0, 0, ...memory, 2, 0])],
    ...[10, ...sized([1, ...sized(body)])],
  ]);
};

/** As much of it as is used; TypeScript knows it as a browser's only. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};
interface Exports {
  readonly f: (at: number, end: number, hash: bigint) => bigint;
  readonly m: { readonly buffer: ArrayBuffer };
}

const { f, m } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes())).exports as Exports;
const slice = Buffer.from(m.buffer, 0, sliceBytes);

/** Of all bytes so far; those before these were whole slices of 16 KiB. */
export const sumOf = (bytes: Buffer, before = seed): bigint => {
  let sum = before;
  for (let from = 0; from < bytes.length; from += sliceBytes) {
    const copied = bytes.copy(slice, 0, from, from + sliceBytes);
    const whole = Math.ceil(copied / vectorBytes) * vectorBytes;
    slice.fill(0, copied, whole);
    sum = f(0, whole, sum);
  }
  return sum;
};

/** What is kept of a sum. */
export const checksumIn = (sum: bigint): number => Number(BigInt.asUintN(32, sum));

/** Of a whole value; between its parts the event loop is others'. */
export const checksumOf = async (bytes: Buffer): Promise<number> => {
  let sum = sumOf(bytes.subarray(0, turnBytes));
  for (let at = turnBytes; at < bytes.length; at += turnBytes) {
    await nextTurn();
    sum = sumOf(bytes.subarray(at, at + turnBytes), sum);
  }
  return checksumIn(sum);
};

/** Of a value that comes in parts of any length into one buffer. */
export class ArrivingSum {
  #sum = seed;
  #at = 0;

  /** So many bytes of the value are in its buffer now. */
  upTo(value: Buffer, bytes: number): void {
    const whole = bytes === value.length ? bytes : bytes - (bytes % sliceBytes);
    this.#sum = sumOf(value.subarray(this.#at, whole), this.#sum);
    this.#at = whole;
  }

  get checksum(): number {
    return checksumIn(this.#sum);
  }
}
