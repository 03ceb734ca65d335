import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cuts, pieces, singleBytes } from '../testing/bytes-in-pieces.ts';
import { utf8 } from './bytes.ts';
import { LineTooLong, TextLines } from './text-lines.ts';

test('lines are the same however their bytes come', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), cuts, (texts, at) => {
      const lines = texts.map((text) => text.replaceAll('\n', ' '));
      const reader = new TextLines(4_096);
      const read = pieces(utf8(lines.map((line) => `${line}\n`).join('')), at).flatMap((piece) =>
        reader.push(piece),
      );
      expect(read).toEqual(lines);
    }),
  );
});

test('a line of the most bytes is read, byte by byte too; one more is an error, before its end came', () => {
  const line = 'x'.repeat(1_000);
  const slow = new TextLines(1_000);
  expect(singleBytes(utf8(`${line}\n`)).flatMap((byte) => slow.push(byte))).toEqual([line]);
  expect(() => new TextLines(1_000).push(utf8(`${line}y`))).toThrow(LineTooLong);
});

test('bytes that the caller uses again do not change a line', () => {
  const reader = new TextLines(100);
  const bytes = utf8('ab');
  reader.push(bytes);
  bytes.fill(0);
  expect(reader.push(utf8('c\n'))).toEqual(['abc']);
});
