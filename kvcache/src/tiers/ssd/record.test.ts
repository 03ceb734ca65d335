import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  headerBytes,
  keyBytesMax,
  type RecordHeader,
  readHeader,
  recordBytes,
  writeHeader,
} from './record.ts';

const headers: fc.Arbitrary<RecordHeader> = fc.record({
  kind: fc.constantFrom('value', 'deleted', 'expires'),
  key: fc.uint8Array({ maxLength: keyBytesMax }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  number: fc.maxSafeNat(),
  segment: fc.maxSafeNat(),
  length: fc.nat({ max: 2 ** 32 - 1 }),
  checksum: fc.nat({ max: 2 ** 32 - 1 }),
  expiresAtMs: fc.option(fc.integer({ min: 1, max: 2 ** 45 }), { nil: undefined }),
});

test('a header comes back as it was written, whatever stood in its page', () => {
  fc.assert(
    fc.property(headers, (header) => {
      const page = Buffer.alloc(headerBytes, 0xa5);
      writeHeader(page, header);
      expect(readHeader(page, header.segment)).toEqual(header);
      expect(readHeader(page, header.segment + 1)).toBeUndefined();
    }),
  );
});

test('one flipped bit anywhere, or a cut, and it is no header', () => {
  const page = Buffer.alloc(headerBytes);
  const header = {
    kind: 'value',
    key: 'k',
    number: 7,
    segment: 3,
    length: 9,
    checksum: 5,
    expiresAtMs: 1,
  } as const;
  writeHeader(page, header);
  for (let bit = 0; bit < headerBytes * 8; bit += 1) {
    page[bit >> 3] = (page[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(readHeader(page, 3)).toBeUndefined();
    page[bit >> 3] = (page[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  }
  expect(readHeader(page.subarray(0, headerBytes - 1), 3)).toBeUndefined();
  expect(readHeader(page, 3)).toEqual(header);
});

test('a record is whole pages', () => {
  expect([0, 1, 4078, 4079, 4097].map(recordBytes)).toEqual([8192, 8192, 8192, 12_288, 12_288]);
});
