/**
 * Lookups in the store itself, in this process: values of 1 MiB that are in memory, and values that are on the disk
 * alone next to raw reads of the same bytes. One at a time; nothing is measured but the call.
 */
import { constants, openSync, read, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type HeldValue, KvStore } from '../../kvcache/src/store.ts';
import { openArena } from '../../kvcache/src/tiers/ram/arena.ts';
import { pageBytes, pagesOf, valueIn } from '../../kvcache/src/tiers/ram/extents.ts';
import { seededRandom } from '../sim/random.ts';
import { mebibyte } from './row.ts';

export interface RamPlan {
  /** Of 1 MiB, that are asked for. */
  readonly values: number;
  /** Of one page each, beside them: what a store of a large host has in its index. */
  readonly others: number;
  readonly lookups: number;
}

const put = (store: KvStore, key: string, bytes: number, fill: number): void => {
  const value = store.reserve(key, bytes);
  if (value === undefined) throw new Error(`no room for ${key}`);
  value.bytes.fill(fill);
  value.commit();
};

const must = (value: HeldValue | undefined, key: string, fill: number): HeldValue => {
  if (value?.bytes[0] !== fill || value.bytes.at(-1) !== fill) throw new Error(`${key} was not found whole`);
  return value;
};

/** Microseconds of each lookup: a hit, held and given back. */
export const ramLookups = async ({ values, others, lookups }: RamPlan): Promise<number[]> => {
  const ramBytesMax = ((values + 1) * pagesOf(mebibyte) + others + 1) * pageBytes;
  const store = await KvStore.open({ ramBytesMax, ssd: undefined, nowMs: Date.now });
  for (let index = 0; index < others; index += 1) put(store, `other:${index}`, 28, 1);
  const keys = Array.from({ length: values }, (_, index) => `value:${index}`);
  for (const [index, key] of keys.entries()) put(store, key, mebibyte, index & 0xff);
  const random = seededRandom(1);
  const us: number[] = [];
  // Half as many again go first, unseen: a daemon has run for longer than its first second.
  for (let turn = -lookups / 2; turn < lookups; turn += 1) {
    const index = Math.floor(random() * values);
    const key = keys[index] ?? '';
    const beganMs = performance.now();
    const held = store.get(key);
    if (held === undefined || held instanceof Promise) throw new Error(`${key} is not in memory`);
    held.release();
    if (turn >= 0) us.push((performance.now() - beganMs) * 1e3);
    must(held, key, index & 0xff);
  }
  return us;
};

export interface SsdPlan {
  /** An empty directory on the disk that is meant. */
  readonly directory: string;
  /** Of 1 MiB; each is read once by the store and once raw. */
  readonly values: number;
}

export interface SsdReads {
  readonly storeMs: readonly number[];
  readonly rawMs: readonly number[];
  /** From the directory to a store that knows all values. */
  readonly reopenMs: number;
  /** The raw reads went around the kernel's cache; else they were served by it. */
  readonly isDirect: boolean;
}

/** Small against the values: none that is read is in memory. */
const ssdRamBytes = 96 * mebibyte;
const valuesPerFlush = 16;

const openRaw = (path: string): { readonly file: number; readonly isDirect: boolean } => {
  try {
    return { file: openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0)), isDirect: true };
  } catch {
    return { file: openSync(path, constants.O_RDONLY), isDirect: false };
  }
};

const rawRead = (file: number, into: Buffer, offset: number): Promise<void> =>
  new Promise((resolve, reject) => {
    read(file, into, 0, into.length, offset, (thrown, bytes) => {
      if (thrown !== null) reject(thrown);
      else if (bytes !== into.length) reject(new Error(`${bytes} of ${into.length} bytes were read`));
      else resolve();
    });
  });

const elapsedMs = async (run: () => unknown): Promise<number> => {
  const beganMs = performance.now();
  await run();
  return performance.now() - beganMs;
};

const shuffled = (count: number, random: () => number): number[] => {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let at = count - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other] ?? 0, order[at] ?? 0];
  }
  return order;
};

/** The store is filled, closed and opened anew; then each value is read both ways, now one first, now the other. */
export const ssdReads = async ({ directory, values }: SsdPlan): Promise<SsdReads> => {
  const options = {
    ramBytesMax: ssdRamBytes,
    ssd: { directory, bytesMax: 2 * values * mebibyte },
    nowMs: Date.now,
  };
  const written = await KvStore.open(options);
  for (let index = 0; index < values; index += 1) {
    put(written, `value:${index}`, mebibyte, index & 0xff);
    if (index % valuesPerFlush === 0) await written.flush();
  }
  await written.close();
  const beganMs = performance.now();
  const store = await KvStore.open(options);
  const reopenMs = performance.now() - beganMs;
  const into = openArena(pagesOf(mebibyte) * pageBytes).bytes;
  const files = new Map(
    readdirSync(directory).map(
      (name) => [Number.parseInt(name, 10), openRaw(join(directory, name))] as const,
    ),
  );
  const [storeMs, rawMs]: [number[], number[]] = [[], []];
  for (const [turn, index] of shuffled(values, seededRandom(1)).entries()) {
    const key = `value:${index}`;
    const place = store.ssd?.find(key);
    const file = files.get(place?.segment ?? -1)?.file;
    if (place === undefined || file === undefined) throw new Error(`${key} is not on the disk`);
    const raw = async (): Promise<void> => {
      rawMs.push(await elapsedMs(() => rawRead(file, into, place.offset)));
      if (valueIn(into, mebibyte)[0] !== (index & 0xff)) throw new Error(`${key} is elsewhere`);
    };
    if (turn % 2 === 0) await raw();
    let held: HeldValue | undefined;
    storeMs.push(
      await elapsedMs(async () => {
        held = await store.get(key);
      }),
    );
    must(held, key, index & 0xff).release();
    if (turn % 2 === 1) await raw();
  }
  if (store.counts.ssdHits !== values) throw new Error('values were in memory');
  await store.close();
  return { storeMs, rawMs, reopenMs, isDirect: [...files.values()].every(({ isDirect }) => isDirect) };
};
