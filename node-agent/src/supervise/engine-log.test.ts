import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { EngineLog } from './engine-log.ts';
import { lastLineCharsMax, lastLinesMax, logLineCharsMax } from './limits.ts';
import { OutputLines } from './output-lines.ts';

const directory = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
};

test('the last lines are kept, cut and without keys; the file has them as they were', async () => {
  const log = new EngineLog(join(directory(), 'logs/e.log'), ['hunter2-hunter2']);
  for (let line = 0; line < lastLinesMax; line += 1) log.line(`line ${line}`);
  log.line(`${'z'.repeat(lastLineCharsMax - 5)} hunter2-hunter2`);
  log.line(`with sk-0123456789 in it`);
  log.line('x'.repeat(lastLineCharsMax + 1));
  await log.close(5_000);
  expect(log.lastLines).toHaveLength(lastLinesMax);
  expect(log.lastLines[0]).toBe('line 3');
  expect(log.lastLines.at(-3)).toMatch(/z \[hid\.\.\.$/);
  expect(log.lastLines.at(-2)).toBe('with [hidden] in it');
  expect(log.lastLines.at(-1)).toBe(`${'x'.repeat(lastLineCharsMax)}...`);
  expect(readFileSync(log.path, 'utf8')).toContain('line 0\nline 1\n');
  expect(statSync(log.path).mode & 0o777).toBe(0o600);
});

test('its files stay below their bound, also over starts, and end with what came last', async () => {
  const path = join(directory(), 'e.log');
  // More than what is written at once.
  const bytesMax = 256 * 1024;
  for (let start = 0; start < 3; start += 1) {
    const log = new EngineLog(path, [], bytesMax);
    for (let line = 0; line < 50; line += 1) log.line(`${start}.${line} ${'x'.repeat(4_000)}`);
    await log.close(5_000);
  }
  const files = readdirSync(join(path, '..'));
  expect(files.sort()).toEqual(['e.log', 'e.log.1']);
  for (const file of files) expect(statSync(join(path, '..', file)).size).toBeLessThanOrEqual(bytesMax / 2);
  expect(readFileSync(path, 'utf8')).toMatch(/2\.49 x+\n$/);
});

test('where the disk takes nothing, the last lines are there all the same', async () => {
  const log = new EngineLog('/dev/null/e.log', []);
  log.line('last words');
  await log.close(5_000);
  expect(log.lastLines).toEqual(['last words']);
});

test('output becomes whole lines: cut anywhere, coloured, redrawn, or endless', () => {
  const lines: string[] = [];
  const output = new OutputLines((line) => lines.push(line));
  const bytes = Buffer.from('K\u00f6ln\n\u001b[32mINFO\u001b[0m up\r\n 10 %\r 20 %\r\n\nlast');
  for (const byte of bytes) output.push(Buffer.from([byte]));
  output.end();
  expect(lines).toEqual(['K\u00f6ln', 'INFO up', ' 10 %', ' 20 %', 'last']);
  for (let part = 0; part < 10; part += 1) output.push(Buffer.from('y'.repeat(logLineCharsMax)));
  output.push(Buffer.from('\nnext\n'));
  expect(lines.at(-2)).toBe('y'.repeat(logLineCharsMax));
  expect(lines.at(-1)).toBe('next');
});
