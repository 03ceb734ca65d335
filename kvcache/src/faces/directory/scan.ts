/**
 * Looks through a directory: tells of each file as it is now, and counts what is none of ours by its reason. Follows
 * no link, opens nothing but directories. How deep and how many is bounded; which are left out is told.
 */
import type { Dir } from 'node:fs';
import { type FileHandle, opendir } from 'node:fs/promises';
import { depthMax, isTemporary } from './paths.ts';
import { beneath, isMissing, type Seen, seenBeneath, type Tree } from './tree.ts';

/** vLLM's million directories are looked through; more are no directory of an engine's. */
const directoriesMax = 1_100_000;
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

const directoryOf = async (handle: FileHandle): Promise<Dir> =>
  opendir(beneath(handle, '.'), { encoding: 'latin1', bufferSize });

/** Looks at one directory. Its directories. Throws what says that it is not there. */
export const lookAt = async (tree: Tree, path: string, looker: Looker): Promise<string[]> =>
  tree.within(path, async (handle) => {
    const inner: string[] = [];
    looker.onDirectory(path);
    for await (const entry of await directoryOf(handle)) {
      if (looker.isEnded()) break;
      const at = joined(path, entry.name);
      if (entry.isSymbolicLink()) looker.onIgnored('link', at);
      else if (isTemporary(entry.name)) looker.onIgnored('temporary', at);
      else if (entry.isDirectory()) inner.push(at);
      else if (entry.isFile()) {
        const seen = await seenBeneath(handle, entry.name);
        if (seen !== undefined) looker.onFile(at, seen);
      } else looker.onIgnored('special', at);
    }
    return inner;
  });

/** Looks at everything. False: the root is not there. */
export const scan = async (tree: Tree, looker: Looker): Promise<boolean> => {
  const left = [''];
  let looked = 0;
  for (let path = left.pop(); path !== undefined && !looker.isEnded(); path = left.pop()) {
    looked += 1;
    try {
      for (const inner of await lookAt(tree, path, looker)) {
        if (inner.split('/').length > depthMax) looker.onIgnored('deep', inner);
        else if (looked + left.length >= directoriesMax) looker.onIgnored('many', inner);
        else left.push(inner);
      }
    } catch (thrown) {
      if (path === '' && isMissing(thrown)) return false;
      // It went while we looked, or is none that we may look at.
      if (!isMissing(thrown)) looker.onIgnored('unreadable', path);
    }
  }
  return true;
};
