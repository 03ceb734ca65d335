/**
 * `npm run release [-- TARGET...]`: builds dist/release/VERSION for all targets, or those named, from a commit. The
 * same commit by the same Node gives the same bytes. CGN_RELEASE_KEY_FILE names the file with the key that signs.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildEdge } from '../build-edge.ts';
import { buildRelease, type Installed } from './release.ts';
import { signingKeyIn } from './signature.ts';
import { type Target, targets } from './targets.ts';

const root = join(import.meta.dirname, '../..');
const runtimes = join(import.meta.dirname, 'runtime');

const git = (...argv: string[]): string => execFileSync('git', argv, { cwd: root, encoding: 'utf8' });

/** npm checks each package against the lockfile. No script of a package runs. */
const npmCi = (directory: string, { os, cpu }: Target): void => {
  const argv = ['ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  argv.push(`--os=${os}`, `--cpu=${cpu}`, ...(os === 'linux' ? ['--libc=glibc'] : []));
  execFileSync('npm', argv, { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'] });
};

const copyInto = (from: string, to: string, files: readonly string[]): void => {
  for (const file of files) {
    mkdirSync(dirname(join(to, file)), { recursive: true });
    copyFileSync(join(from, file), join(to, file));
  }
};

const installInto = (directory: string, target: Target): Installed => {
  const packages = join(directory, 'packages');
  const { workspaces = [] } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly workspaces?: readonly string[];
  };
  const manifests = ['.', ...workspaces].map((room) => join(room, 'package.json'));
  copyInto(root, packages, [...manifests, 'package-lock.json']);
  npmCi(packages, target);
  const runtime = join(directory, 'runtime');
  copyInto(runtimes, runtime, ['package.json', 'package-lock.json']);
  npmCi(runtime, target);
  return { packages, runtime: join(runtime, 'node_modules', target.runtime) };
};

const chosen = (names: readonly string[]): readonly Target[] => {
  const unknown = names.filter((name) => !targets.some((target) => target.name === name));
  if (unknown.length > 0)
    throw new Error(`No target "${unknown[0]}"; there are ${targets.map(({ name }) => name).join(', ')}.`);
  return names.length === 0 ? targets : targets.filter(({ name }) => names.includes(name));
};

const main = async (argv: readonly string[]): Promise<void> => {
  const chosenTargets = chosen(argv);
  if (git('status', '--porcelain') !== '')
    throw new Error('The tree differs from its commit: commit first, so that others can build the same.');
  const keyFile = process.env.CGN_RELEASE_KEY_FILE;
  const key = keyFile === undefined ? undefined : signingKeyIn(keyFile);
  const { version } = JSON.parse(readFileSync(join(root, 'cli/package.json'), 'utf8')) as {
    readonly version: string;
  };
  buildEdge();
  const into = join(root, 'dist/release');
  mkdirSync(into, { recursive: true });
  const work = mkdtempSync(join(into, '.npm-'));
  try {
    const release = await buildRelease({
      root,
      kept: git('ls-files', '-s', '-z')
        .split('\0')
        .filter((line) => line !== '')
        .map((line) => ({ mode: Number.parseInt(line, 8), path: line.slice(line.indexOf('\t') + 1) })),
      version,
      modifiedSeconds: Number(git('log', '-1', '--format=%ct')),
      targets: chosenTargets,
      install: (target) => {
        rmSync(work, { recursive: true, force: true });
        return installInto(work, target);
      },
      compression: 9,
      key,
      into,
      onBuilt: (file) => console.log(`${(statSync(file).size / 1e6).toFixed(1).padStart(7)} MB  ${file}`),
    });
    console.log(`\n${release}\n${readFileSync(join(release, 'SHA256SUMS'), 'utf8').trimEnd()}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  if (key === undefined)
    console.log('\nNot signed, so install.sh refuses it: CGN_RELEASE_KEY_FILE names the file with the key.');
};

try {
  await main(process.argv.slice(2));
} catch (thrown) {
  console.error(thrown instanceof Error ? thrown.message : thrown);
  process.exitCode = 1;
}
