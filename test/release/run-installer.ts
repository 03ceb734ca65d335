/** Runs install.sh in an environment of almost nothing, and looks at what it leaves. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface InstallerRun {
  readonly status: number | null;
  /** Standard output, then standard error. */
  readonly said: string;
}

export interface InstallerOptions {
  readonly script: string;
  readonly argv?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly onStarted?: (child: ChildProcess) => void;
  /** Shell words that come before the script, such as a limit of the shell. */
  readonly before?: string;
}

export const runInstaller = (options: InstallerOptions): Promise<InstallerRun> => {
  const { script, argv = [], environment, onStarted, before = '' } = options;
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', `${before} exec sh "$@"`, 'sh', script, ...argv], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (text) => {
      said.stdout += text;
    });
    child.stderr.on('data', (text) => {
      said.stderr += text;
    });
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, said: said.stdout + said.stderr }));
    onStarted?.(child);
  });
};

export const emptyFolder = (): string => mkdtempSync(join(tmpdir(), 'cgn-install-'));

/** Everything below a folder, hidden names too; of a version that is installed only its folder. */
export const treeOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => !/lib\/cognitora\/\d[^/]*\//.test(path))
    .sort();

/** The version that the command of a prefix is of. */
export const linked = (prefix: string): string | undefined => {
  const link = join(prefix, 'bin/cgn');
  return existsSync(link) ? /cognitora\/([^/]+)\//.exec(readlinkSync(link))?.[1] : undefined;
};
