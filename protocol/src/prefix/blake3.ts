/**
 * BLAKE3 in plain JavaScript, for Node and workerd alike: the keyed hash of one block after the other that prompt
 * digests are made of, in one call, and the hash of input of any length. Standard BLAKE3: any library can check it.
 * It compiles no WebAssembly (workerd refuses that at run time) and allocates nothing per block. Not re-entrant: the
 * state of the hash under way is this module's, so no function here may ever await.
 *
 * ```
 *   block 0          block 1          block 2             a block is a chunk of at most 1,024 bytes
 *      |                |                |
 *   keyed hash ----> keyed hash ----> keyed hash          the key is the whole digest before (32 bytes)
 *   ^  |                |                |
 * root |lo hi           |lo hi           |lo hi           of each digest 64 bits are kept
 * ```
 */

/** Of a digest that stands for a block, this many 32-bit words are kept: low half, high half. */
export const wordsPerDigest = 2;
/** A longer block would need BLAKE3's tree. */
export const blockBytesMax = 1024;

const chunkBytes = 1024;
const compressionBytes = 64;
const keyWords = 8;

const chunkStart = 1;
const chunkEnd = 2;
const parentNode = 4;
const rootNode = 8;
const keyedHash = 16;

if (new Uint8Array(Uint32Array.of(1).buffer)[0] !== 1) {
  throw new Error('prefix digests read bytes as little-endian words, which this machine does not');
}

const r16 = (x: number): number => (x >>> 16) | (x << 16);
const r12 = (x: number): number => (x >>> 12) | (x << 20);
const r8 = (x: number): number => (x >>> 8) | (x << 24);
const r7 = (x: number): number => (x >>> 7) | (x << 25);

const initialValue = Int32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);

/** The chaining value: what `compress` starts from, and what it leaves. */
const cv = new Int32Array(keyWords);

/**
 * One compression of the 16 words at `q` of `w`. One line is one quarter round: four columns, then four diagonals,
 * seven times, the words in BLAKE3's order. In one unrolled function, because that is what V8 makes fast: 0.1 us;
 * rounds in a loop take 1.25 times, in functions of their own twice as long. `a` takes up its word before `b`, which
 * is known last: the other way round takes a tenth longer.
 */
// biome-ignore format: a line is a quarter round, so that the rounds can be read as the table that they are.
const compress = (w: Int32Array, q: number, counter: number, bytes: number, flags: number): void => {
  const m0=w[q]??0, m1=w[q+1]??0, m2=w[q+2]??0, m3=w[q+3]??0, m4=w[q+4]??0, m5=w[q+5]??0;
  const m6=w[q+6]??0, m7=w[q+7]??0, m8=w[q+8]??0, m9=w[q+9]??0, m10=w[q+10]??0;
  const m11=w[q+11]??0, m12=w[q+12]??0, m13=w[q+13]??0, m14=w[q+14]??0, m15=w[q+15]??0;
  let a0=cv[0]??0, a1=cv[1]??0, a2=cv[2]??0, a3=cv[3]??0, b0=cv[4]??0, b1=cv[5]??0, b2=cv[6]??0, b3=cv[7]??0;
  let c0=0x6a09e667, c1=0xbb67ae85|0, c2=0x3c6ef372, c3=0xa54ff53a|0, d0=counter, d1=0, d2=bytes, d3=flags;
  a0=a0+m0+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m1+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m2+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m3+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m4+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m5+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m6+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m7+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m8+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m9+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m10+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m11+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m12+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m13+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m14+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m15+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  a0=a0+m2+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m6+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m3+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m10+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m7+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m0+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m4+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m13+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m1+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m11+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m12+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m5+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m9+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m14+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m15+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m8+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  a0=a0+m3+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m4+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m10+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m12+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m13+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m2+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m7+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m14+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m6+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m5+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m9+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m0+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m11+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m15+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m8+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m1+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  a0=a0+m10+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m7+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m12+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m9+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m14+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m3+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m13+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m15+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m4+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m0+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m11+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m2+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m5+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m8+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m1+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m6+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  a0=a0+m12+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m13+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m9+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m11+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m15+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m10+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m14+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m8+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m7+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m2+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m5+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m3+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m0+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m1+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m6+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m4+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  a0=a0+m9+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m14+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m11+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m5+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m8+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m12+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m15+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m1+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m13+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m3+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m0+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m10+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m2+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m6+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m4+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m7+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  a0=a0+m11+b0|0;d0=r16(d0^a0);c0=c0+d0|0;b0=r12(b0^c0);a0=a0+m15+b0|0;d0=r8(d0^a0);c0=c0+d0|0;b0=r7(b0^c0);
  a1=a1+m5+b1|0;d1=r16(d1^a1);c1=c1+d1|0;b1=r12(b1^c1);a1=a1+m0+b1|0;d1=r8(d1^a1);c1=c1+d1|0;b1=r7(b1^c1);
  a2=a2+m1+b2|0;d2=r16(d2^a2);c2=c2+d2|0;b2=r12(b2^c2);a2=a2+m9+b2|0;d2=r8(d2^a2);c2=c2+d2|0;b2=r7(b2^c2);
  a3=a3+m8+b3|0;d3=r16(d3^a3);c3=c3+d3|0;b3=r12(b3^c3);a3=a3+m6+b3|0;d3=r8(d3^a3);c3=c3+d3|0;b3=r7(b3^c3);
  a0=a0+m14+b1|0;d3=r16(d3^a0);c2=c2+d3|0;b1=r12(b1^c2);a0=a0+m10+b1|0;d3=r8(d3^a0);c2=c2+d3|0;b1=r7(b1^c2);
  a1=a1+m2+b2|0;d0=r16(d0^a1);c3=c3+d0|0;b2=r12(b2^c3);a1=a1+m12+b2|0;d0=r8(d0^a1);c3=c3+d0|0;b2=r7(b2^c3);
  a2=a2+m3+b3|0;d1=r16(d1^a2);c0=c0+d1|0;b3=r12(b3^c0);a2=a2+m4+b3|0;d1=r8(d1^a2);c0=c0+d1|0;b3=r7(b3^c0);
  a3=a3+m7+b0|0;d2=r16(d2^a3);c1=c1+d2|0;b0=r12(b0^c1);a3=a3+m13+b0|0;d2=r8(d2^a3);c1=c1+d2|0;b0=r7(b0^c1);
  cv[0]=a0^c0; cv[1]=a1^c1; cv[2]=a2^c2; cv[3]=a3^c3; cv[4]=b0^d0; cv[5]=b1^d1; cv[6]=b2^d2; cv[7]=b3^d3;
};

/** A chunk that does not lie on whole words, or does not fill its last compression, is copied here. */
const chunkScratch = new Uint8Array(chunkBytes);
const scratchWords = new Int32Array(chunkScratch.buffer);

/** The bytes as words, when they lie on whole words. */
const wordsOf = (bytes: Uint8Array): Int32Array | undefined =>
  bytes.byteOffset % 4 === 0 ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : undefined;

/** Compresses one chunk of at most 1,024 bytes into `cv`, which holds the key. */
const compressChunk = (
  words: Int32Array,
  wordAt: number,
  length: number,
  counter: number,
  flags: number,
  lastFlags: number,
): void => {
  let at = wordAt;
  let left = length;
  let blockFlags = flags | chunkStart;
  for (; left > compressionBytes; left -= compressionBytes) {
    compress(words, at, counter, compressionBytes, blockFlags);
    at += compressionBytes / 4;
    blockFlags = flags;
  }
  compress(words, at, counter, left, blockFlags | chunkEnd | lastFlags);
};

/** The same for bytes that lie anywhere. */
const compressBytes = (
  bytes: Uint8Array,
  start: number,
  length: number,
  counter: number,
  flags: number,
  lastFlags: number,
): void => {
  for (let at = 0; at < length; at += 1) chunkScratch[at] = bytes[start + at] ?? 0;
  chunkScratch.fill(0, length, Math.ceil(length / compressionBytes) * compressionBytes || compressionBytes);
  compressChunk(scratchWords, 0, length, counter, flags, lastFlags);
};

/** Digests of the full blocks of some bytes, and all that it takes to go on when more bytes follow. */
export interface Chain {
  readonly blockBytes: number;
  /** `wordsPerDigest` words a block, first to last. */
  readonly digests: Uint32Array;
  /** The whole digest of the last block, or the root: the key of the next block. */
  readonly key: Uint32Array;
  /** The bytes after the last full block. */
  readonly tail: Uint8Array;
}

/** How many blocks a chain has. */
export const blocksOf = (chain: Chain): number => chain.digests.length / wordsPerDigest;

/** Hashes `blocks` blocks from `start`, from the key in `cv`, into `digests` from the block `first`. */
const hashBlocks = (
  bytes: Uint8Array,
  start: number,
  blockBytes: number,
  digests: Uint32Array,
  first: number,
  blocks: number,
): void => {
  const aligned = start % 4 === 0 && blockBytes % compressionBytes === 0 ? wordsOf(bytes) : undefined;
  let at = start;
  let to = first * wordsPerDigest;
  for (let block = 0; block < blocks; block += 1) {
    if (aligned === undefined) compressBytes(bytes, at, blockBytes, 0, keyedHash, rootNode);
    else compressChunk(aligned, at >> 2, blockBytes, 0, keyedHash, rootNode);
    digests[to] = cv[0] ?? 0;
    digests[to + 1] = cv[1] ?? 0;
    at += blockBytes;
    to += wordsPerDigest;
  }
};

const noBytes = new Uint8Array(0);

/**
 * The chain over the full blocks of `bytes`, at most `blocksMax`: each digest is the hash of its block keyed by the
 * whole digest before it, the first one's key is `rootKey`.
 */
export const digestChain = (
  rootKey: Uint32Array,
  bytes: Uint8Array,
  blockBytes: number,
  blocksMax: number,
): Chain => {
  if (!Number.isInteger(blockBytes) || blockBytes < 1 || blockBytes > blockBytesMax) {
    throw new RangeError(`a block has 1 to ${blockBytesMax} bytes, not ${blockBytes}`);
  }
  const root = { blockBytes, digests: new Uint32Array(0), key: rootKey, tail: noBytes };
  return extendChain(root, bytes, blocksMax);
};

/** The chain over the bytes before and `more`, as if all had been hashed at once. The chain before stays as it is. */
export const extendChain = (chain: Chain, more: Uint8Array, blocksMax: number): Chain => {
  const { blockBytes, tail } = chain;
  const had = blocksOf(chain);
  const blocks = Math.min(Math.floor((tail.length + more.length) / blockBytes), Math.max(0, blocksMax - had));
  const digests = new Uint32Array((had + blocks) * wordsPerDigest);
  digests.set(chain.digests);
  cv.set(chain.key);
  let start = 0;
  let whole = blocks;
  if (blocks > 0 && tail.length > 0) {
    const joined = new Uint8Array(blockBytes);
    joined.set(tail);
    start = blockBytes - tail.length;
    joined.set(more.subarray(0, start), tail.length);
    hashBlocks(joined, 0, blockBytes, digests, had, 1);
    whole -= 1;
  }
  hashBlocks(more, start, blockBytes, digests, had + blocks - whole, whole);
  const key = new Uint32Array(cv);
  return { blockBytes, digests, key, tail: tailOf(chain, more, blocks) };
};

/** What remains of the tail before and `more` after `blocks` blocks, at most a block: beyond that the chain is full. */
const tailOf = (chain: Chain, more: Uint8Array, blocks: number): Uint8Array => {
  const { blockBytes, tail } = chain;
  const used = blocks * blockBytes;
  if (used > 0) return more.slice(used - tail.length, used - tail.length + blockBytes - 1);
  const joined = new Uint8Array(Math.min(tail.length + more.length, blockBytes - 1));
  joined.set(tail.subarray(0, joined.length));
  joined.set(more.subarray(0, joined.length - tail.length), tail.length);
  return joined;
};

/** Chaining values of subtrees that wait for their right sibling: one per bit of the number of chunks. */
const subtrees = new Int32Array(keyWords * 54);
const parentWords = new Int32Array(2 * keyWords);

/** Replaces `cv` by its parent's, with the newest waiting subtree as its left sibling. */
const mergeSubtree = (waiting: number, key: Int32Array, flags: number): void => {
  parentWords.set(subtrees.subarray((waiting - 1) * keyWords, waiting * keyWords));
  parentWords.set(cv, keyWords);
  cv.set(key);
  compress(parentWords, 0, 0, compressionBytes, flags);
};

/** The BLAKE3 hash of bytes of any length, keyed or plain: 8 words, little-endian the 32 bytes of the hash. */
export const blake3 = (bytes: Uint8Array, rootKey?: Uint32Array): Uint32Array => {
  const key = rootKey === undefined ? initialValue : new Int32Array(rootKey);
  const flags = rootKey === undefined ? 0 : keyedHash;
  const words = wordsOf(bytes);
  const last = Math.max(0, Math.ceil(bytes.length / chunkBytes) - 1);
  let waiting = 0;
  for (let chunk = 0; chunk < last; chunk += 1) {
    cv.set(key);
    if (words === undefined) compressBytes(bytes, chunk * chunkBytes, chunkBytes, chunk, flags, 0);
    else compressChunk(words, chunk * (chunkBytes / 4), chunkBytes, chunk, flags, 0);
    // A subtree of two equal halves is complete, and more chunks follow: it is no root.
    for (let size = chunk + 1; size % 2 === 0; size /= 2) {
      mergeSubtree(waiting, key, flags | parentNode);
      waiting -= 1;
    }
    subtrees.set(cv, waiting * keyWords);
    waiting += 1;
  }
  cv.set(key);
  compressBytes(
    bytes,
    last * chunkBytes,
    bytes.length - last * chunkBytes,
    last,
    flags,
    last === 0 ? rootNode : 0,
  );
  for (; waiting > 0; waiting -= 1) {
    mergeSubtree(waiting, key, flags | parentNode | (waiting === 1 ? rootNode : 0));
  }
  return new Uint32Array(cv);
};

/** A hash as its 64 hexadecimal digits, the way BLAKE3 writes it. */
export const hashHex = (hash: Uint32Array): string => {
  let text = '';
  for (const byte of new Uint8Array(hash.buffer, hash.byteOffset, hash.byteLength)) {
    text += byte.toString(16).padStart(2, '0');
  }
  return text;
};
