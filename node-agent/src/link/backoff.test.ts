import { redialKeptMsMax, redialMsMax, redialMsMin } from '@cognitora/protocol/limits';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redialDelayMs } from './backoff.ts';

test('the ceiling doubles per failure up to the maximum, and the jitter is full', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 1000].map((failures) => redialDelayMs(failures, 1, redialMsMax))).toEqual(
    [1, 2, 4, 8, 16, 32, 64, 64].map((factor) => Math.min(redialMsMax, redialMsMin * factor)),
  );
  expect([0, 2, 1000].map((failures) => redialDelayMs(failures, 1, redialKeptMsMax))).toEqual([
    250, 1000, 1000,
  ]);
  expect(redialDelayMs(3, 0, redialMsMax)).toBe(0);
  expect(redialDelayMs(1, 0.5, redialMsMax)).toBe(redialMsMin);
});

test('a delay is a whole number of milliseconds within bounds', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, random) => {
        const delay = redialDelayMs(failures, random, redialMsMax);
        expect(Number.isSafeInteger(delay) && delay >= 0 && delay <= redialMsMax).toBe(true);
      },
    ),
  );
});
