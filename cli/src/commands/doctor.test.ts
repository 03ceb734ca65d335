import { expect, test } from 'vitest';
import { findingReport } from './doctor.ts';

test('a finding is a line that begins with its outcome, and what to do stands under it', () => {
  expect(findingReport({ what: 'node', outcome: 'ok', says: '24.21.0' })).toBe('ok      node: 24.21.0');
  const fix = 'Start the engine.';
  expect(findingReport({ what: 'engine r0', outcome: 'failed', says: 'gone\nfor good', fix })).toBe(
    'FAILED  engine r0: gone\n        for good\n        -> Start the engine.',
  );
});

test('what a program says of itself cannot move the cursor', () => {
  expect(findingReport({ what: 'x', outcome: 'note', says: 'a\u001b[2Jb' })).not.toContain('\u001b');
});
