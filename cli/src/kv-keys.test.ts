import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shownKey, typedKey } from './kv-keys.ts';

test('a key that is shown can be typed, whatever its bytes', () => {
  const bytes = fc
    .uint8Array({ minLength: 1, maxLength: 64 })
    .map((each) => Buffer.from(each).toString('latin1'));
  fc.assert(
    fc.property(bytes, (key) => {
      expect(shownKey(key)).toMatch(/^[\x21-\x7e]+$/);
      expect(typedKey(shownKey(key))).toBe(key);
    }),
  );
});

test('plain letters stand as they are, and letters of other languages are their bytes', () => {
  expect(shownKey('db0:vllm@m@1@0@abc')).toBe('db0:vllm@m@1@0@abc');
  expect(typedKey('é')).toBe('\xc3\xa9');
  expect(() => typedKey('50%')).toThrow('itself as %25');
});
