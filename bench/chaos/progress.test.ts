import { expect, test } from 'vitest';
import { Progress } from './progress.ts';

test('a line tells how many streams ended right, how the others did, and what was done', () => {
  const progress = new Progress();
  expect(progress.line(10)).toBe('10 s: 0 right, 0 not');
  for (const outcome of ['right', 'hung', 'right', 'wrong text', 'hung']) progress.ended(outcome);
  progress.struck('engine killed');
  progress.struck('engine killed');
  expect(progress.line(40)).toBe('40 s: 2 right, 3 not (2 hung, 1 wrong text), engine killed 2x');
});
