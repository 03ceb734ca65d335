/** What went wrong with a file or directory, in words that say what to do. */
import { UserError } from './terminal.ts';

const words: Readonly<Record<string, string>> = {
  EACCES: 'may not be read or written by this user. Give yourself access, or choose another --data-dir.',
  EPERM: 'may not be read or written by this user. Give yourself access, or choose another --data-dir.',
  EROFS: 'lies on a read-only file system. Choose another --data-dir.',
  ENOTDIR: 'lies under a file, not a directory. Choose another --data-dir.',
  EEXIST: 'is there already, and not what it must be. Move it away, or choose another --data-dir.',
  EISDIR: 'is a directory where a file must be. Move it away, or choose another --data-dir.',
  ENOSPC: 'cannot be written: the disk is full. Make room, or choose another --data-dir.',
  EDQUOT: 'cannot be written: your disk quota is used up. Make room, or choose another --data-dir.',
  EMFILE: 'cannot be opened: too many files are open. Raise the limit ("ulimit -n").',
};

/** The failure of a file operation in words; undefined for any other. Some name no path: then it is `otherwise`. */
export const fileTrouble = (thrown: unknown, otherwise?: string): UserError | undefined => {
  if (!(thrown instanceof Error)) return undefined;
  const { code = '', path } = thrown as NodeJS.ErrnoException;
  const told = words[code];
  const named = otherwise ?? path;
  return told === undefined || named === undefined ? undefined : new UserError(`${named} ${told}`);
};

/** Runs file operations on `path`; their failures become `UserError`s that name it. */
export const withFile = <Value>(path: string, run: () => Value): Value => {
  try {
    return run();
  } catch (thrown) {
    throw fileTrouble(thrown, path) ?? thrown;
  }
};
