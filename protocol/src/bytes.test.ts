import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findBytes, fromBase64Url, fromUtf8, joinBytes, toBase32, toBase64Url, utf8 } from './bytes.ts';

test('bytes are found where Buffer finds them', () => {
  const few = fc.uint8Array({ max: 1, maxLength: 12 });
  fc.assert(
    fc.property(
      few,
      fc.uint8Array({ max: 1, minLength: 1, maxLength: 4 }),
      fc.nat(13),
      (bytes, needle, from) => {
        expect(findBytes(bytes, needle, from)).toBe(Buffer.from(bytes).indexOf(needle, from));
      },
    ),
    { numRuns: 1000 },
  );
});

test('base64url follows RFC 4648 without padding', () => {
  const vectors = [
    ['', ''],
    ['f', 'Zg'],
    ['fo', 'Zm8'],
    ['foo', 'Zm9v'],
    ['foobar', 'Zm9vYmFy'],
  ] as const;
  for (const [plain, encoded] of vectors) {
    expect(toBase64Url(utf8(plain))).toBe(encoded);
    expect(fromBase64Url(encoded)).toEqual(utf8(plain));
  }
  expect(toBase64Url(new Uint8Array([0xfb, 0xff]))).toBe('-_8');
});

test('base64url agrees with Buffer and comes back', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString('base64url'));
      expect(fromBase64Url(toBase64Url(bytes))).toEqual(bytes);
    }),
  );
});

test('each byte string has one base64url text; any other text is undefined, never an exception', () => {
  for (const wrong of ['A', 'Zg==', 'Zm9v ', 'Zm9+', 'Z/9v', 'é', 'Zh', 'Zm9']) {
    expect(fromBase64Url(wrong)).toBeUndefined();
  }
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('A', 'b', '9', '-', '_', '=') }));
  fc.assert(
    fc.property(text, (encoded) => {
      const bytes = fromBase64Url(encoded);
      if (bytes !== undefined) expect(toBase64Url(bytes)).toBe(encoded);
    }),
    { numRuns: 500 },
  );
});

test('base32 follows RFC 4648 in lower case, cut to length', () => {
  const vectors = [
    ['', ''],
    ['f', 'my'],
    ['fo', 'mzxq'],
    ['foo', 'mzxw6'],
    ['foob', 'mzxw6yq'],
    ['fooba', 'mzxw6ytb'],
    ['foobar', 'mzxw6ytboi'],
  ] as const;
  for (const [plain, encoded] of vectors) {
    expect(toBase32(utf8(plain), 100)).toBe(encoded);
    expect(toBase32(utf8(plain), 3)).toBe(encoded.slice(0, 3));
  }
});

test('joined parts are their bytes in order, and one part is not copied', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (parts) => {
      expect([...joinBytes(parts)]).toEqual(parts.flatMap((part) => [...part]));
    }),
  );
  const part = utf8('one');
  expect(joinBytes([part])).toBe(part);
});

test('UTF-8 that is malformed is refused, and what is well formed comes back', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }).filter((text) => !text.startsWith('\ufeff')),
      (text) => {
        expect(fromUtf8(utf8(text))).toBe(text);
      },
    ),
  );
  expect(() => fromUtf8(new Uint8Array([0xc3, 0x28]))).toThrow(TypeError);
});
