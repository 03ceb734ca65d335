import { expect, test } from 'vitest';
import { changeReport } from './route.ts';

test('a policy of a model that nobody serves is kept, and said to be odd', () => {
  const note = 'model not served now';
  expect(changeReport({ model: 'typo', servedIn: [], note })).toContain('typo: model not served now.');
  expect(changeReport({ model: 'm', servedIn: ['weur'] })).toMatch(/^m is decided so from now on/);
});
