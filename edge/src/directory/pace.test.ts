/** How fast one replica is among its equals: what a factor says after few, many and odd samples. */
import { expect, test } from 'vitest';
import { Pace } from './pace.ts';

const after = (samples: number, ratio: number): number => {
  const pace = new Pace();
  for (let seen = 0; seen < samples; seen += 1) pace.learn(100 * ratio, 100, 0);
  return pace.factorAt(0);
};

test('a new replica is as fast as the others', () => {
  expect(new Pace().factorAt(0)).toBe(1);
});

test('one that takes twice as long is known as such after some, and believed the more the longer', () => {
  expect(after(8, 2)).toBeCloseTo(1.5, 6);
  expect(after(100, 2)).toBeGreaterThan(1.9);
});

test('one that becomes slow is noticed', () => {
  const pace = new Pace();
  for (let seen = 0; seen < 1000; seen += 1) pace.learn(100, 100, 0);
  for (let seen = 0; seen < 200; seen += 1) pace.learn(300, 100, 0);
  expect(pace.factorAt(0)).toBeGreaterThan(2.4);
});

test('one sample far off counts as four times as long at most', () => {
  const pace = new Pace();
  pace.learn(1e9, 100, 0);
  expect(pace.factorAt(0)).toBeCloseTo((4 + 8) / 9, 6);
});

test('short work says less than long', () => {
  const pace = new Pace();
  for (let seen = 0; seen < 50; seen += 1) {
    pace.learn(1000, 1000, 0);
    pace.learn(20, 10, 0);
  }
  expect(pace.factorAt(0)).toBeLessThan(1.02);
});

test('one that gets nothing because it was slow counts as the others after a while, until it is slow again', () => {
  const pace = new Pace();
  for (let seen = 0; seen < 30; seen += 1) pace.learn(200, 100, 1_000);
  expect(pace.factorAt(1_000)).toBeGreaterThan(1.7);
  expect(pace.factorAt(31_000)).toBeLessThan(pace.factorAt(1_000));
  expect(pace.factorAt(151_000)).toBe(1);
  for (let seen = 0; seen < 4; seen += 1) pace.learn(200, 100, 151_000 + seen);
  expect(pace.factorAt(151_004)).toBeGreaterThan(1.3);
});

test('a clock that is set back takes nothing away', () => {
  const pace = new Pace();
  for (let seen = 0; seen < 30; seen += 1) pace.learn(200, 100, 1_000_000);
  expect(pace.factorAt(0)).toBe(pace.factorAt(1_000_000));
});
