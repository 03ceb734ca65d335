import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openArena } from '../ram/arena.ts';
import { pageBytes, pagesOf, valueAt, valueIn } from '../ram/extents.ts';
import { headerBytes } from './record.ts';
import { SsdTier, type SsdTierOptions } from './ssd-tier.ts';

const directoryOf = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-ssd-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

const opened = async (directory: string, options: Partial<SsdTierOptions> = {}) => {
  const plain = { bytesMax: 2 ** 24, dirtyBytesMax: 2 ** 24, nowMs: () => 1_000 };
  return SsdTier.open({ directory, ...plain, ...options });
};

const pagesFor = (bytes: number): Buffer => openArena(pagesOf(bytes) * pageBytes).bytes;

/** True once it is written. */
const write = (tier: SsdTier, key: string, value: string, expiresAtMs?: number): Promise<boolean> => {
  const pages = pagesFor(value.length);
  valueIn(pages, value.length).write(value, 'latin1');
  return new Promise((resolve) => {
    const pending = { key, pages, length: value.length, expiresAtMs, isWanted: () => true, onDone: resolve };
    if (!tier.write(pending)) resolve(false);
  });
};

const read = async (tier: SsdTier, key: string): Promise<string> => {
  const place = tier.find(key);
  if (place === undefined) return 'missing';
  const pages = pagesFor(place.length);
  const outcome = await tier.read(key, place, pages);
  return outcome === 'read' ? valueIn(pages, place.length).toString('latin1') : outcome;
};

/** The byte at which the value begins in the only segment. */
const segmentOf = (directory: string): string => join(directory, readdirSync(directory)[0] ?? '');

test('what was written is read again, also by the next run, the latest of a key', async () => {
  const directory = directoryOf();
  const tier = await opened(directory);
  await write(tier, 'a', 'first');
  await write(tier, 'a', 'second');
  await write(tier, 'empty', '');
  await write(tier, 'long', 'x'.repeat(3 * 4096 + 1));
  expect(await read(tier, 'a')).toBe('second');
  await tier.close();
  const next = await opened(directory);
  expect(await read(next, 'a')).toBe('second');
  expect(await read(next, 'empty')).toBe('');
  expect(await read(next, 'long')).toBe('x'.repeat(3 * 4096 + 1));
  expect(next.counts.values).toBe(3);
  await write(next, 'a', 'third');
  await next.close();
  const last = await opened(directory);
  expect(await read(last, 'a')).toBe('third');
  await last.close();
});

test('a deleted value stays deleted in the next run, also one that was being written', async () => {
  const directory = directoryOf();
  const tier = await opened(directory);
  await write(tier, 'a', 'here');
  tier.delete('a');
  let isWanted = true;
  const pages = pagesFor(1);
  tier.write({
    key: 'b',
    pages,
    length: 1,
    expiresAtMs: undefined,
    isWanted: () => isWanted,
    onDone: () => {},
  });
  await Promise.resolve();
  tier.delete('b');
  isWanted = false;
  await tier.close();
  const next = await opened(directory);
  expect([await read(next, 'a'), await read(next, 'b')]).toEqual(['missing', 'missing']);
  await next.close();
});

test('a value whose time is over is missing, in the next run too', async () => {
  const directory = directoryOf();
  let nowMs = 1_000;
  const tier = await opened(directory, { nowMs: () => nowMs });
  await write(tier, 'a', 'here', 2_000);
  expect(await read(tier, 'a')).toBe('here');
  nowMs = 2_000;
  expect(await read(tier, 'a')).toBe('missing');
  await tier.close();
  const next = await opened(directory, { nowMs: () => nowMs });
  expect(await read(next, 'a')).toBe('missing');
  await next.close();
});

test('the disk never holds more than its budget; the oldest segment goes, and its keys are told', async () => {
  const directory = directoryOf();
  const gone: string[] = [];
  const bytesMax = 64 * 4096;
  const tier = await opened(directory, { bytesMax, onGone: (key) => gone.push(key) });
  for (let index = 0; index < 200; index += 1) {
    await write(tier, `key ${index}`, `value ${index}`);
    const onDisk = readdirSync(directory).reduce(
      (sum, name) => sum + statSync(join(directory, name)).size,
      0,
    );
    expect(onDisk).toBeLessThanOrEqual(bytesMax);
  }
  expect(await read(tier, 'key 199')).toBe('value 199');
  expect(await read(tier, 'key 0')).toBe('missing');
  expect(gone[0]).toBe('key 0');
  expect(gone.length + tier.counts.values).toBe(200);
  await tier.close();
});

test('what is known of keys takes no more heap than it may: the oldest segment goes, also at a restart', async () => {
  const directory = directoryOf();
  const gone: string[] = [];
  const indexBytesMax = 2 ** 17;
  const tier = await opened(directory, { indexBytesMax, onGone: (key) => gone.push(key) });
  const nameOf = (index: number): string => String(index).padStart(1_000, 'k');
  const valuesMax = Math.floor(indexBytesMax / (1_000 + 256));
  for (let index = 0; index < 150; index += 1) {
    expect(await write(tier, nameOf(index), `value ${index}`)).toBe(true);
    expect(tier.counts.values).toBeLessThanOrEqual(valuesMax);
  }
  expect(tier.counts.values).toBeGreaterThan(valuesMax / 2);
  expect(gone[0]).toBe(nameOf(0));
  expect(await read(tier, nameOf(149))).toBe('value 149');
  await tier.close();
  const next = await opened(directory, { indexBytesMax: indexBytesMax / 2, onGone: (key) => gone.push(key) });
  expect(next.counts.values).toBeLessThanOrEqual(valuesMax / 2);
  expect(await read(next, nameOf(149))).toBe('value 149');
  await next.close();
});

test('what goes with its segment while it is read is missing, and no damage', async () => {
  const tier = await opened(directoryOf(), { bytesMax: 64 * 4096 });
  const outcomes = new Set<string>();
  let isOver = false;
  const reader = async (behind: number): Promise<void> => {
    while (!isOver) {
      const key = `key ${Math.max(0, written - behind)}`;
      const value = await read(tier, key);
      outcomes.add(value === `value of ${key}` ? 'right' : value);
      await nextTurn();
    }
  };
  let written = 0;
  const readers = Array.from({ length: 20 }, (_, at) => reader(16 + at));
  for (; written < 400; written += 1) await write(tier, `key ${written}`, `value of key ${written}`);
  isOver = true;
  await Promise.all(readers);
  expect([...outcomes].sort()).toEqual(['missing', 'right']);
  expect(tier.counts.corrupt).toBe(0);
  await tier.close();
});

test('a flipped bit of a value is a miss and counted once', async () => {
  const directory = directoryOf();
  const tier = await opened(directory);
  await write(tier, 'a', 'here');
  const bytes = readFileSync(segmentOf(directory));
  bytes[headerBytes + valueAt] = (bytes[headerBytes + valueAt] ?? 0) ^ 1;
  writeFileSync(segmentOf(directory), bytes);
  expect(await read(tier, 'a')).toBe('corrupt');
  expect(await read(tier, 'a')).toBe('missing');
  expect(tier.counts.corrupt).toBe(1);
  await tier.close();
});

test('cut anywhere, a segment gives its whole values and nothing else', async () => {
  const directory = directoryOf();
  const tier = await opened(directory);
  await write(tier, 'a', 'a'.repeat(5000));
  await write(tier, 'b', 'b'.repeat(5000));
  await tier.close();
  const whole = readFileSync(segmentOf(directory));
  for (const cut of [0, 100, 4096, 8192, 12_288, 12_289, 16_384, 20_000, whole.length]) {
    writeFileSync(segmentOf(directory), whole);
    truncateSync(segmentOf(directory), cut);
    const next = await opened(directory);
    const [a, b] = [await read(next, 'a'), await read(next, 'b')];
    expect(a === 'missing' || a === 'corrupt' || a === 'a'.repeat(5000)).toBe(true);
    expect(b === 'missing' || b === 'corrupt' || b === 'b'.repeat(5000)).toBe(true);
    expect(a === 'a'.repeat(5000)).toBe(cut >= 12_288);
    expect(b === 'b'.repeat(5000)).toBe(cut >= whole.length);
    await next.close();
  }
});

test('what is too large or too much at once is not taken, and an older value of its key is gone with it', async () => {
  const tier = await opened(directoryOf(), { dirtyBytesMax: 2 * 4096, bytesMax: 64 * 4096 });
  expect(await write(tier, 'large', 'x'.repeat(17 * 4096))).toBe(false);
  await write(tier, 'c', 'old');
  const [a, b, c] = [write(tier, 'a', 'a'), write(tier, 'b', 'b'), write(tier, 'c', 'new')];
  expect(await Promise.all([a, b, c])).toEqual([true, true, false]);
  expect(await read(tier, 'c')).toBe('missing');
  expect(tier.counts).toMatchObject({ skipped: 2, dirtyBytes: 0 });
  await tier.close();
});

test('a disk that fails costs what waited, and is used again later, whatever the wall clock does', async () => {
  const directory = directoryOf();
  const errors: string[] = [];
  let nowMs = 86_400_000;
  let monotonicMs = 1_000;
  const clocks = { nowMs: () => nowMs, monotonicMs: () => monotonicMs };
  const tier = await opened(directory, { ...clocks, onError: (message) => errors.push(message) });
  rmSync(directory, { recursive: true });
  writeFileSync(directory, '');
  expect(await write(tier, 'a', 'a')).toBe(false);
  expect(errors[0]).toContain('EEXIST');
  nowMs = 1_000;
  expect(await write(tier, 'b', 'b')).toBe(false);
  expect(tier.counts.errors).toBe(1);
  monotonicMs += 5_000;
  expect(await write(tier, 'c', 'c')).toBe(false);
  expect(tier.counts.errors).toBe(2);
  rmSync(directory);
  monotonicMs += 5_000;
  expect(await write(tier, 'd', 'd')).toBe(true);
  await tier.close();
});

test('a directory that is removed is made again for the next segment', async () => {
  const directory = directoryOf();
  const tier = await opened(directory, { bytesMax: 64 * 4096 });
  await write(tier, 'a', 'a');
  rmSync(directory, { recursive: true });
  // Each segment holds eight: the one that was begun goes on without a name.
  for (const key of 'bcdefghijk') expect(await write(tier, key, key)).toBe(true);
  await tier.close();
  const next = await opened(directory, { bytesMax: 64 * 4096 });
  expect([await read(next, 'a'), await read(next, 'k')]).toEqual(['missing', 'k']);
  await next.close();
});

test('a directory or a link that has the name of a segment stays, and values go to another', async () => {
  const directory = directoryOf();
  mkdirSync(join(directory, '000000000001.kv'));
  symlinkSync('/dev/zero', join(directory, '000000000002.kv'));
  const tier = await opened(directory);
  expect(await write(tier, 'a', 'here')).toBe(true);
  await tier.close();
  expect(readdirSync(directory).sort()).toContain('000000000003.kv');
  const next = await opened(directory);
  expect(await read(next, 'a')).toBe('here');
  await next.close();
});

test('what comes in the very moment in which the writer ends is written too', async () => {
  const tier = await opened(directoryOf());
  for (let turns = 0; turns < 12; turns += 1) {
    await write(tier, 'a', 'a');
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    expect(await write(tier, 'b', `${turns}`)).toBe(true);
    expect(await read(tier, 'b')).toBe(`${turns}`);
  }
  await tier.close();
});

/** The next write of records fails behind so many pages; so does cutting them off, where `isStuck`. */
const failNextWrite = async (directory: string, pagesWritten: number, isStuck: boolean): Promise<void> => {
  const file = await open(segmentOf(directory), 'r');
  const handles = Object.getPrototypeOf(file) as FileHandle;
  await file.close();
  const writev = handles.writev;
  vi.spyOn(handles, 'writev').mockImplementationOnce(async function (this: FileHandle, pages, offset) {
    if (pagesWritten > 0) await writev.call(this, pages.slice(0, pagesWritten), offset);
    throw new Error('ENOSPC');
  });
  if (isStuck) vi.spyOn(handles, 'truncate').mockRejectedValueOnce(new Error('EIO'));
  onTestFinished(() => void vi.restoreAllMocks());
};

test.each([
  [0, false],
  [0, true],
  [1, false],
  [1, true],
])(
  'behind a write that failed after %s pages a restart finds the latest values (cutting off fails: %s)',
  async (pagesWritten, isStuck) => {
    const directory = directoryOf();
    let monotonicMs = 1_000;
    const tier = await opened(directory, { monotonicMs: () => monotonicMs });
    for (const key of ['replaced', 'deleted', 'failed']) await write(tier, key, 'old');
    await failNextWrite(directory, pagesWritten, isStuck);
    expect(await write(tier, 'failed', 'lost')).toBe(false);
    monotonicMs += 5_000;
    expect(await write(tier, 'replaced', 'new')).toBe(true);
    tier.delete('deleted');
    await tier.close();
    const next = await opened(directory);
    const found = await Promise.all(['replaced', 'deleted', 'failed'].map((key) => read(next, key)));
    expect(found).toEqual(['new', 'missing', 'missing']);
    await next.close();
  },
);

test('a time that was changed holds in the next run, the latest of a key and of its latest value', async () => {
  const directory = directoryOf();
  let nowMs = 1_000;
  const tier = await opened(directory, { nowMs: () => nowMs });
  for (const key of ['sooner', 'later', 'never', 'twice', 'replaced']) await write(tier, key, 'here', 3_000);
  expect(tier.expire('sooner', 2_000)).toBe(true);
  tier.expire('later', 4_000);
  tier.expire('never', undefined);
  for (const expiresAtMs of [1_500, 1_600, 4_000]) tier.expire('twice', expiresAtMs);
  tier.expire('replaced', 1_500);
  await write(tier, 'replaced', 'anew', 4_000);
  expect(tier.expire('missing', 4_000)).toBe(false);
  await tier.close();
  const next = await opened(directory, { nowMs: () => nowMs });
  const keysOf = ['sooner', 'later', 'never', 'twice', 'replaced'];
  const found = () => Promise.all(keysOf.map((key) => read(next, key)));
  expect(await found()).toEqual(['here', 'here', 'here', 'here', 'anew']);
  nowMs = 2_000;
  expect(await found()).toEqual(['missing', 'here', 'here', 'here', 'anew']);
  nowMs = 4_000;
  expect(await found()).toEqual(['missing', 'missing', 'here', 'missing', 'missing']);
  await next.close();
});

test('times that change all the while cost no more records than are written', async () => {
  const directory = directoryOf();
  const tier = await opened(directory);
  await write(tier, 'a', 'here');
  const before = tier.counts.bytes;
  for (let expiresAtMs = 2_000; expiresAtMs < 12_000; expiresAtMs += 1) tier.expire('a', expiresAtMs);
  await tier.flush();
  expect(tier.counts.bytes - before).toBeLessThanOrEqual(2 * headerBytes);
  expect(tier.find('a')?.expiresAtMs).toBe(11_999);
  await tier.close();
});

test('deleting a key all the while, or storing what is refused, costs no more records than that', async () => {
  const directory = directoryOf();
  const tier = await opened(directory, { dirtyBytesMax: 2 ** 16 });
  const before = tier.counts.bytes;
  const written = write(tier, 'a', 'x'.repeat(40_000));
  for (let turn = 0; turn < 1_000; turn += 1) tier.delete('a');
  // More than may be dirty: each is refused, and what the disk has of the key is deleted.
  for (let turn = 0; turn < 1_000; turn += 1) void write(tier, 'a', 'y'.repeat(40_000));
  await written;
  await tier.flush();
  expect(tier.counts.bytes - before).toBeLessThanOrEqual(pagesOf(40_000) * pageBytes + 3 * headerBytes);
  // Behind the deletion a value counts again, and so does the next deletion.
  expect(await write(tier, 'a', 'again')).toBe(true);
  expect(await read(tier, 'a')).toBe('again');
  tier.delete('a');
  await tier.close();
  const next = await opened(directory);
  expect(await read(next, 'a')).toBe('missing');
  await next.close();
});

test('a time that the disk did not take costs the value, rather than that it comes back for longer', async () => {
  const directory = directoryOf();
  let monotonicMs = 1_000;
  const tier = await opened(directory, { monotonicMs: () => monotonicMs });
  await write(tier, 'a', 'here');
  await failNextWrite(directory, 0, false);
  expect(tier.expire('a', 2_000)).toBe(true);
  await tier.flush();
  expect(await read(tier, 'a')).toBe('missing');
  monotonicMs += 5_000;
  await write(tier, 'b', 'b');
  await tier.close();
  const next = await opened(directory);
  expect([await read(next, 'a'), await read(next, 'b')]).toEqual(['missing', 'b']);
  await next.close();
});

const keys = fc.constantFrom(...'abcdef');
const steps = fc.array(
  fc.oneof(
    fc.record({ put: keys, chars: fc.nat({ max: 20_000 }) }),
    fc.record({ delete: keys }),
    fc.record({
      expire: keys,
      expiresAtMs: fc.option(fc.integer({ min: 900, max: 1_100 }), { nil: undefined }),
    }),
    fc.record({ read: keys }),
    fc.constant({ reopen: true }),
  ),
  { maxLength: 60 },
);

test('over any operations and restarts a key has its latest value or none', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (todo) => {
      const directory = mkdtempSync(join(tmpdir(), 'kv-ssd-'));
      let tier = await opened(directory, { bytesMax: 2 ** 17 });
      const latest = new Map<string, string>();
      let stamp = 0;
      for (const step of todo) {
        if ('put' in step) {
          stamp += 1;
          latest.set(step.put, `${stamp} `.padEnd(step.chars, '.'));
          void write(tier, step.put, latest.get(step.put) ?? '');
        } else if ('delete' in step) {
          tier.delete(step.delete);
          latest.delete(step.delete);
        } else if ('expire' in step) {
          // Only what is on the disk: what waits is the store's to tell again.
          await tier.flush();
          if (tier.expire(step.expire, step.expiresAtMs) && (step.expiresAtMs ?? Infinity) <= 1_000)
            latest.delete(step.expire);
        } else if ('read' in step) {
          await tier.flush();
          const value = await read(tier, step.read);
          if (value !== 'missing') expect(value).toBe(latest.get(step.read));
        } else {
          await tier.close();
          tier = await opened(directory, { bytesMax: 2 ** 17 });
        }
      }
      await tier.close();
      rmSync(directory, { recursive: true });
    }),
    { numRuns: 40 },
  );
});
