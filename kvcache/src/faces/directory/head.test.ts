import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fileBytesMax, partBytes, partLength, partsOf, readHead, writeHead } from './head.ts';

const heads = fc.integer({ min: 1, max: fileBytesMax }).chain((bytes) =>
  fc.record({
    bytes: fc.constant(bytes),
    checksums: fc.array(fc.nat({ max: 2 ** 32 - 1 }), {
      minLength: partsOf(bytes),
      maxLength: partsOf(bytes),
    }),
  }),
);

test('a head comes back as it was written, and its parts make the file', () => {
  fc.assert(
    fc.property(heads, (head) => {
      expect(readHead(writeHead(head))).toEqual(head);
      const lengths = head.checksums.map((_, part) => partLength(head.bytes, part));
      expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(head.bytes);
      expect(Math.max(...lengths)).toBeLessThanOrEqual(partBytes);
      expect(Math.min(...lengths)).toBeGreaterThan(0);
    }),
    { numRuns: 50 },
  );
});

test('cut, with a bit turned, or longer, it is none', () => {
  const head = writeHead({ bytes: 3 * partBytes - 1, checksums: [1, 2, 3] });
  for (let length = 0; length < head.length; length += 1)
    expect(readHead(head.subarray(0, length))).toBeUndefined();
  for (let bit = 0; bit < head.length * 8; bit += 1) {
    const turned = Buffer.from(head);
    turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(readHead(turned)).toBeUndefined();
  }
  expect(readHead(Buffer.concat([head, Buffer.alloc(4)]))).toBeUndefined();
});
