/**
 * One edge and agent of `cgn up` or `cgn recipe up` per data directory: a file with the pid of whoever keeps them,
 * taken over when its owner is gone.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { withFile } from './file-trouble.ts';
import { wordsOf } from './process-words.ts';
import { UserError } from './terminal.ts';

const pathIn = (dataDirectory: string): string => join(dataDirectory, 'up.lock');

/** Whether that process is one of ours: pids are used again. */
const isUp = (pid: number): boolean => {
  const words = wordsOf(pid);
  return words.some(
    (word, at) =>
      word.endsWith('/recipe/keeper.ts') || (/(?:^|\/)cgn(?:\.ts)?$/.test(word) && words[at + 1] === 'up'),
  );
};

/** The pid of whoever holds the directory; undefined: nobody does. */
export const holderPid = (dataDirectory: string): number | undefined => {
  const path = pathIn(dataDirectory);
  if (!existsSync(path)) return undefined;
  const pid = Number(withFile(path, () => readFileSync(path, 'utf8')));
  return pid !== process.pid && isUp(pid) ? pid : undefined;
};

/** Resolves what gives it back. Throws a `UserError` that names the fix. */
export const lock = (dataDirectory: string): (() => void) => {
  const path = pathIn(dataDirectory);
  withFile(dataDirectory, () => mkdirSync(dataDirectory, { recursive: true, mode: 0o700 }));
  const pid = holderPid(dataDirectory);
  if (pid !== undefined) {
    throw new UserError(
      `Another "cgn up" or a recipe (pid ${pid}) uses ${dataDirectory}. ` +
        'Stop it, or choose another --data-dir.',
    );
  }
  withFile(path, () => rmSync(path, { force: true }));
  const unlock = (): void => rmSync(path, { force: true });
  const file = withFile(path, () => openSync(path, 'wx', 0o600));
  try {
    withFile(path, () => writeSync(file, `${process.pid}\n`));
  } catch (thrown) {
    unlock();
    throw thrown;
  } finally {
    closeSync(file);
  }
  return unlock;
};
