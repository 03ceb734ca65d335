import fc from 'fast-check';
import { expect, test } from 'vitest';
import { behindBytes, Extents, pageBytes, pagesOf, valueAt } from './extents.ts';

test('a value takes whole pages, at least one', () => {
  const most = pageBytes - valueAt - behindBytes;
  expect([0, 1, most, most + 1, 64 * 2 ** 20].map(pagesOf)).toEqual([1, 1, 1, 2, 16_385]);
});

test('all of an arena can be one extent, and again once it is back', () => {
  for (const pages of [1, 7, 16, 1000, 262_144]) {
    const extents = new Extents(pages);
    expect(extents.take(pages)).toBe(0);
    expect(extents.take(1)).toBeUndefined();
    extents.giveBack(0);
    expect(extents.take(pages)).toBe(0);
  }
});

test('free neighbours become one on both sides', () => {
  const extents = new Extents(9);
  const [a, b, c] = [extents.take(3), extents.take(3), extents.take(3)];
  expect([a, b, c]).toEqual([0, 3, 6]);
  extents.giveBack(0);
  extents.giveBack(6);
  expect(extents.take(4)).toBeUndefined();
  extents.giveBack(3);
  expect(extents.take(9)).toBe(0);
});

test('what was not taken cannot be given back', () => {
  const extents = new Extents(8);
  const first = extents.take(4) ?? -1;
  expect(() => extents.giveBack(first + 1)).toThrow('begins no extent');
  expect(() => extents.giveBack(4)).toThrow('begins no extent');
  extents.giveBack(first);
  expect(() => extents.giveBack(first)).toThrow('begins no extent');
});

const steps = fc.array(
  fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ giveBack: fc.nat({ max: 1000 }) }),
  ),
  { maxLength: 300 },
);

test('extents never overlap, never leave the arena, and none is refused where a list of larger ones has any', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), steps, (pages, todo) => {
      const extents = new Extents(pages);
      const owner = new Array<number>(pages).fill(-1);
      const taken: { first: number; length: number }[] = [];
      const longestFree = (): number =>
        owner.reduce((best, one, page) => {
          let length = 0;
          while (page + length < pages && owner[page + length] === -1) length += 1;
          return one === -1 ? Math.max(best, length) : best;
        }, 0);
      for (const step of todo) {
        if ('take' in step) {
          const first = extents.take(step.take);
          // Good fit: a list's lower end counts, so up to a sixteenth may be overlooked.
          if (first === undefined) expect(longestFree()).toBeLessThan(step.take * (1 + 1 / 16) + 1);
          else {
            for (let page = first; page < first + step.take; page += 1) {
              expect(owner[page]).toBe(-1);
              owner[page] = first;
            }
            taken.push({ first, length: step.take });
          }
        } else if (taken.length > 0) {
          const [gone] = taken.splice(step.giveBack % taken.length, 1);
          if (gone === undefined) continue;
          extents.giveBack(gone.first);
          owner.fill(-1, gone.first, gone.first + gone.length);
        }
        expect(extents.pagesFree).toBe(owner.filter((one) => one === -1).length);
      }
      for (const { first } of taken) extents.giveBack(first);
      expect(extents.take(pages)).toBe(0);
    }),
  );
});
