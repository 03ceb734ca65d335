import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { KvStore } from '../../store.ts';
import { type Mirror, type MirrorOptions, startMirror } from './mirror.ts';
import { partKeyOf } from './paths.ts';

const namespace = 'n0123456789abcdef';
const mebibyte = 2 ** 20;

const placeOf = (): string => {
  const place = mkdtempSync(join(tmpdir(), 'kv-mirror-'));
  onTestFinished(() => rmSync(place, { recursive: true, force: true }));
  return place;
};

const storeAt = async (directory?: string, ramBytesMax = 16 * mebibyte): Promise<KvStore> => {
  const ssd = directory === undefined ? undefined : { directory, bytesMax: 16 * ramBytesMax };
  const store = await KvStore.open({ ramBytesMax, ssd, nowMs: () => Date.now() });
  onTestFinished(() => store.close());
  return store;
};

const mirrorOf = async (
  store: KvStore,
  directory: string,
  more: Partial<MirrorOptions> = {},
): Promise<Mirror> => {
  const mirror = await startMirror({ directory, namespace, nowMs: () => Date.now(), ...more }, store);
  onTestFinished(() => mirror.close());
  return mirror;
};

const write = (directory: string, path: string, bytes: Buffer | string): void => {
  mkdirSync(dirname(join(directory, path)), { recursive: true });
  writeFileSync(join(directory, path), bytes);
};

const textOf = async (store: KvStore, path: string): Promise<string | undefined> => {
  const held = await store.get(`${namespace}:${path}`);
  const text = held?.bytes.toString('latin1');
  held?.release();
  return text;
};

const put = (store: KvStore, path: string, bytes: Buffer | string): void => {
  const from = Buffer.from(bytes);
  const value = store.reserve(`${namespace}:${path}`, from.length);
  if (value === undefined) throw new Error('no room');
  from.copy(value.bytes);
  value.commit();
};

/** As often as a file needs to be taken, and once more for what is not to be. */
const looks = async (mirror: Mirror, times = 3): Promise<void> => {
  for (let look = 0; look < times; look += 1) await mirror.look();
};

test('files that engines wrote are values under their paths, and what they write beside is none', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  const paths = ['model_0123456789ab_r0/0f0/f0_g0/0f0f0.bin', '0f0f0_model_0_2.bin', 'slot.bin'];
  for (const path of paths) write(directory, path, `of ${path}`);
  write(directory, `${paths[0]}_123.tmp`, 'half');
  write(directory, `${paths[1]}.tmp.1.2.3`, 'half');
  write(directory, 'empty.bin', '');
  await looks(mirror);
  for (const path of paths) expect(await textOf(store, path)).toBe(`of ${path}`);
  expect([...store.keys()]).toHaveLength(3);
  expect(mirror.counts).toMatchObject({ files: 3, adopted: 3, ignored: { temporary: 2, empty: 1 } });
});

test('a name of any bytes is a value', async () => {
  const directory = placeOf();
  const [store, other] = [await storeAt(), await storeAt()];
  const mirror = await mirrorOf(store, directory);
  const name = Buffer.from('a\xff\xc3 \n.bin', 'latin1');
  writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), name]), 'bytes');
  await looks(mirror);
  expect(await textOf(store, name.toString('latin1'))).toBe('bytes');
  const elsewhere = placeOf();
  put(other, name.toString('latin1'), 'bytes');
  const second = await mirrorOf(other, elsewhere);
  expect(await second.restore(`${namespace}:${name.toString('latin1')}`)).toBe('restored');
  expect(readdirSync(elsewhere, { encoding: 'buffer' })).toEqual([name]);
});

test('a file that is open for writing is not taken, however long it stays the same', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  const file = openSync(join(directory, 'slot.bin'), 'w');
  writeSync(file, 'half');
  await looks(mirror, 4);
  expect(await textOf(store, 'slot.bin')).toBeUndefined();
  writeSync(file, ' and half');
  closeSync(file);
  await looks(mirror);
  expect(await textOf(store, 'slot.bin')).toBe('half and half');
});

/** Runs when the store is asked for room, which is when the file is read. */
const whileRead = (store: KvStore, run: () => void): void => {
  const reserve = store.reserve.bind(store);
  let isFirst = true;
  store.reserve = (key, length) => {
    if (isFirst) run();
    isFirst = false;
    return reserve(key, length);
  };
};

test.each([
  ['cut', (path: string) => truncateSync(path, 2)],
  [
    'replaced',
    (path: string) => {
      writeFileSync(`${path}.tmp`, 'new bytes');
      renameSync(`${path}.tmp`, path);
    },
  ],
  ['written anew, as long as before', (path: string) => writeFileSync(path, 'new bytes')],
])('a file that is %s while it is read is not taken as it was', async (_, change) => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  const path = join(directory, 'a.bin');
  writeFileSync(path, 'old bytes');
  utimesSync(path, 1_000, 1_000);
  whileRead(store, () => change(path));
  await looks(mirror, 2);
  expect(await textOf(store, 'a.bin')).not.toBe('old bytes');
  expect(mirror.counts.failures.changed).toBe(1);
  await looks(mirror);
  expect(await textOf(store, 'a.bin')).toBe(readFileSync(path, 'latin1'));
});

test('what the kernel tells of is looked at without a scan, in directories that came later too', async () => {
  const directory = placeOf();
  const store = await storeAt();
  // A clock by which the first scan takes minutes and that stands still from then on: the next is due in many more.
  let nowMs = 0;
  let isScanning = true;
  const mirror = await mirrorOf(store, directory, {
    nowMs: () => {
      nowMs += isScanning ? 100_000 : 0;
      return nowMs;
    },
  });
  await mirror.look();
  isScanning = false;
  const path = 'model_r0/0f0/f0_g0/0f.bin';
  write(directory, path, 'first');
  await expect.poll(() => textOf(store, path), { timeout: 10_000 }).toBe('first');
  rmSync(join(directory, 'model_r0'), { recursive: true });
  await expect.poll(() => mirror.counts.watches, { timeout: 10_000 }).toBe(1);
  write(directory, path, 'again');
  await expect.poll(() => textOf(store, path), { timeout: 10_000 }).toBe('again');
});

test('a file that is written again is taken again', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  write(directory, 'a.bin', 'first');
  await looks(mirror);
  write(directory, 'a.bin', 'other');
  await looks(mirror);
  expect(await textOf(store, 'a.bin')).toBe('other');
});

test('a file above a value lies in parts, and is whole again elsewhere; parts of another one are refused', async () => {
  const [here, there] = [placeOf(), placeOf()];
  const store = await storeAt(undefined, 96 * mebibyte);
  const mirror = await mirrorOf(store, here);
  const bytes = Buffer.concat(Array.from({ length: 65 }, () => randomBytes(mebibyte)));
  write(here, 'slot.bin', bytes);
  await looks(mirror, 2);
  expect(store.has(`${namespace}:slot.bin`)).toBe(false);
  await mirror.close();
  const second = await mirrorOf(store, there);
  expect(await second.restore(`${namespace}:slot.bin`)).toBe('restored');
  const digest = (from: Buffer): string => createHash('sha256').update(from).digest('hex');
  expect(digest(readFileSync(join(there, 'slot.bin')))).toBe(digest(bytes));
  rmSync(join(there, 'slot.bin'));
  const part = store.reserve(partKeyOf(`${namespace}:slot.bin`, 1), 16 * mebibyte);
  part?.bytes.fill(7);
  part?.commit();
  expect(await second.restore(`${namespace}:slot.bin`)).toBe('missing');
  expect(second.counts.failures.lost).toBe(1);
  expect(readdirSync(there)).toEqual([]);
});

test('a restored file is whole, is not taken again, and is written once for all who ask', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  const path = 'model_r0/0f0/f0_g0/0f.bin';
  put(store, path, 'bytes');
  const key = `${namespace}:${path}`;
  expect(await Promise.all([mirror.restore(key), mirror.restore(key)])).toEqual(['restored', 'restored']);
  expect(readFileSync(join(directory, path), 'latin1')).toBe('bytes');
  expect(readdirSync(dirname(join(directory, path)))).toEqual(['0f.bin']);
  expect(await mirror.restore(key)).toBe('present');
  await looks(mirror);
  expect(mirror.counts).toMatchObject({ restored: 1, present: 1, adopted: 0, unchanged: 0, files: 1 });
});

test('a restored file can be read by whom the directory is for, and by nobody else', async () => {
  for (const [mode, expected] of [
    [0o755, 0o644],
    [0o700, 0o600],
    [0o750, 0o640],
  ] as const) {
    const directory = placeOf();
    execFileSync('chmod', [mode.toString(8), directory]);
    const store = await storeAt();
    put(store, 'a/b.bin', 'x');
    await (await mirrorOf(store, directory)).restore(`${namespace}:a/b.bin`);
    expect(statSync(join(directory, 'a')).mode & 0o777).toBe(mode);
    expect(statSync(join(directory, 'a/b.bin')).mode & 0o777).toBe(expected);
  }
});

test('what an engine wrote meanwhile stays', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  put(store, 'slot.bin', 'of a peer');
  write(directory, 'slot.bin', 'its own');
  expect(await mirror.restore(`${namespace}:slot.bin`)).toBe('present');
  expect(readFileSync(join(directory, 'slot.bin'), 'latin1')).toBe('its own');
});

test('what the store lacks is asked of the peers, and what they brought becomes files', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const asked: string[] = [];
  const fetch = async (keys: readonly string[]): Promise<void> => {
    asked.push(...keys);
    if (keys.includes(`${namespace}:theirs.bin`)) put(store, 'theirs.bin', 'of a peer');
    if (keys.includes(`${namespace}:broken.bin`)) throw new Error('no peer');
  };
  const mirror = await mirrorOf(store, directory, { fetch });
  expect(await mirror.restore(`${namespace}:theirs.bin`)).toBe('restored');
  expect(await mirror.restore(`${namespace}:broken.bin`)).toBe('missing');
  expect(await mirror.restore(`n${'0'.repeat(16)}:theirs.bin`)).toBe('foreign');
  put(store, 'brought.bin', 'too');
  await mirror.onFetched([`${namespace}:brought.bin`, `${namespace}:gone.bin`, 'db0:other']);
  expect(readFileSync(join(directory, 'brought.bin'), 'latin1')).toBe('too');
  expect(asked).not.toContain(`${namespace}:gone.bin`);
});

test('links are not followed, in or out, and pipes are not opened', async () => {
  const [directory, outside] = [placeOf(), placeOf()];
  const store = await storeAt();
  write(outside, 'secret.bin', 'secret');
  symlinkSync(join(outside, 'secret.bin'), join(directory, 'file.bin'));
  symlinkSync(outside, join(directory, 'link'));
  execFileSync('mkfifo', [join(directory, 'pipe.bin')]);
  const mirror = await mirrorOf(store, directory);
  await looks(mirror);
  expect([...store.keys()]).toEqual([]);
  expect(mirror.counts.ignored).toMatchObject({ link: 2, special: 1 });
  for (const path of [
    'link/new.bin',
    '../out.bin',
    'link/../../out.bin',
    '/etc/out.bin',
    'a/./b.bin',
    '.hidden',
  ]) {
    put(store, path, 'x');
    expect(await mirror.restore(`${namespace}:${path}`), path).not.toBe('restored');
  }
  expect(readdirSync(outside)).toEqual(['secret.bin']);
  expect(existsSync(join(dirname(directory), 'out.bin'))).toBe(false);
});

test('a file in the place of a directory costs that restore, and leaves nothing', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  write(directory, 'a', 'no directory');
  put(store, 'a/b.bin', 'x');
  expect(await mirror.restore(`${namespace}:a/b.bin`)).toBe('failed');
  expect(readdirSync(directory)).toEqual(['a']);
});

test('the cap removes the oldest that the store has, and never what was just restored', async () => {
  const [directory, segments] = [placeOf(), placeOf()];
  const store = await storeAt(segments);
  for (let index = 0; index < 20; index += 1) {
    write(directory, `${index}.bin`, 'x'.repeat(10_000));
    utimesSync(join(directory, `${index}.bin`), 1_000 + index, 1_000 + index);
  }
  const mirror = await mirrorOf(store, directory, { bytesMax: 100_000 });
  await looks(mirror, 4);
  const left = (): string[] => readdirSync(directory).sort();
  expect(left()).toEqual(Array.from({ length: 9 }, (_, index) => `${index + 11}.bin`).sort());
  expect(mirror.counts).toMatchObject({
    bytes: 90_000,
    removed: 11,
    removedBytes: 110_000,
    removedUnstored: 0,
  });
  for (let index = 0; index < 20; index += 1) expect(store.has(`${namespace}:${index}.bin`)).toBe(true);
  expect(await mirror.restore(`${namespace}:0.bin`)).toBe('restored');
  expect(await mirror.restore(`${namespace}:1.bin`)).toBe('restored');
  await looks(mirror);
  expect(left()).toContain('0.bin');
  expect(left()).toContain('1.bin');
  expect(mirror.counts.bytes).toBeLessThanOrEqual(100_000);
  for (let index = 2; index < 10; index += 1) await mirror.restore(`${namespace}:${index}.bin`);
  // Of so many nobody had the time to make use yet, and there is no room for one more.
  expect(await mirror.restore(`${namespace}:10.bin`)).toBe('failed');
  expect(mirror.counts).toMatchObject({ bytes: 100_000, failures: { capped: 1 } });
  expect(left()).toEqual(Array.from({ length: 10 }, (_, index) => `${index}.bin`));
});

test('what the store lost is taken again before the cap removes it', async () => {
  const directory = placeOf();
  const store = await storeAt();
  write(directory, 'a.bin', 'a'.repeat(1_000));
  utimesSync(join(directory, 'a.bin'), 1_000, 1_000);
  const mirror = await mirrorOf(store, directory, { bytesMax: 1_500 });
  await looks(mirror);
  store.delete(`${namespace}:a.bin`);
  write(directory, 'b.bin', 'b'.repeat(1_000));
  await looks(mirror, 6);
  expect(readdirSync(directory)).toEqual(['b.bin']);
  expect(await textOf(store, 'a.bin')).toBe('a'.repeat(1_000));
  expect(mirror.counts).toMatchObject({ removed: 1, removedUnstored: 0 });
});

test('what the store does not take still goes when the directory is full, and is counted apart', async () => {
  const directory = placeOf();
  const store = await storeAt(undefined, 8_192);
  write(directory, 'a.bin', 'a'.repeat(20_000));
  utimesSync(join(directory, 'a.bin'), 1_000, 1_000);
  const mirror = await mirrorOf(store, directory, { bytesMax: 10_000, nowMs: () => nowMs });
  let nowMs = Date.now();
  for (let look = 0; look < 8 && existsSync(join(directory, 'a.bin')); look += 1) {
    await mirror.look();
    nowMs += 60_000;
  }
  expect(readdirSync(directory)).toEqual([]);
  expect(mirror.counts).toMatchObject({ adopted: 0, removed: 1, removedUnstored: 1 });
});

test('a directory that goes and comes back is mirrored again, and its values stayed', async () => {
  const directory = join(placeOf(), 'later');
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  await looks(mirror);
  expect(mirror.counts.isThere).toBe(false);
  expect(await mirror.restore(`${namespace}:a.bin`)).toBe('missing');
  write(directory, 'sub/a.bin', 'a');
  await looks(mirror);
  expect(mirror.counts).toMatchObject({ isThere: true, files: 1 });
  rmSync(directory, { recursive: true });
  await looks(mirror);
  expect(mirror.counts).toMatchObject({ isThere: false, files: 0, bytes: 0 });
  write(directory, 'sub/b.bin', 'b');
  await looks(mirror);
  expect([await textOf(store, 'sub/a.bin'), await textOf(store, 'sub/b.bin')]).toEqual(['a', 'b']);
});

test('after a restart what the store has is read and not written again', async () => {
  const [directory, segments] = [placeOf(), placeOf()];
  const first = await KvStore.open({
    ramBytesMax: 16 * mebibyte,
    ssd: { directory: segments, bytesMax: 256 * mebibyte },
    nowMs: () => Date.now(),
  });
  write(directory, 'same.bin', 'same');
  write(directory, 'other.bin', 'before');
  const mirror = await mirrorOf(first, directory);
  await looks(mirror);
  await mirror.close();
  await first.close();
  write(directory, 'other.bin', 'behind');
  const store = await storeAt(segments);
  const next = await mirrorOf(store, directory);
  await looks(next);
  await store.flush();
  expect(next.counts).toMatchObject({ adopted: 1, unchanged: 1 });
  expect(await textOf(store, 'other.bin')).toBe('behind');
  expect(store.ssd?.counts.written).toBe(1);
});

test('times of the future and of long ago are no reason to leave a file', async () => {
  const directory = placeOf();
  const store = await storeAt();
  for (const [name, seconds] of [
    ['old.bin', -1_000_000],
    ['new.bin', 4_000_000_000],
  ] as const) {
    write(directory, name, name);
    utimesSync(join(directory, name), seconds, seconds);
  }
  const mirror = await mirrorOf(store, directory);
  await looks(mirror);
  expect([await textOf(store, 'old.bin'), await textOf(store, 'new.bin')]).toEqual(['old.bin', 'new.bin']);
});

test('trees deeper than any engine makes are left out and told', async () => {
  const directory = placeOf();
  write(directory, `${'d/'.repeat(8)}in.bin`, 'in');
  write(directory, `${'d/'.repeat(9)}out.bin`, 'out');
  const store = await storeAt();
  const mirror = await mirrorOf(store, directory);
  await looks(mirror);
  expect(await textOf(store, `${'d/'.repeat(8)}in.bin`)).toBe('in');
  expect(mirror.counts).toMatchObject({ files: 1, ignored: { deep: 1 } });
});

test('a second mirror of a directory, of one in it or around it, is refused with both names', async () => {
  const directory = placeOf();
  mkdirSync(join(directory, 'inner'));
  symlinkSync(join(directory, 'inner'), join(directory, 'link'));
  const store = await storeAt();
  const mirror = await mirrorOf(store, join(directory, 'inner'));
  for (const path of ['inner', 'link', '', 'inner/deep/er'])
    await expect(mirrorOf(store, join(directory, path)), path).rejects.toThrow('overlaps');
  await mirrorOf(store, join(directory, 'inner-2'));
  await mirror.close();
  await mirrorOf(store, join(directory, 'link'));
});

test('what a crash of ours left is removed, and what is being written is not', async () => {
  const directory = placeOf();
  const store = await storeAt();
  const [left, young] = ['.cgn-0123456789abcdef.tmp', '.cgn-0123456789abcde0.tmp'];
  for (const name of [left, young, 'x.tmp']) write(directory, name, 'half');
  for (const name of [left, 'x.tmp']) utimesSync(join(directory, name), 1_000, 1_000);
  const mirror = await mirrorOf(store, directory);
  await looks(mirror);
  expect(readdirSync(directory).sort()).toEqual([young, 'x.tmp'].sort());
});
