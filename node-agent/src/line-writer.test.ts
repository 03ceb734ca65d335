import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  descriptorWriter,
  LineWriter,
  lineOverheadBytes,
  queuedBytesMax,
  type WriteBytes,
} from './line-writer.ts';

/** A reader that takes what it is given when it is told to. */
const slowReader = () => {
  const calls: { readonly text: string; readonly done: Parameters<WriteBytes>[1] }[] = [];
  const writer = new LineWriter((bytes, done) => calls.push({ text: Buffer.from(bytes).toString(), done }));
  const next = (written?: number, code?: string): string => {
    const call = calls.shift();
    if (call === undefined) throw new Error('nothing is written');
    const error = code === undefined ? null : Object.assign(new Error(code), { code });
    call.done(error, written ?? Buffer.byteLength(call.text));
    return call.text;
  };
  return { writer, calls, next };
};

test('lines go out in order, one write at a time, and what was not taken again', () => {
  const { writer, calls, next } = slowReader();
  for (const line of ['one\n', 'two\n', 'three\n']) writer.line(line);
  expect(calls).toHaveLength(1);
  expect(next()).toBe('one\n');
  expect(next(5)).toBe('two\nthree\n');
  expect(next()).toBe('hree\n');
  expect(calls).toHaveLength(0);
});

test('a reader that stands still costs lines, counted, and never more room than is stated', () => {
  const { writer, next } = slowReader();
  const line = `${'x'.repeat(1023 - lineOverheadBytes)}\n`;
  const kept = Array.from({ length: 3_000 }, () => writer.line(line)).filter(Boolean).length;
  expect(kept * 1024).toBe(queuedBytesMax);
  expect(writer.dropped).toBe(3_000 - kept);
  expect(writer.line('x\n')).toBe(false);
  next();
  expect(writer.line('x\n')).toBe(true);
});

test('short lines count with what they take beside their text, and the room is there again afterwards', () => {
  const { writer, calls, next } = slowReader();
  const fill = (): number => {
    let kept = 0;
    while (writer.line('y\n')) kept += 1;
    return kept;
  };
  const kept = fill();
  expect(kept).toBe(Math.floor(queuedBytesMax / (2 + lineOverheadBytes)));
  while (calls.length > 0) next();
  expect(fill()).toBe(kept);
});

test('lines that nobody can read any more are counted as dropped, and later ones tried again', () => {
  const { writer, next } = slowReader();
  writer.line('one\n');
  next(0, 'EPIPE');
  expect(writer.dropped).toBe(1);
  expect(writer.line('two\n')).toBe(true);
  expect(next()).toBe('two\n');
});

test('who ends the process can wait until all is written, but not for ever', async () => {
  const { writer, next } = slowReader();
  await writer.drained(0);
  writer.line('one\n');
  const drained = writer.drained(60_000);
  next();
  await drained;
  writer.line('two\n');
  await writer.drained(1);
});

test('a real descriptor gets every line', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'log');
  const writer = new LineWriter(descriptorWriter(openSync(path, 'w')));
  const lines = Array.from({ length: 1_000 }, (_, at) => `line ${at}\n`);
  for (const line of lines) writer.line(line);
  await writer.drained(10_000);
  expect(readFileSync(path, 'utf8')).toBe(lines.join(''));
});
