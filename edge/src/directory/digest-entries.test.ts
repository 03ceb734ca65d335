import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { DigestEntries, entryWords } from './digest-entries.ts';

const secret = 0x9e37_79b1;

test('a budget is never exceeded, and one that holds nothing is refused', () => {
  for (const bytesMax of [200, 1000, 99_999, 2 ** 20]) {
    const { bytes, entriesMax } = new DigestEntries({ bytesMax, secret });
    expect(bytes).toBeLessThanOrEqual(bytesMax);
    expect(bytes).toBeGreaterThan(bytesMax - 2 * 30);
    expect(bytes / entriesMax).toBeLessThan(bytesMax > 10_000 ? 29.6 : 200);
  }
  expect(() => new DigestEntries({ bytesMax: 160, secret })).toThrow(RangeError);
  expect(() => new DigestEntries({ bytesMax: 2 ** 40, secret })).toThrow(RangeError);
});

test('hashes fill it to the last entry, in a row', () => {
  const entries = new DigestEntries({ bytesMax: 2 ** 22, secret });
  const digests = randomWords(1, entries.entriesMax * 2);
  let inRow = 0;
  for (let next = 0; next < digests.length; next += 2) {
    const at = entries.insert(digests[next] ?? 0, digests[next + 1] ?? 0);
    if (at === (next / 2) * entryWords) inRow += 1;
    entries.words[at + 2] = 1;
  }
  expect(inRow).toBe(entries.entriesMax);
  expect(entries.insert(1, 2)).toBe(-1);
});

test('what was removed first is filled first', () => {
  const entries = new DigestEntries({ bytesMax: 2 ** 12, secret });
  const digests = randomWords(2, 40);
  const at = Array.from({ length: 20 }, (_, index) => {
    const place = entries.insert(digests[index * 2] ?? 0, digests[index * 2 + 1] ?? 0);
    entries.words[place + 2] = 1;
    return place;
  });
  for (const index of [7, 3, 11]) entries.removeAt(at[index] ?? 0);
  const filled = [1, 2, 3, 4].map((lo) => {
    const place = entries.insert(lo, lo);
    entries.words[place + 2] = 1;
    return place;
  });
  expect(filled).toEqual([at[7], at[3], at[11], 20 * entryWords]);
});

test('digests made to crowd are refused once their neighbourhood is full, and others are not', () => {
  const entries = new DigestEntries({ bytesMax: 2 ** 20, secret });
  let made = 0;
  for (let hi = 0; hi < 1000; hi += 1) {
    const at = entries.insert(77, hi);
    if (at < 0) continue;
    entries.words[at + 2] = 1;
    made += 1;
  }
  expect(made).toBe(32);
  expect(entries.insert(78, 0)).toBeGreaterThan(0);
  // Homes rise with the low word when the secret is 1: those just below must not push the 32 on.
  const ordered = new DigestEntries({ bytesMax: 2 ** 20, secret: 1 });
  for (let hi = 0; hi < 32; hi += 1) ordered.words[ordered.insert(2 ** 31, hi) + 2] = 1;
  for (let lo = 2 ** 31 - 10_000_000; lo < 2 ** 31; lo += 10_000) {
    const at = ordered.insert(lo, 0);
    if (at >= 0) ordered.words[at + 2] = 1;
  }
  for (let hi = 0; hi < 32; hi += 1) expect(ordered.find(2 ** 31, hi)).toBe(hi * entryWords);
});
