import fc from 'fast-check';
import { expect, test } from 'vitest';
import { editDistance, nearestOf } from './nearest.ts';

test.each([
  ['', '', 0],
  ['abc', 'abc', 0],
  ['abc', 'ab', 1],
  ['ab', 'abc', 1],
  ['abc', 'axc', 1],
  ['profile', 'proflie', 1],
  ['kitten', 'sitting', 3],
])('from %j to %j it is %i', (from, to, distance) => {
  expect(editDistance(from, to)).toBe(distance);
});

test('it is the same both ways, and never more than the longer word', () => {
  const word = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(word, word, (one, other) => {
      const distance = editDistance(one, other);
      expect(editDistance(other, one)).toBe(distance);
      expect(distance).toBeLessThanOrEqual(Math.max(one.length, other.length));
      expect(distance === 0).toBe(one === other);
    }),
  );
});

test('the nearest is found whatever the case, and for a word of any length', () => {
  expect(nearestOf('Regoin', ['edge', 'region', 'name'])).toBe('region');
  expect(nearestOf(`region${'x'.repeat(1_000_000)}`, ['edge', 'region'])).toBe('region');
});
