/**
 * One agent per data directory, because the host's key lies there and the edge keeps one link per key: a file with our
 * pid and start time (pids are used again), taken over when its owner is gone.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '@cognitora/protocol/config/config-error';

/** An agent whose parent was killed drains for a moment, and a new one may start meanwhile. */
const patienceMsDefault = 5_000;
const lookMs = 100;
const lockFile = 'agent.lock';

/** Another agent lives here: the message says what to do. */
export class DirectoryTaken extends Error {}

/** Resolves with what releases the directory again. Throws `DirectoryTaken`, and `ConfigError` where none can be. */
export const lockDirectory = async (
  directory: string,
  patienceMs = patienceMsDefault,
): Promise<() => void> => {
  try {
    return await lock(directory, patienceMs);
  } catch (thrown) {
    if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown;
    throw new ConfigError(
      `The data directory ${directory} cannot be used (${thrown.message}); name another with --data-dir DIR.`,
    );
  }
};

const lock = async (directory: string, patienceMs: number): Promise<() => void> => {
  const path = join(directory, lockFile);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (let waitedMs = 0; ; waitedMs += lookMs) {
    if (isWritten(path)) return () => release(path);
    const owner = textOf(path) ?? '';
    const [pid = ''] = owner.split(' ');
    // A file that is not whole yet belongs to one that starts just now.
    if (waitedMs > 0 && !isAlive(owner)) rmSync(path, { force: true });
    else if (waitedMs >= patienceMs) {
      throw new DirectoryTaken(
        `Another agent (pid ${pid}) uses ${directory}; give this one its own with --data-dir DIR.`,
      );
    }
    await new Promise((accept) => setTimeout(accept, lookMs));
  }
};

/** The pid of the agent that uses the directory now; undefined: none does. */
export const agentIn = (directory: string): number | undefined => {
  const owner = textOf(join(directory, lockFile)) ?? '';
  return isAlive(owner) ? parseInt(owner, 10) : undefined;
};

/** Who was taken for gone and lost it takes it from nobody. */
const release = (path: string): void => {
  if (textOf(path) === ownerLine(process.pid)) rmSync(path, { force: true });
};

/** False where the file is there already. */
const isWritten = (path: string): boolean => {
  try {
    writeFileSync(path, ownerLine(process.pid) ?? '', { flag: 'wx', mode: 0o600 });
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST') return false;
    throw thrown;
  }
};

const isAlive = (owner: string): boolean => owner !== '' && ownerLine(parseInt(owner, 10)) === owner;

/** A process that runs, as no other one will be: its pid and when it started. */
const ownerLine = (pid: number): string | undefined => {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat && `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}\n`;
};

/** Undefined where there is no such file. */
const textOf = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};
