import { expect, test } from 'vitest';
import { parseDuration } from './duration.ts';
import { UserError } from './terminal.ts';

test.each([
  ['90s', 90],
  ['30m', 1800],
  ['24h', 86_400],
  ['7d', 604_800],
  ['1s', 1],
])('%s is %i seconds', (text, seconds) => {
  expect(parseDuration(text, '--expires')).toBe(seconds);
});

test.each(['', '0d', '-1h', '1.5h', '7', 'd', '7w', '7 d', '7D', '1e3s', '12345678901s'])(
  '%j is no duration',
  (text) => {
    expect(() => parseDuration(text, '--expires')).toThrow(UserError);
    expect(() => parseDuration(text, '--expires')).toThrow('--expires must be like');
  },
);
