import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { agentIn, DirectoryTaken, lockDirectory } from './directory-lock.ts';

const newDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-agent-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

test('a directory is for one agent at a time, and free again after it', async () => {
  const directory = join(newDirectory(), 'agent');
  const unlock = await lockDirectory(directory);
  const second = lockDirectory(directory, 100);
  expect(agentIn(directory)).toBe(process.pid);
  await expect(second).rejects.toThrow(DirectoryTaken);
  await expect(second).rejects.toThrow(
    `Another agent (pid ${process.pid}) uses ${directory}; give this one its own with --data-dir DIR.`,
  );
  unlock();
  expect(agentIn(directory)).toBeUndefined();
  expect(readdirSync(directory)).toEqual([]);
  (await lockDirectory(directory, 0))();
});

test('one that waits gets the directory when its owner leaves', async () => {
  const directory = newDirectory();
  const unlock = await lockDirectory(directory);
  const second = lockDirectory(directory);
  unlock();
  (await second)();
});

test.each(['', 'nonsense', '4194999 1\n', `${process.pid} 1\n`])(
  'the lock %j, of a process that is gone, is taken over',
  async (owner) => {
    const directory = newDirectory();
    writeFileSync(join(directory, 'agent.lock'), owner);
    (await lockDirectory(directory))();
  },
);
