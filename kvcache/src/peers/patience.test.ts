/** How long a holder is waited for: with others and without, with what is known and without. */
import { expect, test } from 'vitest';
import { fetchStallMsMax, holderMsMin, holderUnknownMsMax } from './limits.ts';
import { Patience, type PatienceOptions } from './patience.ts';

const mebibyte = 2 ** 20;
const plain = { startedMs: 0, endsAtMs: 5_000, hasOthers: true, msFor: () => 10 };

/** When it is over, looked at every 100 ms; a holder says what is left, and brings so much each time. */
const overAt = (
  options: Partial<PatienceOptions>,
  { bytes = mebibyte, each = 0, sharing = 1, pausedMs = 0 } = {},
): number | undefined => {
  const patience = new Patience({ ...plain, ...options });
  let came = 0;
  for (let nowMs = 100; nowMs <= 5_000; nowMs += 100) {
    came = Math.min(bytes, came + each);
    patience.paused(pausedMs);
    if (patience.isOver({ nowMs, left: bytes - came, came, sharing })) return nowMs;
    if (came === bytes) return undefined;
  }
  return undefined;
};

test('where others hold it: four times what the path takes, a while at least', () => {
  expect(overAt({})).toBe(holderMsMin);
  expect(overAt({ msFor: (left) => left / 5_243 })).toBe(800);
  expect(overAt({ msFor: () => undefined })).toBe(holderUnknownMsMax);
  expect(overAt({}, { each: mebibyte / 4 })).toBeUndefined();
});

test('who shares the way takes longer, and so does who waits for this end', () => {
  expect(overAt({ msFor: () => 200 }, { sharing: 5 })).toBe(4_000);
  expect(overAt({}, { pausedMs: 50 })).toBe(2 * holderMsMin);
});

test('where nobody else does: as long as it would be here in time', () => {
  const hasOthers = false;
  expect(overAt({ hasOthers }, { each: 1 })).toBe(fetchStallMsMax);
  expect(overAt({ hasOthers })).toBe(fetchStallMsMax);
  expect(overAt({ hasOthers }, { each: mebibyte / 40 })).toBeUndefined();
  expect(overAt({ hasOthers }, { each: mebibyte / 60 })).toBe(fetchStallMsMax);
});

test('who begins well and drips then is left too', () => {
  const patience = new Patience({ ...plain, hasOthers: false });
  const look = (nowMs: number, came: number): boolean =>
    patience.isOver({ nowMs, came, left: mebibyte - came, sharing: 1 });
  expect(look(fetchStallMsMax, mebibyte - 1_000)).toBe(false);
  expect(look(2 * fetchStallMsMax, mebibyte - 999)).toBe(true);
});
