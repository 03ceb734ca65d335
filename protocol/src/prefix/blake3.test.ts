import { hash, keyedHash } from 'blake3-wasm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cuts, pieces } from '../../testing/bytes-in-pieces.ts';
import { joinBytes } from '../bytes.ts';
import { blake3, blockBytesMax, blocksOf, type Chain, digestChain, extendChain, hashHex } from './blake3.ts';

/** Bytes that differ everywhere, at an address of any alignment. */
const someBytes = (length: number, seed: number, offset = 0): Uint8Array => {
  const bytes = new Uint8Array(offset + length).subarray(offset);
  let state = seed | 1;
  for (let at = 0; at < length; at += 1) {
    state = Math.imul(state, 48_271) ^ (state >>> 15);
    bytes[at] = state >>> 9;
  }
  return bytes;
};

const byteText = (words: Uint32Array): string => Buffer.from(words.buffer).toString('hex');
const keyBytes = (key: Uint32Array): Buffer => Buffer.from(key.buffer.slice(0));

const key = fc.uint32Array({ minLength: 8, maxLength: 8 });
const seed = fc.nat();
const offset = fc.nat({ max: 4 });

/** Each digest by the reference, keyed by the one before. */
const referenceChain = (
  root: Uint32Array,
  bytes: Uint8Array,
  blockBytes: number,
  blocksMax: number,
): string => {
  let digest: Buffer = keyBytes(root);
  let kept = '';
  const blocks = Math.min(blocksMax, Math.floor(bytes.length / blockBytes));
  for (let block = 0; block < blocks; block += 1) {
    digest = keyedHash(digest, bytes.subarray(block * blockBytes, (block + 1) * blockBytes)) as Buffer;
    kept += digest.subarray(0, 8).toString('hex');
  }
  return kept;
};

const plain = (chain: Chain) => ({
  digests: byteText(chain.digests),
  key: byteText(chain.key),
  tail: [...chain.tail],
});

test('the hash of input of any length is that of the reference, plain and keyed', () => {
  // Around compressions, chunks and subtrees.
  const length = fc.oneof(
    fc.nat({ max: 200 }),
    fc
      .tuple(fc.constantFrom(1024, 2048, 3072, 4096, 8192, 31 * 1024), fc.integer({ min: -65, max: 65 }))
      .map(([size, around]) => size + around),
    fc.nat({ max: 70_000 }),
  );
  fc.assert(
    fc.property(length, seed, offset, key, (size, from, at, rootKey) => {
      const bytes = someBytes(size, from, at);
      expect(hashHex(blake3(bytes))).toBe(hash(bytes).toString('hex'));
      expect(hashHex(blake3(bytes, rootKey))).toBe(keyedHash(keyBytes(rootKey), bytes).toString('hex'));
    }),
  );
});

test('the published hash of nothing', () => {
  expect(hashHex(blake3(new Uint8Array(0)))).toBe(
    'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
  );
});

const chainCase = fc.record({
  root: key,
  from: seed,
  at: offset,
  blockBytes: fc.oneof(fc.integer({ min: 1, max: blockBytesMax }), fc.constantFrom(16, 64, 256, 512, 1024)),
  blocks: fc.double({ min: 0, max: 12, noNaN: true }),
  blocksMax: fc.constantFrom(0, 1, 3, 100),
});

test('a chain is the reference applied block by block, whatever the block size and the alignment', () => {
  fc.assert(
    fc.property(chainCase, ({ root, from, at, blockBytes, blocks, blocksMax }) => {
      const bytes = someBytes(Math.floor(blocks * blockBytes), from, at);
      const chain = digestChain(root, bytes, blockBytes, blocksMax);
      expect(byteText(chain.digests)).toBe(referenceChain(root, bytes, blockBytes, blocksMax));
      expect(blocksOf(chain)).toBe(Math.min(blocksMax, Math.floor(blocks)));
    }),
  );
});

test('a chain that is extended, in whatever pieces, is the chain over all bytes', () => {
  fc.assert(
    fc.property(chainCase, cuts, ({ root, from, at, blockBytes, blocks, blocksMax }, where) => {
      const bytes = someBytes(Math.floor(blocks * blockBytes), from, at);
      let chain = digestChain(root, new Uint8Array(0), blockBytes, blocksMax);
      for (const piece of pieces(bytes, where)) chain = extendChain(chain, piece, blocksMax);
      expect(plain(chain)).toEqual(plain(digestChain(root, bytes, blockBytes, blocksMax)));
    }),
  );
});

test('to extend a chain leaves the chain before as it is, and its bytes are its own', () => {
  const bytes = someBytes(1000, 7);
  const root = new Uint32Array(8);
  const first = digestChain(root, bytes, 256, 100);
  const before = plain(first);
  extendChain(first, bytes, 100);
  bytes.fill(0);
  expect(plain(first)).toEqual(before);
  expect([...root]).toEqual(Array(8).fill(0));
});

test('any change of a byte changes the digest of its block and all after, and none before', () => {
  fc.assert(
    fc.property(
      key,
      seed,
      fc.nat({ max: 2047 }),
      fc.integer({ min: 1, max: 255 }),
      (root, from, at, flip) => {
        const bytes = someBytes(2048, from);
        const changed = joinBytes([bytes, new Uint8Array(0)]).slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        const left = byteText(digestChain(root, bytes, 256, 8).digests);
        const right = byteText(digestChain(root, changed, 256, 8).digests);
        for (let block = 0; block < 8; block += 1) {
          const same = left.slice(block * 16, block * 16 + 16) === right.slice(block * 16, block * 16 + 16);
          expect(same).toBe(block < Math.floor(at / 256));
        }
      },
    ),
  );
});

test('a block size that one chunk cannot hold is refused', () => {
  for (const blockBytes of [0, -1, 1.5, 1025, Number.NaN]) {
    expect(() => digestChain(new Uint32Array(8), new Uint8Array(1), blockBytes, 1)).toThrow(RangeError);
  }
});
