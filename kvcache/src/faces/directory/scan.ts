/**
 * Looks through a directory: tells of each file as it is now, and counts what is none of ours by its reason. Follows
 * no link, opens nothing but directories. How deep and how many is bounded; what is left out is told. A few at a time,
 * since each word with the file system costs a turn of a thread, and vLLM makes a directory for nearly each file.
 */
import { type FileHandle, opendir } from 'node:fs/promises';
import { depthMax, isTemporary } from './paths.ts';
import { beneath, isMissing, openDirectoryBeneath, type Seen, seenBeneath, type Tree } from './tree.ts';

/** vLLM's million directories are looked through; more are no directory of an engine's. */
const directoriesMax = 1_100_000;
/** As many threads as Node has for files: others' reads wait for one of our words at most. */
const atOnceMax = 4;
/** Entries that are asked of the kernel at once. */
const bufferSize = 256;

export const ignoredReasons = [
  'temporary',
  'link',
  'special',
  'empty',
  'unnamed',
  'deep',
  'many',
  'unreadable',
] as const;
export type Ignored = (typeof ignoredReasons)[number];

export interface Looker {
  onFile(path: string, seen: Seen): void;
  /** Before what is in it. */
  onDirectory(path: string): void;
  onIgnored(reason: Ignored, path: string): void;
  /** Asked between entries. */
  isEnded(): boolean;
}

const joined = (directory: string, name: string): string =>
  directory === '' ? name : `${directory}/${name}`;

/** Looks at what an open directory has. The names of its directories. */
const list = async (handle: FileHandle, path: string, looker: Looker): Promise<string[]> => {
  const inner: string[] = [];
  looker.onDirectory(path);
  for await (const entry of await opendir(beneath(handle, '.'), { encoding: 'latin1', bufferSize })) {
    if (looker.isEnded()) break;
    const at = joined(path, entry.name);
    if (entry.isSymbolicLink()) looker.onIgnored('link', at);
    else if (isTemporary(entry.name)) looker.onIgnored('temporary', at);
    else if (entry.isDirectory()) inner.push(entry.name);
    else if (entry.isFile()) {
      const seen = await seenBeneath(handle, entry.name);
      if (seen !== undefined) looker.onFile(at, seen);
    } else looker.onIgnored('special', at);
  }
  return inner;
};

/** Looks at one directory. Its directories. Throws what says that it is not there. */
export const lookAt = async (tree: Tree, path: string, looker: Looker): Promise<readonly string[]> => {
  const inner = await tree.within(path, (handle) => list(handle, path, looker));
  return inner.map((name) => joined(path, name));
};

class Walk {
  readonly #looker: Looker;
  #atOnce = 1;
  #directories = 0;

  constructor(looker: Looker) {
    this.#looker = looker;
  }

  /** All in and beneath an open directory, which stays open until then. */
  async under(handle: FileHandle, path: string): Promise<void> {
    const beside: Promise<void>[] = [];
    try {
      for (const name of await list(handle, path, this.#looker)) {
        const inner = joined(path, name);
        if (this.#looker.isEnded()) break;
        if (inner.split('/').length > depthMax) this.#looker.onIgnored('deep', inner);
        else if (this.#directories >= directoriesMax) this.#looker.onIgnored('many', inner);
        else if (this.#atOnce < atOnceMax) beside.push(this.#beside(handle, inner, name));
        else await this.#into(handle, inner, name);
      }
    } finally {
      await Promise.all(beside);
    }
  }

  async #beside(handle: FileHandle, path: string, name: string): Promise<void> {
    this.#atOnce += 1;
    await this.#into(handle, path, name);
    this.#atOnce -= 1;
  }

  /** Never rejects: what went while we looked, or is none that we may look at, is left out. */
  async #into(above: FileHandle, path: string, name: string): Promise<void> {
    this.#directories += 1;
    try {
      const handle = await openDirectoryBeneath(above, name);
      try {
        await this.under(handle, path);
      } finally {
        await handle.close();
      }
    } catch (thrown) {
      if (!isMissing(thrown)) this.#looker.onIgnored('unreadable', path);
    }
  }
}

/** Looks at everything. False: the root is not there. */
export const scan = async (tree: Tree, looker: Looker): Promise<boolean> => {
  try {
    await tree.within('', (handle) => new Walk(looker).under(handle, ''));
    return true;
  } catch (thrown) {
    if (isMissing(thrown)) return false;
    looker.onIgnored('unreadable', '');
    return true;
  }
};
