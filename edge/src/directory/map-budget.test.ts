import { expect, test } from 'vitest';
import { MapBudget, mapBytesMin } from './map-budget.ts';

const MiB = 2 ** 20;

test('a first map gets what it asks for, later ones half of what is left', () => {
  const budget = new MapBudget(80 * MiB);
  const given = Array.from({ length: 4 }, () => budget.take(32 * MiB));
  expect(given).toEqual([32 * MiB, 24 * MiB, 12 * MiB, 6 * MiB]);
});

test('what would be too small is not given, and what comes back can be given again', () => {
  const budget = new MapBudget(3 * mapBytesMin);
  const first = budget.take(32 * MiB) ?? 0;
  expect(first).toBeGreaterThanOrEqual(mapBytesMin);
  expect(budget.take(32 * MiB)).toBeUndefined();
  budget.give(first);
  expect(budget.take(32 * MiB)).toBe(first);
});

test('a small map that is asked for is given whole', () => {
  expect(new MapBudget(MiB).take(2 ** 18)).toBe(2 ** 18);
});
