import { expect, test } from 'vitest';
import { RepeatedSignals } from './repeated-signals.ts';

test('a signal that comes twice at once is one; a later one is a second', () => {
  const signals = new RepeatedSignals();
  expect([1_000, 1_001, 1_999, 2_000, 2_001].map((nowMs) => signals.heard(nowMs))).toEqual([
    ...['first', 'echo', 'echo', 'again', 'again'],
  ]);
});
