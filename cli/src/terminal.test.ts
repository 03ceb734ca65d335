import { expect, test, vi } from 'vitest';
import { asCalled, asNpmRuns, byteSize, Progress, relativeTime, table } from './terminal.ts';

test('columns are as wide as their widest cell, words to the left and numbers to the right', () => {
  const rows = [
    ['a', 5, 'last'],
    ['longer', 100, ''],
  ];
  expect(table(['NAME', 'LIVE', 'MODELS'], rows).split('\n')).toEqual([
    'NAME    LIVE  MODELS',
    'a          5  last',
    'longer   100',
  ]);
});

test('a table without rows is its header', () => {
  expect(table(['ID', 'NAME'], [])).toBe('ID  NAME');
});

test('a name cannot move the cursor, colour the terminal or start a row', () => {
  const shown = table(['NAME'], [['\x1b[2Jhost\n\r\x07\x9b']]);
  expect(shown).toBe('NAME\n\\u001b[2Jhost\\u000a\\u000d\\u0007\\u009b');
});

const now = 1_800_000_000_000;

test.each([
  [0, '0 s ago'],
  [-89_000, '89 s ago'],
  [-90_000, '2 min ago'],
  [89_000, 'in 89 s'],
  [5_399_000, 'in 90 min'],
  [5_400_000, 'in 2 h'],
  [-172_799_000, '48 h ago'],
  [30 * 86_400_000, 'in 30 d'],
])('%i ms from now is "%s"', (ms, words) => {
  expect(relativeTime(now + ms, now)).toBe(words);
});

test('progress says a thing once, however often it is told, and cannot move the cursor', () => {
  const lines: string[] = [];
  const written = vi
    .spyOn(process.stderr, 'write')
    .mockImplementation((text) => lines.push(String(text)) > 0);
  const progress = new Progress(false);
  const texts = ['waits', 'waits', 'answers', '\x1b[2Jhi'];
  for (const text of texts) progress.update('model', text);
  written.mockRestore();
  const said = lines.map((line) => line.replace(/.*model +/s, '').trim());
  expect(said).toEqual(['waits', 'answers', '\\u001b[2Jhi']);
});

test.each([
  [
    'Look with "cgn nodes", or: cgn kv ls (cgn kv --help).',
    'Look with "N nodes", or: N kv ls (N kv --help).',
  ],
  ['TOKEN=$(cgn keys join)', 'TOKEN=$(npm run -s cgn -- keys join)'],
  // Its own name, and what is said so already.
  ['cgn up broke: "npm run cgn -- up" starts it', 'cgn up broke: "N up" starts it'],
  ['Usage\n  cgn nodes [ls]', 'Usage\n  cgn nodes [ls]'],
])('where npm runs it, %j is said as %j', (text, words) => {
  expect(asNpmRuns(text)).toBe(words.replaceAll('N ', 'npm run cgn -- '));
});

test.each([
  ['npm run cgn -- nodes and npm start -- --port 1', 'cgn nodes and cgn up --port 1'],
  ['Options go after "--": npm run -s cgn -- nodes', 'Write it so: cgn nodes'],
])('where no npm runs it, %j is said as %j', (text, words) => {
  expect(asCalled(text)).toBe(words);
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.0 kB'],
  [12_345, '12 kB'],
  [1_234_567, '1.2 MB'],
  [2e9, '2.0 GB'],
  [5e12, '5.0 TB'],
])('%i bytes are "%s"', (bytes, words) => {
  expect(byteSize(bytes)).toBe(words);
});
