import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Catalogue, type Known } from './catalogue.ts';

const nowMs = 1_000_000;
const known = (path: string, bytes: number, usedMs: number, more: Partial<Known> = {}): Known => ({
  ...{ path, bytes, usedMs, identity: path, tries: 1, isUnreadable: false, isReplica: false },
  ...{ againMs: undefined, keptUntilMs: 0, look: 1, ...more },
});

const files = fc.array(
  fc.record({ bytes: fc.nat({ max: 1_000 }), usedMs: fc.nat({ max: 2 * nowMs }), isKept: fc.boolean() }),
  { maxLength: 60 },
);

test('the oldest go and no more than must, never one that is kept', () => {
  fc.assert(
    fc.property(files, fc.nat({ max: 20_000 }), fc.nat({ max: 2_000 }), (all, bytesMax, more) => {
      const catalogue = new Catalogue();
      for (const [index, { bytes, usedMs, isKept }] of all.entries()) {
        catalogue.set(known(`${index}`, bytes, usedMs, { keptUntilMs: isKept ? nowMs + 1 : 0 }));
      }
      const victims = catalogue.victims(bytesMax, nowMs, more);
      const gone = new Set(victims.map(({ path }) => path));
      const sum = victims.reduce((bytes, file) => bytes + file.bytes, 0);
      const mayGo = all.map((file, index) => ({ ...file, index })).filter(({ isKept }) => !isKept);
      expect(victims.every(({ keptUntilMs }) => keptUntilMs === 0)).toBe(true);
      if (catalogue.bytes + more <= bytesMax) {
        expect(victims).toEqual([]);
        return;
      }
      const last = victims.at(-1);
      if (last !== undefined)
        expect(catalogue.bytes + more - sum + last.bytes).toBeGreaterThan(bytesMax * 0.9);
      const used = (file: { readonly usedMs: number }): number => Math.min(file.usedMs, nowMs);
      const youngest = Math.max(...victims.map(used));
      for (const file of mayGo) {
        if (!gone.has(`${file.index}`) && last !== undefined)
          expect(used(file)).toBeGreaterThanOrEqual(youngest);
      }
      if (catalogue.bytes + more - sum > bytesMax * 0.9) expect(gone.size).toBe(mayGo.length);
    }),
  );
});

test('a time of the future counts as now, so that it does not stay for ever', () => {
  const catalogue = new Catalogue();
  catalogue.set(known('future', 10, 10 * nowMs));
  catalogue.set(known('now', 10, nowMs));
  catalogue.set(known('old', 10, -5));
  expect(catalogue.victims(0, nowMs).map(({ path }) => path)).toEqual(['old', 'future', 'now']);
});

test('it knows no more files than it may, and bytes are those of the files that it knows', () => {
  const catalogue = new Catalogue(2);
  catalogue.set(known('a', 1, 1));
  catalogue.set(known('b', 2, 1));
  expect([catalogue.hasRoomFor('a'), catalogue.hasRoomFor('c')]).toEqual([true, false]);
  catalogue.set(known('a', 5, 1, { look: 2 }));
  expect(catalogue.bytes).toBe(7);
  catalogue.sweep(2, nowMs);
  expect([catalogue.size, catalogue.bytes, catalogue.hasRoomFor('c')]).toEqual([1, 5, true]);
});
