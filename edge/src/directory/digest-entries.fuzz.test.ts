/** Entries against a plain Map, over random operations up to full load, with digests that crowd. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DigestEntries, entryWords, markBit } from './digest-entries.ts';

/** Few low words, so that neighbourhoods fill, with the ends of the range among them. */
const lowWord = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 2 ** 32 - 1 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 40 }).map((step) => step * 104_729_023) },
  { weight: 3, arbitrary: fc.constantFrom(0, 1, 2, 2 ** 31, 2 ** 32 - 1) },
);
const highWord = fc.oneof(fc.constantFrom(0, 1, 7, 2 ** 31 - 1), fc.nat(60));
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), lo: lowWord, hi: highWord }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('find' as const), lo: lowWord, hi: highWord }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

interface Known {
  readonly lo: number;
  readonly hi: number;
  readonly value: number;
  readonly at: number;
}

const run = (count: number, secret: number, operations: readonly Operation[]): void => {
  const entries = new DigestEntries({ bytesMax: count * 30 + 160, secret });
  const known = new Map<string, Known>();
  let value = 0;
  for (const next of operations) {
    if (next.kind === 'insert') {
      const { lo, hi } = next;
      if (known.has(`${lo} ${hi}`)) continue;
      const at = entries.insert(lo, (hi | markBit) >>> 0);
      if (known.size === entries.entriesMax) expect(at).toBe(-1);
      if (at < 0) continue;
      value += 1;
      expect([...entries.words.subarray(at, at + entryWords)]).toEqual([lo, hi, 0, 0, 0, 0]);
      entries.words[at + 1] = hi + (value % 2) * markBit;
      entries.words[at + 2 + (value % 4)] = value;
      known.set(`${lo} ${hi}`, { lo, hi, value, at });
    } else if (next.kind === 'remove') {
      const gone = [...known.values()][next.which % Math.max(1, known.size)];
      if (gone === undefined) continue;
      entries.removeAt(gone.at);
      known.delete(`${gone.lo} ${gone.hi}`);
      expect(entries.find(gone.lo, gone.hi)).toBe(-1);
    } else expect(entries.find(next.lo, next.hi)).toBe(known.get(`${next.lo} ${next.hi}`)?.at ?? -1);
    expect(entries.entries).toBe(known.size);
  }
  for (const entry of known.values()) {
    expect(entries.find(entry.lo, entry.hi)).toBe(entry.at);
    expect(entries.isAt(entry.at, entry.lo, entry.hi)).toBe(true);
    expect(entries.words[entry.at + 2 + (entry.value % 4)]).toBe(entry.value);
  }
  const places = new Set([...known.values()].map(({ at }) => at));
  for (let at = 0; at < entries.words.length; at += entryWords) {
    expect(entries.isEmpty(at)).toBe(!places.has(at));
  }
};

test('what was inserted and not removed is found where it was put, and nothing else is', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      fc.array(operation, { maxLength: 200, size: 'max' }),
      run,
    ),
    { numRuns: 400 },
  );
});
