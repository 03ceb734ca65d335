/** How fast one replica is among its equals: what a factor says after few, many and odd samples. */
import { expect, test } from 'vitest';
import { Pace } from './pace.ts';

const after = (samples: number, ratio: number): number => {
  const pace = new Pace();
  for (let seen = 0; seen < samples; seen += 1) pace.learn(100 * ratio, 100);
  return pace.factor;
};

test('a new replica is as fast as the others', () => {
  expect(new Pace().factor).toBe(1);
});

test('one that takes twice as long is known as such after some, and believed the more the longer', () => {
  expect(after(8, 2)).toBeCloseTo(1.5, 6);
  expect(after(100, 2)).toBeGreaterThan(1.9);
});

test('one that becomes slow is noticed', () => {
  const pace = new Pace();
  for (let seen = 0; seen < 1000; seen += 1) pace.learn(100, 100);
  for (let seen = 0; seen < 200; seen += 1) pace.learn(300, 100);
  expect(pace.factor).toBeGreaterThan(2.4);
});

test('one sample far off counts as four times as long at most', () => {
  const pace = new Pace();
  pace.learn(1e9, 100);
  expect(pace.factor).toBeCloseTo((4 + 8) / 9, 6);
});

test('short work says less than long', () => {
  const pace = new Pace();
  for (let seen = 0; seen < 50; seen += 1) {
    pace.learn(1000, 1000);
    pace.learn(20, 10);
  }
  expect(pace.factor).toBeLessThan(1.02);
});
