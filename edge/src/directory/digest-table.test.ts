import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { DigestTable, slotBytes } from './digest-table.ts';

const tableOf = (slots: number): DigestTable =>
  new DigestTable({ bytesMax: slots * slotBytes, secret: 0x9e37_79b1 });

test('a budget is never exceeded, and one that holds no table is refused', () => {
  expect(tableOf(1000).bytes).toBe(24_000);
  expect(new DigestTable({ bytesMax: 24_023, secret: 1 }).bytes).toBe(24_000);
  expect(tableOf(1000).entriesMax).toBeLessThanOrEqual(850);
  expect(() => tableOf(5)).toThrow(RangeError);
  expect(() => new DigestTable({ bytesMax: 2 ** 40, secret: 1 })).toThrow(RangeError);
});

test('hashes fill a table to its stated load without one refusal', () => {
  const table = tableOf(200_000);
  const digests = randomWords(1, table.entriesMax * 2);
  let refused = 0;
  for (let next = 0; next < digests.length; next += 2) {
    const at = table.insert(digests[next] ?? 0, digests[next + 1] ?? 0);
    if (at < 0) refused += 1;
    else table.words[at + 2] = 1;
  }
  expect(refused).toBe(0);
  expect(table.entries).toBe(table.entriesMax);
});

test('digests made to crowd are refused once their neighbourhood is full', () => {
  const table = tableOf(100_000);
  let made = 0;
  for (let hi = 0; hi < 1000; hi += 1) {
    const at = table.insert(77, hi);
    if (at < 0) continue;
    table.words[at + 2] = 1;
    made += 1;
  }
  expect(made).toBeGreaterThan(100);
  expect(made).toBeLessThan(200);
});
