/**
 * `npm run release [-- TARGET...]`: builds dist/release/VERSION for all targets, or those named, from a commit. The
 * same commit by the same Node gives the same bytes. CGN_RELEASE_KEY_FILE names the file with the key that signs.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { version } from '@cognitora/protocol/version';
import { buildEdge } from '../build-edge.ts';
import { buildRelease, type Installed } from './release.ts';
import { signingKeyIn } from './signature.ts';
import { type Target, targets } from './targets.ts';

const root = join(import.meta.dirname, '../..');
const runtimes = join(import.meta.dirname, 'runtime');
/** Not in dist/release, which may be served. */
const staging = join(root, 'dist/staging');

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

const help = `Usage: npm run release [-- TARGET...]

Builds dist/release/VERSION from the commit, for all targets or those named:
${targets.map(({ name }) => name).join(', ')}

  CGN_RELEASE_KEY_FILE   the file with the key that signs; without it install.sh refuses the release

Who signs, and how the version is raised: docs/design/0012-release.md`;

const chosen = (names: readonly string[]): readonly Target[] => {
  const [unknown] = names.filter((name) => !targets.some((target) => target.name === name));
  if (unknown !== undefined) throw new Error(`There is no target "${unknown}".\n\n${help}`);
  return names.length === 0 ? targets : targets.filter(({ name }) => names.includes(name));
};

/** However this ends, nothing stays there. A run that was killed left what the next one removes. */
const takeStaging = (): void => {
  const clear = () => rmSync(staging, { recursive: true, force: true });
  clear();
  process.once('exit', clear);
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
};

const main = async (argv: readonly string[]): Promise<void> => {
  if (argv.includes('--help')) return console.log(help);
  const chosenTargets = chosen(argv);
  if (git('status', '--porcelain') !== '')
    throw new Error('The tree differs from its commit: commit first, so that others can build the same.');
  const keyFile = process.env.CGN_RELEASE_KEY_FILE;
  const key = keyFile === undefined ? undefined : signingKeyIn(keyFile);
  takeStaging();
  buildEdge();
  const release = await buildRelease({
    root,
    kept: git('ls-files', '-s', '-z')
      .split('\0')
      .filter((line) => line !== '')
      .map((line) => ({ mode: Number.parseInt(line, 8), path: line.slice(line.indexOf('\t') + 1) })),
    version,
    commit: git('rev-parse', 'HEAD').trim(),
    modifiedSeconds: Number(git('log', '-1', '--format=%ct')),
    targets: chosenTargets,
    install: (target) => {
      const work = join(staging, 'npm');
      rmSync(work, { recursive: true, force: true });
      return installInto(work, target);
    },
    compression: 9,
    key,
    staging,
    into: join(root, 'dist/release'),
    onBuilt: (name, bytes) => console.log(`${(bytes / 1e6).toFixed(1).padStart(7)} MB  ${name}`),
  });
  console.log(`\n${release}\n${readFileSync(join(release, 'SHA256SUMS'), 'utf8')}`);
  if (key === undefined)
    console.log('Not signed, so install.sh refuses it: CGN_RELEASE_KEY_FILE names the file with the key.');
  else console.log('Signed by the key that install.sh trusts. To publish, copy all of dist/release/.');
};

try {
  await main(process.argv.slice(2));
} catch (thrown) {
  console.error(thrown instanceof Error ? thrown.message : thrown);
  process.exitCode = 1;
}
