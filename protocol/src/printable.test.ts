import { expect, test } from 'vitest';
import { printable } from './printable.ts';

test('what would move the cursor, colour the terminal or turn the writing is shown by its number', () => {
  expect(printable('\x1b[2Jhost\r\n\x07\x9b\u202e\u2067\u2028')).toBe(
    '\\u001b[2Jhost\\u000d\\u000a\\u0007\\u009b\\u202e\\u2067\\u2028',
  );
});

test('letters of all languages, and what joins them, stay as they are', () => {
  for (const text of ['Größe', 'שלום', '机器', 'नमस्ते', '👩\u200d🚀', 'C:\\dir'])
    expect(printable(text)).toBe(text);
});
