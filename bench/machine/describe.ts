/** The machine line that stands beside every figure: what ran it and how busy it was before. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly workerd: string;
  readonly commit: string;
  /** Load averages over 1, 5 and 15 minutes, before the run. */
  readonly loadBefore: readonly number[];
}

const commit = (): string => {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  try {
    const dirty = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' with changes';
    return `${git('rev-parse', '--short', 'HEAD')}${dirty}`;
  } catch {
    return 'unknown';
  }
};

const versionOf = (name: string): string => {
  try {
    const path = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return /"version": "([^"]+)"/.exec(readFileSync(path, 'utf8'))?.[1] ?? 'unknown';
  } catch {
    return 'not installed';
  }
};

export const describeMachine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.versions.node,
  workerd: versionOf('workerd'),
  commit: commit(),
  loadBefore: loadavg().map((load) => Math.round(load * 100) / 100),
});

export const machineLine = (machine: Machine): string =>
  `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, ` +
  `Node ${machine.node}, workerd ${machine.workerd}, commit ${machine.commit}, ` +
  `load before ${machine.loadBefore.join(' ')}`;
