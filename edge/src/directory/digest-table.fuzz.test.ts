/** The table against a plain list of its entries, over random operations at every load, with digests that crowd. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DigestTable, slotWords } from './digest-table.ts';

interface Entry {
  readonly lo: number;
  readonly hi: number;
  readonly value: number;
}

/** Few low words, so that runs form, with the ends of the range among them. */
const lowWord = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 2 ** 32 - 1 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 40 }).map((step) => step * 104_729_023) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1) },
);
const highWord = fc.constantFrom(0, 1, 7, 2 ** 28 - 1);

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), lo: lowWord, hi: highWord }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('find' as const), lo: lowWord, hi: highWord }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

const valuesOf = (table: DigestTable, lo: number, hi: number): number[] => {
  const values: number[] = [];
  for (let at = table.find(lo, hi); at >= 0; at = table.findNext(at, hi)) {
    values.push(table.words[at + 2] ?? 0);
  }
  return values.sort((left, right) => left - right);
};

/** Keys fall from slot to slot within a run, and the first slot stays empty. */
const expectOrder = (table: DigestTable): void => {
  expect(table.isEmpty(0)).toBe(true);
  let entries = 0;
  for (let at = slotWords; at < table.words.length; at += slotWords) {
    if (table.isEmpty(at)) {
      expect([...table.words.subarray(at, at + slotWords)]).toEqual([0, 0, 0, 0, 0, 0]);
      continue;
    }
    entries += 1;
    if (!table.isEmpty(at - slotWords)) {
      expect(table.words[at - slotWords]).toBeLessThanOrEqual(table.words[at] ?? 0);
    }
  }
  expect(table.entries).toBe(entries);
};

const run = (slots: number, secret: number, operations: readonly Operation[]): void => {
  const table = new DigestTable({ bytesMax: slots * slotWords * 4, secret });
  const entries: Entry[] = [];
  for (const next of operations) {
    if (next.kind === 'insert') {
      const { lo, hi } = next;
      const value = entries.length + 1;
      const at = table.insert(lo, hi | 0x5000_0000);
      if (at < 0) continue;
      table.words[at + 2] = value;
      table.words[at + 1] = (table.words[at + 1] ?? 0) | ((value & 15) << 28);
      entries.push({ lo, hi, value });
    } else if (next.kind === 'remove') {
      const gone = entries.splice(next.which % Math.max(1, entries.length), 1)[0];
      if (gone === undefined) continue;
      let at = table.find(gone.lo, gone.hi);
      while (table.words[at + 2] !== gone.value) at = table.findNext(at, gone.hi);
      table.removeAt(at);
    } else {
      const { lo, hi } = next;
      const known = entries.filter((entry) => entry.lo === lo && entry.hi === hi);
      expect(valuesOf(table, lo, hi)).toEqual(known.map(({ value }) => value).sort((a, b) => a - b));
    }
  }
  expectOrder(table);
  for (const { lo, hi, value } of entries) expect(valuesOf(table, lo, hi)).toContain(value);
  expect(table.entries).toBe(entries.length);
};

test('what was inserted and not removed is found, and nothing else, however full the table is', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 10, max: 120 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      fc.array(operation, { maxLength: 200, size: 'max' }),
      run,
    ),
    { numRuns: 400 },
  );
});
