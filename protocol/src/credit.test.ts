import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorOf } from '../testing/bytes-in-pieces.ts';
import { ReceiveWindow, SendCredit } from './credit.ts';

test('credit is what was granted less what was spent', () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.array(fc.integer({ min: -500, max: 500 })), (window, steps) => {
      const credit = new SendCredit(window);
      let expected = window;
      for (const step of steps) {
        if (step >= 0) credit.grant(step);
        else credit.spend(-step);
        expected += step;
        expect(credit.bytes).toBe(expected);
      }
    }),
  );
});

test('more credit than any window holds is a protocol error', () => {
  const credit = new SendCredit(2 ** 30);
  credit.grant(2 ** 30);
  expect(errorOf(() => credit.grant(1))?.code).toBe('protocol_error');
});

test('bytes beyond the window are a protocol error, the last byte within it is not', () => {
  const window = new ReceiveWindow(100);
  window.received(60);
  window.received(40);
  expect(window.exhausted).toBe(true);
  expect(errorOf(() => window.received(1))?.code).toBe('protocol_error');
});

test('nothing is granted before half the window was read', () => {
  const window = new ReceiveWindow(100);
  window.received(100);
  expect(window.consumed(49)).toBe(0);
  expect(window.consumed(1)).toBe(50);
  expect(window.exhausted).toBe(false);
  expect(window.consumed(49)).toBe(0);
});

test('what was read can be granted early, once', () => {
  const window = new ReceiveWindow(100);
  window.received(100);
  expect(window.consumed(30)).toBe(0);
  expect(window.grantAll()).toBe(30);
  expect(window.grantAll()).toBe(0);
  window.received(30);
  expect(errorOf(() => window.received(1))?.code).toBe('protocol_error');
});

type Step = { readonly kind: 'send' | 'read'; readonly bytes: number };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({ kind: fc.constantFrom('send', 'read'), bytes: fc.integer({ min: 1, max: 300 }) }),
  { maxLength: 400 },
);

test('a sender that obeys its credit is never refused, never starves, and the window bounds what is unread', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), steps, (windowBytes, schedule) => {
      const credit = new SendCredit(windowBytes);
      const window = new ReceiveWindow(windowBytes);
      let unread = 0;
      for (const { kind, bytes } of schedule) {
        if (kind === 'send') {
          const sent = Math.min(bytes, credit.bytes);
          credit.spend(sent);
          window.received(sent);
          unread += sent;
        } else {
          const read = Math.min(bytes, unread);
          unread -= read;
          credit.grant(window.consumed(read));
        }
        expect(unread).toBeLessThanOrEqual(windowBytes);
        expect(window.exhausted).toBe(credit.bytes === 0);
        // Once all was read the sender must have credit again, or both would wait for ever.
        if (unread === 0) expect(credit.bytes).toBeGreaterThan(0);
      }
    }),
    { numRuns: 300 },
  );
});
