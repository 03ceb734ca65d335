/** What a process was started with, as the system tells it. Changes nothing. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The words of its command line; none: there is no such process. macOS has no /proc, and splits at spaces. */
export const wordsOf = (pid: number): readonly string[] => {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(' ');
  } catch {
    return [];
  }
};
