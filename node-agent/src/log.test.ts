import { expect, test } from 'vitest';
import { plain } from './log.ts';

test('an event on a terminal is one line of words, and what it tells cannot move the cursor', () => {
  expect(plain('info', 'ready', { engine: 'a', models: 2, gone: undefined })).toBe(
    'ready (engine=a models=2)\n',
  );
  expect(plain('warn', 'refused', { why: '\x1b[2J\nall is well' })).toBe(
    'warn: refused (why=\\u001b[2J\\u000aall is well)\n',
  );
});
