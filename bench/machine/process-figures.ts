/**
 * What Linux says of a process: CPU time of all its threads and resident memory, read from /proc. Never
 * samples by itself and never starts anything. CPU comes from the scheduler's nanoseconds where the kernel
 * shows them, else from the 10 ms ticks of `stat`.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Linux fixes this for user space, whatever the kernel's own tick is. */
const ticksPerSecond = 100;

const schedulerNs = (pid: number): number | undefined => {
  let totalNs = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      totalNs += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // The thread ended between the listing and now; a process under load keeps its threads.
    }
  }
  return totalNs > 0 ? totalNs : undefined;
};

/**
 * User and system ticks out of the text of /proc/<pid>/stat, whose second field may hold spaces and brackets.
 */
export const ticksOf = (stat: string): number => {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

/** CPU time that the process has used so far. */
export const cpuUs = (pid: number): number => {
  const ns = schedulerNs(pid);
  if (ns !== undefined) return ns / 1e3;
  return (ticksOf(readFileSync(`/proc/${pid}/stat`, 'utf8')) * 1e6) / ticksPerSecond;
};

/** Resident memory now. */
export const residentBytes = (pid: number): number => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024;
};
