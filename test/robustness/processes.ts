/** What /proc says of the processes under test: open files, memory, and how to start workerd again as it was. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../harness/until.ts';

/** Open file descriptors: sockets above all. */
export const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** The inodes of a process's sockets. */
export const socketsOf = (pid: number): ReadonlySet<string> =>
  new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? [];
      } catch {
        return [];
      }
    }),
  );

/** The pid of the edge behind a cluster. */
export const workerdPid = (clusterDirectory: string): number =>
  Number(readFileSync(join(clusterDirectory, 'edge/workerd.pid'), 'utf8'));

const listOf = (path: string): string[] => readFileSync(path, 'utf8').split('\0').slice(0, -1);

/** The arguments of a running program, without the program. */
export const argvOf = (pid: number): string[] => listOf(`/proc/${pid}/cmdline`).slice(1);

export const isAlive = (pid: number): boolean => {
  try {
    // A zombie has ended: it only waits for its parent to look.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

/** Kills a process as a crash would; resolves once it is gone. */
export const crash = async (pid: number): Promise<void> => {
  process.kill(pid, 'SIGKILL');
  await until(`process ${pid} to be gone`, () => !isAlive(pid));
};

export const environmentOf = (pid: number): Record<string, string> =>
  Object.fromEntries(
    listOf(`/proc/${pid}/environ`).map((pair) => [
      pair.slice(0, pair.indexOf('=')),
      pair.slice(pair.indexOf('=') + 1),
    ]),
  );

/** A way to start a running process once more with the arguments and environment it has now. */
export const again = (pid: number): (() => ChildProcess) => {
  const [program = '', ...argv] = listOf(`/proc/${pid}/cmdline`);
  const environment = environmentOf(pid);
  // Descriptor 3 is workerd's control pipe; nobody listens to it here, but it must be one.
  return () => spawn(program, argv, { env: environment, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
};
