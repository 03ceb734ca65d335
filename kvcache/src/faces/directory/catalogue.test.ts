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

test('what came from other hosts goes before what the engine wrote, however lately it was used', () => {
  const catalogue = new Catalogue();
  for (const path of ['a', 'b']) catalogue.set(known(path, 10, 1));
  for (const path of ['later', 'late']) {
    catalogue.set(known(path, 10, path === 'late' ? nowMs - 5 : nowMs, { isReplica: true }));
  }
  const victims = (bytesMax: number): string[] => catalogue.victims(bytesMax, nowMs).map(({ path }) => path);
  expect(victims(40)).toEqual([]);
  expect(victims(35)).toEqual(['late']);
  expect(victims(25)).toEqual(['late', 'later']);
  expect(victims(12).toSorted()).toEqual(['a', 'late', 'later']);
});

test('room for what comes from other hosts is that of what came before, and is older', () => {
  const catalogue = new Catalogue();
  catalogue.set(known('own', 50, 1));
  for (const at of [1, 2]) catalogue.set(known(`r${at}`, 10, at, { isReplica: true }));
  const roomFor = (more: number, bytesMax = 100, usedMsMax = 3): readonly string[] | undefined =>
    catalogue
      .replicaVictims({ bytesMax, replicaBytesMax: 40, usedMsMax }, nowMs, more)
      ?.map(({ path }) => path)
      .toSorted();
  expect(catalogue.replicaBytes).toBe(20);
  expect(roomFor(20)).toEqual([]);
  expect(roomFor(21)).toEqual(['r1']);
  expect(roomFor(40)).toEqual(['r1', 'r2']);
  expect(roomFor(41)).toBeUndefined();
  expect(roomFor(21, 100, 1)).toEqual(['r1']);
  expect(roomFor(31, 100, 1)).toBeUndefined();
  expect(roomFor(21, 100, 0)).toBeUndefined();
  // A tenth stays free for the engine.
  expect(roomFor(10, 80)).toEqual(['r1']);
  expect(roomFor(30, 80)).toBeUndefined();
  catalogue.delete('r1');
  expect(catalogue.replicaBytes).toBe(10);
});
