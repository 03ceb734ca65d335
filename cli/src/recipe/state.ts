/**
 * What is up on a data directory: which recipe, and the process that keeps it. A file, written by the keeper and
 * removed by it at its end; one whose keeper is gone is stale, and says so.
 */
import { readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { dataOption } from '../admin-client.ts';
import { withFile } from '../file-trouble.ts';
import { wordsOf } from '../process-words.ts';
import { holderPid } from '../up-lock.ts';

export interface RecipeState {
  readonly recipe: string;
  /** Of its keeper. */
  readonly pid: number;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  /** The edge that serves it. */
  readonly edge: string;
}

const pathIn = (dataDirectory: string): string => join(dataDirectory, 'recipe.json');

/** Undefined: nothing was brought up, or it was ended in order. */
export const stateIn = (dataDirectory: string): RecipeState | undefined => {
  let text: string;
  try {
    text = readFileSync(pathIn(dataDirectory), 'utf8');
  } catch {
    return undefined;
  }
  const { recipe, pid, startedAtMs, edge } = jsonRecordIn(text) ?? {};
  if (typeof recipe !== 'string' || typeof pid !== 'number') return undefined;
  return { recipe, pid, startedAtMs: Number(startedAtMs), edge: String(edge) };
};

export const saveState = (dataDirectory: string, state: RecipeState): void => {
  const path = pathIn(dataDirectory);
  withFile(path, () => {
    writeFileSync(`${path}.tmp`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
  });
};

export const removeState = (dataDirectory: string): void => rmSync(pathIn(dataDirectory), { force: true });

const isSameFolder = (one: string, other: string): boolean => {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return false;
  }
};

/** Whether that process keeps this directory's recipe: pids are used again, and directories have several names. */
export const isKept = ({ pid }: Pick<RecipeState, 'pid'>, dataDirectory: string): boolean => {
  const [, program = '', ...words] = wordsOf(pid);
  const kept = words[words.indexOf('--data-dir') + 1] ?? '';
  return program.endsWith('/recipe/keeper.ts') && isSameFolder(kept, dataDirectory);
};

/** The keeper of a directory whose state is gone or cannot be read. */
export const nameless = (dataDirectory: string): number | undefined => {
  const pid = holderPid(dataDirectory);
  return pid !== undefined && isKept({ pid }, dataDirectory) ? pid : undefined;
};

/** Who works on the directory already, in words; undefined: nobody. */
export const holderOf = (dataDirectory: string): string | undefined => {
  const state = stateIn(dataDirectory);
  if (state !== undefined && isKept(state, dataDirectory)) {
    const { recipe } = state;
    const fix = `npm run cgn -- recipe down ${recipe}${dataOption(dataDirectory)}`;
    return `${recipe} is up on ${dataDirectory}: ${fix}`;
  }
  const pid = holderPid(dataDirectory);
  return pid === undefined ? undefined : `a "cgn up" (pid ${pid}) uses ${dataDirectory}`;
};
