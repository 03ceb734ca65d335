import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
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

test('a disk that fails costs the values that waited, and is used again later', async () => {
  const directory = directoryOf();
  const errors: string[] = [];
  let nowMs = 1_000;
  const tier = await opened(directory, { nowMs: () => nowMs, onError: (message) => errors.push(message) });
  rmSync(directory, { recursive: true });
  expect(await write(tier, 'a', 'a')).toBe(false);
  expect(errors[0]).toContain('ENOENT');
  expect(await write(tier, 'b', 'b')).toBe(false);
  nowMs += 5_000;
  expect(await write(tier, 'c', 'c')).toBe(false);
  expect(tier.counts.errors).toBe(2);
  await tier.close();
});

const keys = fc.constantFrom(...'abcdef');
const steps = fc.array(
  fc.oneof(
    fc.record({ put: keys, chars: fc.nat({ max: 20_000 }) }),
    fc.record({ delete: keys }),
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
