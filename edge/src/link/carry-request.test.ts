import fc from 'fast-check';
import { expect, test } from 'vitest';
import { unreadPrompt } from '../directory/decision.ts';
import { chainHeader, decodePrompt, encodeChain } from './carry-request.ts';

test('a prompt’s digests arrive as they were, up to the most there are', () => {
  const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const chains = fc.array(word, { maxLength: 64 }).map((words) => Uint32Array.from([...words, ...words]));
  const longest = new Uint32Array(4096).fill(0xfedcba98);
  fc.assert(
    fc.property(chains, (chain) => {
      const headers = new Headers({ [chainHeader]: encodeChain(chain) });
      const note = { profile: 'p', bytes: 12, blockBytes: 256 };
      expect(decodePrompt(headers, note)).toEqual({ ...note, chain });
    }),
    { examples: [[longest]] },
  );
});

test('a view of a larger array is carried alone', () => {
  const whole = Uint32Array.from([1, 2, 3, 4, 5, 6]);
  const headers = new Headers({ [chainHeader]: encodeChain(whole.subarray(2, 4)) });
  expect([...decodePrompt(headers, { profile: 'p', bytes: 1, blockBytes: 256 }).chain]).toEqual([3, 4]);
});

test('a request without a note has a prompt that nobody read', () => {
  expect(decodePrompt(new Headers(), undefined)).toBe(unreadPrompt);
});
