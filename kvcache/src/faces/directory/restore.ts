/**
 * One file out of the store: under a temporary name in its directory, on the disk, then renamed. An engine sees all of
 * it or nothing. What is there stays as it is. Knows of no cap and no peers.
 */
import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type HeldValue, type KvStore, valueBytesMax } from '../../store.ts';
import { checksumOf } from '../../tiers/checksum.ts';
import { partLength, readHead } from './head.ts';
import { headKeyOf, partKeyOf } from './paths.ts';
import {
  createBeneath,
  nameOf,
  parentOf,
  removeBeneath,
  renameBeneath,
  type Seen,
  seenOfHandle,
  type Tree,
} from './tree.ts';

const writeBytes = 4 * 2 ** 20;

/** Ours, so that what a crash left is known for what it is. */
export const isOurTemporary = (name: string): boolean => /^\.cgn-[0-9a-f]{16}\.tmp$/.test(name);

/** What the store has of a file, before it is asked for. */
export interface Stored {
  readonly bytes: number;
  /** Undefined: it is one value. */
  readonly checksums: readonly number[] | undefined;
}

/** Undefined: the store does not have all of it. */
export const storedOf = async (store: KvStore, key: string): Promise<Stored | undefined> => {
  const bytes = store.lengthOf(key);
  if (bytes !== undefined) return { bytes, checksums: undefined };
  const held = await store.get(headKeyOf(key));
  const head = held && readHead(held.bytes);
  held?.release();
  if (head === undefined || head.bytes <= valueBytesMax) return undefined;
  return head;
};

/** Keys that a file's bytes are in. */
export const keysOf = (key: string, { checksums }: Stored): readonly string[] =>
  checksums === undefined ? [key] : checksums.map((_, part) => partKeyOf(key, part));

const writeAll = async (file: FileHandle, bytes: Buffer): Promise<void> => {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(writeBytes, bytes.length - at));
    at += bytesWritten;
  }
};

/** False: a value is not there any more, or is none of this file's. */
const writeValues = async (
  store: KvStore,
  key: string,
  stored: Stored,
  file: FileHandle,
): Promise<boolean> => {
  for (const [part, name] of keysOf(key, stored).entries()) {
    const length = stored.checksums === undefined ? stored.bytes : partLength(stored.bytes, part);
    const checksum = stored.checksums?.[part];
    const held: HeldValue | undefined = await store.get(name);
    try {
      if (held?.bytes.length !== length) return false;
      if (checksum !== undefined && (await checksumOf(held.bytes)) !== checksum) return false;
      await writeAll(file, held.bytes);
    } finally {
      held?.release();
    }
  }
  return true;
};

export interface FileToRestore {
  readonly path: string;
  readonly key: string;
  readonly stored: Stored;
  /** Its times; undefined: now. */
  readonly writtenMs?: number | undefined;
}

/**
 * The file as it is seen from now on; undefined when the store did not have all of it after all. `onWritten` is told
 * before anybody can see the file. Throws what the system says; nothing of the file is left then.
 */
export const restoreFile = async (
  tree: Tree,
  store: KvStore,
  { path, key, stored, writtenMs }: FileToRestore,
  onWritten: (seen: Seen) => void,
): Promise<Seen | undefined> =>
  tree.within(
    parentOf(path),
    async (directory) => {
      const temporary = `.cgn-${randomBytes(8).toString('hex')}.tmp`;
      let isRenamed = false;
      try {
        const seen = await written(store, key, stored, {
          file: await createBeneath(directory, temporary),
          writtenMs,
        });
        if (seen === undefined) return undefined;
        onWritten(seen);
        await renameBeneath(directory, temporary, nameOf(path));
        isRenamed = true;
        return seen;
      } finally {
        // What cannot be removed either is left to the next scan.
        if (!isRenamed) await removeBeneath(directory, temporary).catch(() => {});
      }
    },
    { isMade: true },
  );

const written = async (
  store: KvStore,
  key: string,
  stored: Stored,
  { file, writtenMs }: { readonly file: FileHandle; readonly writtenMs: number | undefined },
): Promise<Seen | undefined> => {
  try {
    if (!(await writeValues(store, key, stored, file))) return undefined;
    // A name that a crash leaves must not stand over blocks that it lost.
    await file.datasync();
    if (writtenMs !== undefined) await file.utimes(writtenMs / 1_000, writtenMs / 1_000);
    return await seenOfHandle(file);
  } finally {
    await file.close();
  }
};
