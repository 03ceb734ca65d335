import { isIP } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isAddress, isLoopback, isOwnName } from './host-names.ts';

test('an address is what the system takes for one, but for those with a zone', () => {
  const text = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4Extended(),
    fc.domain(),
    fc.string(),
    fc.stringMatching(/^[0-9a-f:.]{0,20}$/),
  );
  fc.assert(
    fc.property(text, (some) => {
      expect(isAddress(some), some).toBe(isIP(some) !== 0);
      expect(isAddress(some, 4), some).toBe(isIP(some) === 4);
      expect(isAddress(some, 6), some).toBe(isIP(some) === 6);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['127.0.0.1:9400', true],
  ['localhost', true],
  ['[::1]:80', true],
  ['192.168.0.7', true],
  ['evil.example', false],
  ['evil.example:127.0.0.1', false],
  ['127.0.0.1.evil.example', false],
  ['', false],
  [undefined, false],
])('asked as %j: %j', (host, is) => {
  expect(isOwnName(host)).toBe(is);
});

test('loopback is what only this host reaches', () => {
  for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '::1']) expect(isLoopback(host)).toBe(true);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example']) expect(isLoopback(host)).toBe(false);
});
