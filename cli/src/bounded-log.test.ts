import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { BoundedLog } from './bounded-log.ts';

const bytesMax = 8 * 1024 * 1024;

test('lines are appended, also to what an earlier run wrote, for the owner alone', () => {
  const path = join(newDirectory(), 'logs/engine.log');
  new BoundedLog(path).write('one');
  new BoundedLog(path).write('two');
  expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n');
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test.each(['x', 'é', '😀'])(
  'a log of lines of %j never outgrows its bound, old half included',
  (character) => {
    const path = join(newDirectory(), 'log');
    const log = new BoundedLog(path);
    const line = character.repeat(200_000);
    const bytes = Buffer.byteLength(line) + 1;
    for (let written = 0; written < 2.2 * bytesMax; written += bytes) {
      log.write(line);
      const kept = statSync(path).size + (existsSync(`${path}.1`) ? statSync(`${path}.1`).size : 0);
      expect(kept).toBeLessThanOrEqual(bytesMax + 2 * bytes);
    }
    expect(readFileSync(`${path}.1`, 'utf8').endsWith(`${line}\n`)).toBe(true);
  },
);

test('the size of an earlier run’s log counts', () => {
  const path = join(newDirectory(), 'log');
  const line = 'x'.repeat(bytesMax / 2);
  new BoundedLog(path).write(line);
  new BoundedLog(path).write('next');
  expect(readFileSync(path, 'utf8')).toBe('next\n');
  expect(readFileSync(`${path}.1`, 'utf8')).toBe(`${line}\n`);
});

test('the last lines are at hand', () => {
  const log = new BoundedLog(join(newDirectory(), 'log'));
  for (let count = 0; count < 50; count += 1) log.write(`line ${count}`);
  expect(log.tail).toHaveLength(20);
  expect(log.tail.at(0)).toBe('line 30');
  expect(log.tail.at(-1)).toBe('line 49');
});

test('a log is pointed to once something of this run is in it', () => {
  const path = join(newDirectory(), 'log');
  new BoundedLog(path).write('of an earlier run');
  const log = new BoundedLog(path);
  expect(log.pointer('has more.')).toBe('');
  log.write('one');
  expect(log.pointer('has more.')).toBe(` ${path} has more.`);
});

test('a log that cannot be written says so once, keeps its last lines at hand and goes on when it can', () => {
  const path = join(newDirectory(), 'log');
  const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const log = new BoundedLog(path);
  mkdirSync(path);
  log.write('one');
  log.write('two');
  rmdirSync(path);
  log.write('three');
  expect(log.tail).toEqual(['one', 'two', 'three']);
  expect(readFileSync(path, 'utf8')).toBe('three\n');
  expect(told.mock.calls).toEqual([[expect.stringContaining(`${path} cannot be written: EISDIR`)]]);
  told.mockRestore();
});
