import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { KvStore, keyBytesMax, valueBytesMax } from './store.ts';

const page = 4096;

const directoryOf = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-store-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

const opened = (
  ramPages: number,
  directory?: string,
  nowMs = () => 1_000,
  ssdPages = 4096,
): Promise<KvStore> => {
  const ssd = directory === undefined ? undefined : { directory, bytesMax: ssdPages * page };
  return KvStore.open({ ramBytesMax: ramPages * page, ssd, nowMs });
};

const put = (store: KvStore, key: string, text: string, expiresAtMs?: number): boolean => {
  const value = store.reserve(key, text.length);
  value?.bytes.write(text, 'latin1');
  value?.commit({ expiresAtMs });
  return value !== undefined;
};

const read = async (store: KvStore, key: string): Promise<string | undefined> => {
  const held = await store.get(key);
  const text = held?.bytes.toString('latin1');
  held?.release();
  return text;
};

test('a value in memory is there at once, without a promise', async () => {
  const store = await opened(4);
  put(store, 'a', 'here');
  const held = store.get('a');
  expect(held).not.toBeInstanceOf(Promise);
  expect((await held)?.bytes.toString()).toBe('here');
  expect(store.get('b')).toBeUndefined();
  expect(store.counts).toMatchObject({ ramHits: 1, ramMisses: 1, ssdMisses: 0, misses: 1, puts: 1 });
});

test('what memory has no room for comes back from the disk, and stands in memory again', async () => {
  const store = await opened(8, directoryOf());
  for (let index = 0; index < 40; index += 1) {
    expect(put(store, `key ${index}`, `value ${index}`)).toBe(true);
    await store.flush();
  }
  expect(store.ram.counts.values).toBeLessThanOrEqual(8);
  expect(await read(store, 'key 3')).toBe('value 3');
  expect(store.counts).toMatchObject({ ssdHits: 1 });
  expect(store.get('key 3')).not.toBeInstanceOf(Promise);
  await store.close();
});

test('who asks and is not given the value is counted once, at each tier that had none', async () => {
  const directory = directoryOf();
  const first = await opened(8, directory);
  for (const key of ['a', 'damaged']) put(first, key, 'here');
  await first.close();
  const store = await opened(8, directory);
  expect(await read(store, 'a')).toBe('here');
  const ssd = store.ssd;
  if (ssd === undefined) throw new Error('no disk');
  vi.spyOn(ssd, 'read').mockResolvedValue('corrupt');
  const held = (key: string) => store.hold(key);
  const fetch = async (key: string) => (put(store, key, 'far') ? held(key) : undefined);
  expect(await read(store, 'damaged')).toBeUndefined();
  expect(await read(store, 'nowhere')).toBeUndefined();
  expect(store.counts).toMatchObject({ ramMisses: 3, ssdHits: 1, ssdMisses: 2, ssdUnread: 1, misses: 2 });
  store.peers = { isOutOf: (key) => key === 'ours', has: async () => true, fetch };
  expect(await read(store, 'damaged')).toBe('far');
  expect(await read(store, 'ours')).toBeUndefined();
  store.peers.fetch = async () => undefined;
  expect(await read(store, 'nowhere')).toBeUndefined();
  expect(store.counts).toMatchObject({ ramMisses: 6, ssdMisses: 5, ssdUnread: 2, misses: 4 });
  expect(store.counts).toMatchObject({ peerHits: 1, peerMisses: 1 });
  expect(await store.getHere('elsewhere')).toBeUndefined();
  expect(store.counts).toMatchObject({ misses: 5, peerMisses: 1 });
  await store.close();
});

test('many who ask for one value on the disk cost one read, and each has it', async () => {
  const directory = directoryOf();
  const first = await opened(8, directory);
  put(first, 'a', 'here');
  await first.close();
  const store = await opened(8, directory);
  const all = await Promise.all(Array.from({ length: 20 }, () => read(store, 'a')));
  expect(new Set(all)).toEqual(new Set(['here']));
  expect(store.ram.counts.values).toBe(1);
  await store.close();
});

test('a value that is replaced while its older one is read is the newer one', async () => {
  const directory = directoryOf();
  const first = await opened(8, directory);
  put(first, 'a', 'old');
  put(first, 'b', 'old');
  await first.close();
  const store = await opened(8, directory);
  const [a, b] = [read(store, 'a'), read(store, 'b')];
  put(store, 'a', 'new');
  store.delete('b');
  expect(await a).toBe('new');
  expect(await b).toBeUndefined();
  expect(await read(store, 'a')).toBe('new');
  await store.close();
});

test('what nothing can be evicted for is refused, and room comes back with what was read', async () => {
  const store = await opened(2);
  put(store, 'a', 'a');
  put(store, 'b', 'b');
  const held = [await store.get('a'), await store.get('b')];
  expect(store.reserve('c', 1)).toBeUndefined();
  for (const one of held) one?.release();
  expect(put(store, 'c', 'c')).toBe(true);
  expect(store.counts.refusals).toBe(1);
});

test('a pinned value stays through more than fits, and goes when it is deleted', async () => {
  const store = await opened(4);
  put(store, 'a', 'stays');
  expect(await store.pin('a', true)).toBe(true);
  expect(await store.pin('missing', true)).toBe(false);
  for (let index = 0; index < 50; index += 1) put(store, `key ${index}`, 'x');
  expect(await read(store, 'a')).toBe('stays');
  store.delete('a');
  expect(await read(store, 'a')).toBeUndefined();
});

test('time ends a value in memory and on the disk, and can be taken back', async () => {
  const directory = directoryOf();
  let nowMs = 1_000;
  const store = await opened(8, directory, () => nowMs);
  put(store, 'a', 'a', 2_000);
  put(store, 'b', 'b');
  expect([store.expiresAtMs('a'), store.expiresAtMs('b'), store.expiresAtMs('c')]).toEqual([
    2_000,
    null,
    undefined,
  ]);
  await store.flush();
  expect(store.expire('b', 3_000)).toBe(true);
  expect(store.expire('a', undefined)).toBe(true);
  expect(store.expire('c', 1)).toBe(false);
  await store.close();
  const next = await opened(8, directory, () => nowMs);
  nowMs = 3_000;
  expect([await read(next, 'a'), await read(next, 'b')]).toEqual(['a', undefined]);
  await next.close();
});

test('a time that changes, on the disk alone or in both, holds after a restart, and no value is written', async () => {
  const directory = directoryOf();
  const first = await opened(8, directory);
  put(first, 'disk', 'a', 5_000);
  put(first, 'both', 'b', 5_000);
  await first.close();
  const store = await opened(8, directory);
  expect(await read(store, 'both')).toBe('b');
  expect([store.expire('disk', undefined), store.expire('both', 2_000)]).toEqual([true, true]);
  expect([store.expiresAtMs('disk'), store.expiresAtMs('both')]).toEqual([null, 2_000]);
  await store.close();
  expect(store.ssd?.counts.written).toBe(0);
  const next = await opened(8, directory, () => 5_000);
  expect([await read(next, 'disk'), await read(next, 'both')]).toEqual(['a', undefined]);
  await next.close();
});

test('a time that changes while the value is read from the disk does not cost the reader the value', async () => {
  const directory = directoryOf();
  const first = await opened(8, directory);
  put(first, 'a', 'here');
  await first.close();
  const store = await opened(8, directory);
  const reading = read(store, 'a');
  expect(store.expire('a', 9_000)).toBe(true);
  expect(await reading).toBe('here');
  expect(store.expiresAtMs('a')).toBe(9_000);
  await store.close();
});

test('keys and values beyond the bounds are refused with the bound', async () => {
  const store = await opened(1);
  expect(() => store.reserve('k'.repeat(keyBytesMax + 1), 1)).toThrow(String(keyBytesMax));
  expect(() => store.reserve('k', valueBytesMax + 1)).toThrow(String(valueBytesMax));
});

test('all keys are listed, whichever tier has them', async () => {
  const store = await opened(8, directoryOf());
  for (let index = 0; index < 30; index += 1) {
    put(store, `key ${index}`, 'x');
    await store.flush();
  }
  expect(new Set(store.keys()).size).toBe(30);
  await store.close();
});

test('a value that was read stays on the disk when its segment goes, another does not', async () => {
  const directory = directoryOf();
  const first = await opened(8, directory);
  put(first, 'read', 'here');
  put(first, 'unread', 'here');
  await first.close();
  // Segments of 16 pages, and memory for all.
  const store = await opened(256, directory, undefined, 64);
  const changed: string[] = [];
  store.onChanged = (key) => changed.push(key);
  expect(await read(store, 'read')).toBe('here');
  for (let index = 0; index < 40; index += 1) {
    put(store, `key ${index}`, 'x');
    await store.flush();
  }
  expect(changed).toContain('unread');
  await store.close();
  const next = await opened(8, directory, undefined, 64);
  expect([await read(next, 'read'), await read(next, 'unread')]).toEqual(['here', undefined]);
  await next.close();
});

test('each namespace has its own number of keys, whichever tiers have them', async () => {
  const directory = directoryOf();
  const store = await opened(8, directory);
  for (let index = 0; index < 30; index += 1) {
    put(store, `db0:key ${index}`, 'x');
    await store.flush();
  }
  put(store, 'db1:a', 'x');
  put(store, 'db1:a', 'y');
  store.delete('db0:key 0');
  store.delete('db0:key 29');
  store.delete('db0:missing');
  expect(['db0:', 'db1:', 'db2:'].map((prefix) => store.sizeOf(prefix))).toEqual([28, 1, 0]);
  await store.close();
  const next = await opened(8, directory);
  expect(['db0:', 'db1:'].map((prefix) => next.sizeOf(prefix))).toEqual([28, 1]);
  await next.close();
});

const keys = fc.constantFrom(...'abcdefghij');
const steps = fc.array(
  fc.oneof(
    fc.record({ put: keys, chars: fc.nat({ max: 3 * page }), forMs: fc.nat({ max: 20 }) }),
    fc.record({ get: keys }),
    fc.record({ get: keys }),
    fc.record({ waitMs: fc.nat({ max: 10 }) }),
    fc.record({ delete: keys }),
    fc.constant({ flush: true }),
    fc.constant({ restart: true }),
  ),
  { maxLength: 120 },
);

test('over any operations an answer is the latest value or none, and budgets and counts hold', async () => {
  let stamp = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (todo) => {
      const directory = mkdtempSync(join(tmpdir(), 'kv-store-'));
      let now = 1_000;
      let store = await opened(16, directory, () => now, 64);
      const latest = new Map<string, string>();
      for (const step of todo) {
        if ('put' in step) {
          stamp += 1;
          const text = `${stamp} `.padEnd(step.chars, '.');
          const endsAtMs = step.forMs < 10 ? now + step.forMs : undefined;
          if (put(store, step.put, text, endsAtMs)) latest.set(step.put, text);
        } else if ('waitMs' in step) now += step.waitMs;
        else if ('get' in step) {
          const text = await read(store, step.get);
          if (text !== undefined) expect(text).toBe(latest.get(step.get));
        } else if ('delete' in step) {
          store.delete(step.delete);
          latest.delete(step.delete);
        } else if ('flush' in step) await store.flush();
        else {
          await store.close();
          store = await opened(16, directory, () => now, 64);
        }
        expect(store.sizeOf('')).toBe(new Set(store.keys()).size);
        expect(store.ram.counts.bytes).toBeLessThanOrEqual(16 * page);
        expect(store.ssd?.counts.bytes).toBeLessThanOrEqual(64 * page);
      }
      await store.close();
      rmSync(directory, { recursive: true });
    }),
    { numRuns: 60 },
  );
});

test('a value without an end has the one that the store gives, unless it is asked to have none', async () => {
  let now = 1_000;
  const store = await KvStore.open({ ramBytesMax: 16 * page, ssd: undefined, nowMs: () => now, ttlMs: 500 });
  put(store, 'usual', 'x');
  put(store, 'longer', 'x', 9_000);
  put(store, 'never', 'x');
  store.expire('never', undefined);
  now = 1_501;
  expect(['usual', 'longer', 'never'].map((key) => store.has(key))).toEqual([false, true, true]);
});
