import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { KvStore } from '../../store.ts';
import { adopt } from './adopt.ts';
import { Tree } from './tree.ts';

vi.mock('node:timers/promises', async (original) => ({
  ...(await original<typeof import('node:timers/promises')>()),
  setTimeout: vi.fn(),
}));

const mebibyte = 2 ** 20;
const key = 'n0123456789abcdef:a.bin';

const directoryOf = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-adopt-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

/** A store with a disk, and how to adopt a file of so many bytes into it. */
const givenFile = async (bytes: number) => {
  const directory = directoryOf();
  const file = openSync(join(directory, 'a.bin'), 'w');
  ftruncateSync(file, bytes);
  closeSync(file);
  const ssd = { directory: directoryOf(), bytesMax: 512 * mebibyte };
  const store = await KvStore.open({ ramBytesMax: 256 * mebibyte, ssd, nowMs: () => 1_000 });
  onTestFinished(() => store.close());
  const tree = new Tree(directory);
  const seen = await tree.see('a.bin');
  if (seen === undefined) throw new Error('no file');
  // A turn of the loop, however long it is to be.
  vi.mocked(pause).mockReset();
  vi.mocked(pause).mockImplementation(() => new Promise((resolve) => setImmediate(resolve, undefined)));
  return { store, adopted: () => adopt(tree, store, { path: 'a.bin', key, seen }) };
};

const pausedMs = (): number => vi.mocked(pause).mock.calls.reduce((sum, [ms = 0]) => sum + ms, 0);

test.each([16, 48])('a reader rests as long as 128 MiB a second take: %s MiB', async (mebibytes) => {
  const { adopted } = await givenFile(mebibytes * mebibyte);
  expect(await adopted()).toBe('adopted');
  expect(pausedMs()).toBeCloseTo((1_000 * mebibytes) / 128, 3);
});

test('no more is taken while half of what may be dirty is, and that is looked at again and again', async () => {
  const { store, adopted } = await givenFile(mebibyte);
  const { ssd } = store;
  if (ssd === undefined) throw new Error('no disk');
  const { counts } = ssd;
  const steps: string[] = [];
  let dirtyBytes = counts.dirtyBytesMax / 2 + mebibyte;
  vi.spyOn(ssd, 'counts', 'get').mockImplementation(() => ({ ...counts, dirtyBytes }));
  vi.mocked(pause).mockImplementation(async () => {
    steps.push('rested');
    dirtyBytes -= mebibyte;
  });
  const reserve = store.reserve.bind(store);
  store.reserve = (...asked) => {
    steps.push('taken');
    return reserve(...asked);
  };
  expect(await adopted()).toBe('adopted');
  // One megabyte over the half, and one for the file itself.
  expect(steps.slice(0, 3)).toEqual(['rested', 'rested', 'taken']);
});
