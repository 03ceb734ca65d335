/**
 * Files below one directory, reached without following any link: each name is opened beneath the one before it, so
 * that a link put there at any time leads nowhere. What is opened to be read was seen to be a file first. Linux only:
 * names beneath an open directory go by `/proc/self/fd`. A path is bytes, one a character.
 */
import { constants } from 'node:fs';
import { chmod, type FileHandle, lstat, mkdir, open, rename, rm } from 'node:fs/promises';

/** `open(2)`: a handle to what a name stands for, which opens nothing. */
const onlyPath = 0o10000000;
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

/** What tells one content of a name from another, as far as a look does. */
export interface Seen {
  readonly identity: string;
  readonly bytes: number;
  /** When it was used last, as far as the file system says. */
  readonly usedMs: number;
}

const missing = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);
export const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
/** It is not there, or something on the way is no directory. */
export const isMissing = (thrown: unknown): boolean => missing.has(codeOf(thrown));

export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
/** Of the root: ''. */
export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

export const beneath = ({ fd }: FileHandle, name: string): Buffer =>
  Buffer.from(`/proc/self/fd/${fd}/${name}`, 'latin1');

interface Stats {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly atimeMs: bigint;
  readonly mtimeMs: bigint;
  isFile(): boolean;
}

/** Undefined for what is no file. */
const seenOf = (stats: Stats): Seen | undefined => {
  if (!stats.isFile()) return undefined;
  const usedMs = Number(stats.atimeMs > stats.mtimeMs ? stats.atimeMs : stats.mtimeMs);
  return {
    identity: `${stats.ino}:${stats.size}:${stats.mtimeNs}`,
    bytes: Number(stats.size),
    usedMs,
  };
};

export const seenOfHandle = async (handle: FileHandle): Promise<Seen | undefined> =>
  seenOf(await handle.stat({ bigint: true }));

/** Undefined: there is no file of that name. */
export const seenBeneath = async (directory: FileHandle, name: string): Promise<Seen | undefined> => {
  try {
    return seenOf(await lstat(beneath(directory, name), { bigint: true }));
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
};

/** A handle to a name in it, if that is a directory; a link is none. */
export const openDirectoryBeneath = (directory: FileHandle, name: string): Promise<FileHandle> =>
  open(beneath(directory, name), onlyPath | O_DIRECTORY | O_NOFOLLOW);

export class Tree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** For what only wants a name: it is followed by the kernel, links and all. */
  nameOf(path: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.root}/`), Buffer.from(path, 'latin1')]);
  }

  /** Runs with the directory open; throws what says that it is not there. Makes it where `isMade`. */
  async within<Result>(
    path: string,
    run: (directory: FileHandle) => Promise<Result>,
    { isMade = false } = {},
  ): Promise<Result> {
    let directory = await open(this.root, onlyPath | O_DIRECTORY);
    try {
      for (const name of path === '' ? [] : path.split('/')) {
        const isNew = isMade && (await makeBeneath(directory, name));
        const mode = isNew ? (await directory.stat()).mode & 0o777 : 0;
        const next = await openDirectoryBeneath(directory, name);
        await directory.close();
        directory = next;
        // As the directory that it is in; by the handle, which no link can take the place of.
        if (isNew) await chmod(`/proc/self/fd/${directory.fd}`, mode);
      }
      return await run(directory);
    } finally {
      await directory.close();
    }
  }

  async see(path: string): Promise<Seen | undefined> {
    try {
      return await this.within(parentOf(path), (directory) => seenBeneath(directory, nameOf(path)));
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw thrown;
    }
  }

  /** For reading. Undefined: there is no file of that name. */
  async openFile(path: string): Promise<FileHandle | undefined> {
    try {
      return await this.within(parentOf(path), (directory) => openBeneath(directory, nameOf(path)));
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw thrown;
    }
  }

  /** True when it was there as it was seen, and is not any more. */
  async remove(path: string, identity: string): Promise<boolean> {
    try {
      return await this.within(parentOf(path), async (directory) => {
        if ((await seenBeneath(directory, nameOf(path)))?.identity !== identity) return false;
        await rm(beneath(directory, nameOf(path)));
        return true;
      });
    } catch (thrown) {
      if (isMissing(thrown)) return false;
      throw thrown;
    }
  }
}

/** False when it was there. */
const makeBeneath = async (directory: FileHandle, name: string): Promise<boolean> => {
  try {
    await mkdir(beneath(directory, name), 0o700);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === 'EEXIST') return false;
    throw thrown;
  }
};

const openBeneath = async (directory: FileHandle, name: string): Promise<FileHandle | undefined> => {
  const named = await open(beneath(directory, name), onlyPath | O_NOFOLLOW);
  try {
    if (!(await named.stat()).isFile()) return undefined;
    const path = `/proc/self/fd/${named.fd}`;
    try {
      // So that our own reading does not count as use.
      return await open(path, O_RDONLY | O_NOATIME);
    } catch (thrown) {
      if (codeOf(thrown) !== 'EPERM') throw thrown;
      return await open(path, O_RDONLY);
    }
  } finally {
    await named.close();
  }
};

/** A new file, readable for whom the directory is. */
export const createBeneath = async (directory: FileHandle, name: string): Promise<FileHandle> => {
  const mode = 0o600 | ((await directory.stat()).mode & 0o044);
  const file = await open(beneath(directory, name), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
  await file.chmod(mode);
  return file;
};

export const renameBeneath = (directory: FileHandle, from: string, to: string): Promise<void> =>
  rename(beneath(directory, from), beneath(directory, to));

export const removeBeneath = (directory: FileHandle, name: string): Promise<void> =>
  rm(beneath(directory, name), { force: true });
