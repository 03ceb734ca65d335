import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { eachLine } from './lines.ts';

const linesOf = async (...pieces: (string | Buffer)[]): Promise<string[]> => {
  const stream = new PassThrough();
  const lines: string[] = [];
  eachLine(stream, (line) => lines.push(line));
  for (const piece of pieces) stream.write(piece);
  stream.end();
  await finished(stream);
  return lines;
};

test('lines come whole, however their bytes were cut, and the last one without its end', async () => {
  const bytes = Buffer.from('é😀');
  expect(await linesOf('a\nb', 'c\n\n', bytes.subarray(0, 3), bytes.subarray(3), '\nlast')).toEqual([
    'a',
    'bc',
    '',
    'é😀',
    'last',
  ]);
  expect(await linesOf('a\n')).toEqual(['a']);
});

test('a line without end is held no further than the bound', async () => {
  const lines = await linesOf(...Array.from({ length: 100 }, () => 'x'.repeat(10_000)), '\nnext\n');
  expect(lines.map((line) => line.length)).toEqual([65_536, 4]);
});
