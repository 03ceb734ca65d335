import fs, { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigError } from './config/config-error.ts';
import { DirectoryLock, DirectoryTaken } from './directory-lock.ts';

const lock = new DirectoryLock({ program: 'agent', pid: process.pid, disk: fs });

const newDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-agent-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

test('a directory is for one agent at a time, and free again after it', async () => {
  const directory = join(newDirectory(), 'agent');
  const unlock = await lock.take(directory);
  const second = lock.take(directory, 100);
  expect(lock.ownerIn(directory)).toBe(process.pid);
  await expect(second).rejects.toThrow(DirectoryTaken);
  await expect(second).rejects.toThrow(
    `Another agent (pid ${process.pid}) uses ${directory}; give this one its own with --data-dir DIR.`,
  );
  unlock();
  expect(lock.ownerIn(directory)).toBeUndefined();
  expect(readdirSync(directory)).toEqual([]);
  (await lock.take(directory, 0))();
});

test('daemons of two kinds live in one directory', async () => {
  const directory = newDirectory();
  const unlock = await lock.take(directory);
  (await new DirectoryLock({ program: 'other', pid: process.pid, disk: fs }).take(directory, 0))();
  unlock();
});

test('one that waits gets the directory when its owner leaves', async () => {
  const directory = newDirectory();
  const unlock = await lock.take(directory);
  const second = lock.take(directory);
  unlock();
  (await second)();
});

test.each(['', 'nonsense', '4194999 1\n', `${process.pid} 1\n`])(
  'the lock %j, of a process that is gone, is taken over',
  async (owner) => {
    const directory = newDirectory();
    writeFileSync(join(directory, 'agent.lock'), owner);
    (await lock.take(directory))();
  },
);

test('what is taken over is not taken back by who lost it', async () => {
  const directory = newDirectory();
  const unlock = await lock.take(directory);
  const path = join(directory, 'agent.lock');
  writeFileSync(path, '1 1\n');
  unlock();
  expect(readFileSync(path, 'utf8')).toBe('1 1\n');
});

test('a file in the place of the directory, or a directory in that of the lock, is told and no riddle', async () => {
  const directory = newDirectory();
  const file = join(directory, 'file');
  writeFileSync(file, '');
  for (const wrong of [file, join(file, 'below')]) {
    const locking = lock.take(wrong, 0);
    await expect(locking).rejects.toThrow(ConfigError);
    await expect(locking).rejects.toThrow(`The data directory ${wrong} cannot be used (`);
  }
  mkdirSync(join(directory, 'agent.lock'));
  await expect(lock.take(directory)).rejects.toThrow(ConfigError);
});
