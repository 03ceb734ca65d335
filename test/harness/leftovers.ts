/**
 * Finding processes that outlive their cluster: everything a cluster starts carries its directory in its arguments or
 * its environment, so whatever still does after the stop was left behind.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The environment variable by which a process says which cluster it belongs to. */
export const clusterMark = 'COGNITORA_TEST_CLUSTER';

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

const readQuietly = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** A process that ended and only waits to be reaped has no arguments. */
export const leftoversOf = (directory: string): readonly Leftover[] => {
  const found: Leftover[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = readQuietly(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
    if (command === '') continue;
    const isOurs = command.includes(directory) || readQuietly(`/proc/${pid}/environ`).includes(directory);
    if (isOurs) found.push({ pid, command });
  }
  return found;
};
