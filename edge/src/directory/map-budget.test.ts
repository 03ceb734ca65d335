import { expect, test } from 'vitest';
import { MapBudget, type MapHolder, mapBytesMin, mapIdleMsMin } from './map-budget.ts';

const MiB = 2 ** 20;

const holderOf = (budget: MapBudget, askedAtMs = Number.NEGATIVE_INFINITY) => {
  const holder = {
    askedAtMs,
    yielded: 0,
    yieldMap: (): void => {
      holder.yielded += 1;
      budget.give(holder);
    },
  } satisfies MapHolder & { yielded: number };
  return holder;
};
const holders = (budget: MapBudget, count: number, askedAtMs?: number) =>
  Array.from({ length: count }, () => holderOf(budget, askedAtMs));

test('a first map gets what it asks for, later ones half of what is left', () => {
  const budget = new MapBudget(80 * MiB);
  const given = holders(budget, 4).map((holder) => budget.take(holder, 32 * MiB));
  expect(given).toEqual([32 * MiB, 24 * MiB, 12 * MiB, 6 * MiB]);
});

test('what would be too small is not given, and what comes back can be given again', () => {
  const budget = new MapBudget(3 * mapBytesMin);
  const [one, other] = [holderOf(budget), holderOf(budget)];
  const first = budget.take(one, 32 * MiB) ?? 0;
  expect(first).toBeGreaterThanOrEqual(mapBytesMin);
  expect(budget.take(other, 32 * MiB)).toBeUndefined();
  budget.give(one);
  budget.give(one);
  expect(budget.take(other, 32 * MiB)).toBe(first);
});

test('a small map that is asked for is given whole', () => {
  const budget = new MapBudget(MiB);
  expect(budget.take(holderOf(budget), 2 ** 18)).toBe(2 ** 18);
});

test('models that nobody asks for, however many, give way to one that somebody does, as far as it needs', () => {
  const budget = new MapBudget(512 * MiB);
  const invented = holders(budget, 40);
  for (const holder of invented) budget.take(holder, 32 * MiB);
  const real = holderOf(budget, 0);
  expect(budget.take(real, 32 * MiB)).toBeUndefined();
  expect(budget.makeRoom(real, 32 * MiB, 0)).toBe(true);
  expect(budget.take(real, 32 * MiB)).toBe(32 * MiB);
  const yielded = invented.filter((holder) => holder.yielded > 0).length;
  expect([yielded > 0, yielded < 10]).toEqual([true, true]);
});

test('nobody gives way to one who is not asked for, or whose own was asked for lately', () => {
  const budget = new MapBudget(80 * MiB);
  const known = [...holders(budget, 3, 1_000), ...holders(budget, 5)];
  for (const holder of known) budget.take(holder, 32 * MiB);
  expect(budget.makeRoom(holderOf(budget), 32 * MiB, 0)).toBe(false);
  const late = holderOf(budget, 1_000 + mapIdleMsMin - 1);
  budget.makeRoom(late, 32 * MiB, 0);
  expect(known.slice(0, 3).map(({ yielded }) => yielded)).toEqual([0, 0, 0]);
  late.askedAtMs += 1;
  expect(budget.makeRoom(late, 32 * MiB, 0)).toBe(true);
  expect(known.slice(0, 3).some(({ yielded }) => yielded > 0)).toBe(true);
});

test('a map is made anew only for one that is twice as large', () => {
  const budget = new MapBudget(48 * MiB);
  const invented = holderOf(budget);
  budget.take(invented, 32 * MiB);
  const real = holderOf(budget, 0);
  expect(budget.take(real, 32 * MiB)).toBe(12 * MiB);
  expect(budget.makeRoom(real, 23 * MiB, 0)).toBe(false);
  expect([real.yielded, invented.yielded]).toEqual([0, 0]);
  expect(budget.makeRoom(real, 32 * MiB, 0)).toBe(true);
  expect([real.yielded, invented.yielded, budget.take(real, 32 * MiB)]).toEqual([1, 1, 24 * MiB]);
});
