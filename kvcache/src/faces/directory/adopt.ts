/**
 * One file into the store: read where its value will stay, seen by nobody before it is known that the file did not
 * change meanwhile. Reads a few megabytes at a time, off the event loop, at a bounded rate, and only while the store's
 * disk keeps up. A file that the store has already, byte for byte, is read and not written.
 */
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { type KvStore, valueBytesMax } from '../../store.ts';
import { checksumIn, checksumOf, sumOf } from '../../tiers/checksum.ts';
import { fileBytesMax, partLength, partsOf, readHead, writeHead } from './head.ts';
import { isOpenForWriting } from './lease.ts';
import { headKeyOf, partKeyOf } from './paths.ts';
import { nameOf, parentOf, type Seen, seenBeneath, seenOfHandle, type Tree } from './tree.ts';

/** Whole slices of a checksum; one read's is over in less than a millisecond. */
const readBytes = 4 * 2 ** 20;
/** Of two readers: half of what an SSD gives, so that the engine's own reads do not wait. */
const bytesPerMs = (128 * 2 ** 20) / 1_000;
/** Timers of less wait longer than they say. */
const pauseMsMin = 5;
/** Of the bytes that may be dirty: the rest is for clients, whose values do not wait. */
const dirtyShare = 0.5;

export type Adoption =
  | 'adopted'
  /** The store has these bytes. */
  | 'unchanged'
  /** Since it was seen, or while it was read. */
  | 'changed'
  | 'being written'
  | 'gone'
  | 'large'
  /** The store has no room. */
  | 'refused';

/** Waits so that a reader gets no more bytes in a time than it should. */
class Pace {
  #owedMs = 0;

  async took(bytes: number): Promise<void> {
    this.#owedMs += bytes / bytesPerMs;
    if (this.#owedMs < pauseMsMin) return;
    const ms = this.#owedMs;
    this.#owedMs = 0;
    await pause(ms);
  }
}

export interface Reading {
  readonly file: FileHandle;
  readonly store: KvStore;
  readonly pace: Pace;
}

/** False: the file ends before. */
const readInto = async ({ file, pace }: Reading, into: Buffer, position: number): Promise<boolean> => {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await file.read(into, at, Math.min(readBytes, into.length - at), position + at);
    if (bytesRead === 0) return false;
    at += bytesRead;
    await pace.took(bytesRead);
  }
  return true;
};

/** Undefined: the file ends before. */
const checksumAt = async (
  reading: Reading,
  length: number,
  position: number,
): Promise<number | undefined> => {
  const buffer = Buffer.allocUnsafe(Math.min(readBytes, length));
  let sum: bigint | undefined;
  for (let at = 0; at < length; at += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, length - at));
    if (!(await readInto(reading, piece, position + at))) return undefined;
    sum = sumOf(piece, sum);
  }
  return sum === undefined ? checksumOf(buffer) : checksumIn(sum);
};

/** The store's disk has not taken enough of what waits for it. */
export const isBehind = ({ ssd }: KvStore, bytes = 0, share = dirtyShare): boolean => {
  if (ssd === undefined) return false;
  const { dirtyBytes, dirtyBytesMax } = ssd.counts;
  return dirtyBytes > 0 && dirtyBytes + bytes > dirtyBytesMax * share;
};

/** Until the store's disk has taken enough of what waits for it. */
const whileDirty = async (store: KvStore, bytes: number): Promise<void> => {
  while (isBehind(store, bytes)) await pause(pauseMsMin);
};

/** What the store knows to be the parts' checksums; undefined when it has no such file. */
const partsKnown = async (
  store: KvStore,
  key: string,
  bytes: number,
): Promise<readonly number[] | undefined> => {
  const held = await store.getHere(headKeyOf(key));
  const head = held && readHead(held.bytes);
  held?.release();
  if (head === undefined || head.bytes !== bytes) return undefined;
  const hasAll = head.checksums.every(
    (_, part) => store.lengthOf(partKeyOf(key, part)) === partLength(bytes, part),
  );
  return hasAll ? head.checksums : undefined;
};

const isKnown = async (reading: Reading, key: string, bytes: number): Promise<boolean> => {
  const { store } = reading;
  if (bytes <= valueBytesMax) {
    const place = store.ssd?.find(key);
    return place?.length === bytes && (await checksumAt(reading, bytes, 0)) === place.checksum;
  }
  const checksums = await partsKnown(store, key, bytes);
  if (checksums === undefined) return false;
  let position = 0;
  for (const [part, checksum] of checksums.entries()) {
    const length = partLength(bytes, part);
    if ((await checksumAt(reading, length, position)) !== checksum) return false;
    position += length;
  }
  return true;
};

/** All keys that a file may have had. */
export const forget = (store: KvStore, key: string, parts: number): void => {
  store.delete(headKeyOf(key));
  for (let part = 0; part < parts; part += 1) store.delete(partKeyOf(key, part));
};

const asValue = async (
  reading: Reading,
  key: string,
  bytes: number,
  isSame: () => Promise<boolean>,
): Promise<Adoption> => {
  const { store } = reading;
  await whileDirty(store, bytes);
  const value = store.reserve(key, bytes);
  if (value === undefined) return 'refused';
  let isWhole = false;
  try {
    isWhole = (await readInto(reading, value.bytes, 0)) && (await isSame());
  } finally {
    if (isWhole) value.commit();
    else value.abort();
  }
  if (isWhole) store.delete(headKeyOf(key));
  return isWhole ? 'adopted' : 'changed';
};

const asParts = async (
  reading: Reading,
  key: string,
  bytes: number,
  isSame: () => Promise<boolean>,
): Promise<Adoption> => {
  const { store } = reading;
  const checksums: number[] = [];
  // First, so that no head of an earlier version stands over parts of this one.
  store.delete(headKeyOf(key));
  store.delete(key);
  const end = async (why: Adoption): Promise<Adoption> => {
    forget(store, key, checksums.length);
    return why;
  };
  for (let position = 0; position < bytes; ) {
    const length = partLength(bytes, checksums.length);
    await whileDirty(store, length);
    const value = store.reserve(partKeyOf(key, checksums.length), length);
    if (value === undefined) return end('refused');
    let checksum: number | undefined;
    try {
      if (await readInto(reading, value.bytes, position)) checksum = await checksumOf(value.bytes);
    } finally {
      if (checksum === undefined) value.abort();
      else value.commit();
    }
    if (checksum === undefined) return end('changed');
    checksums.push(checksum);
    position += length;
  }
  if (!(await isSame())) return end('changed');
  const bytesOfHead = writeHead({ bytes, checksums });
  const head = store.reserve(headKeyOf(key), bytesOfHead.length);
  if (head === undefined) return end('refused');
  bytesOfHead.copy(head.bytes);
  head.commit();
  return 'adopted';
};

export interface FileToAdopt {
  readonly path: string;
  readonly key: string;
  readonly seen: Seen;
}

/** Throws what the system says of a file that cannot be read. */
export const adopt = async (
  tree: Tree,
  store: KvStore,
  { path, key, seen }: FileToAdopt,
): Promise<Adoption> => {
  if (seen.bytes > fileBytesMax) return 'large';
  const file = await tree.openFile(path);
  if (file === undefined) return 'gone';
  try {
    if ((await seenOfHandle(file))?.identity !== seen.identity) return 'changed';
    if (isOpenForWriting(file.fd) === true) return 'being written';
    const isSame = async (): Promise<boolean> => {
      const now = await tree.within(parentOf(path), (directory) => seenBeneath(directory, nameOf(path)));
      return (await seenOfHandle(file))?.identity === seen.identity && now?.identity === seen.identity;
    };
    const reading = { file, store, pace: new Pace() };
    if (await isKnown(reading, key, seen.bytes)) return (await isSame()) ? 'unchanged' : 'changed';
    const { bytes } = seen;
    return await (bytes <= valueBytesMax ? asValue : asParts)(reading, key, bytes, isSame);
  } finally {
    await file.close();
  }
};

/** All of a file is where it stays when memory is needed: on the disk, or in memory where that is all there is. */
export const isKept = (store: KvStore, key: string, bytes: number): boolean => {
  const has = (name: string, length: number): boolean =>
    (store.ssd === undefined ? store.lengthOf(name) : store.ssd.find(name)?.length) === length;
  if (bytes <= valueBytesMax) return has(key, bytes);
  if (!store.has(headKeyOf(key))) return false;
  for (let part = 0; part < partsOf(bytes); part += 1) {
    if (!has(partKeyOf(key, part), partLength(bytes, part))) return false;
  }
  return true;
};
