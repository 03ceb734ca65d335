/** `npm run release` in a small repository, with an npm that has the packages already: what it says, and leaves. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { publicPemOf } from '../../scripts/release/signature.ts';
import { targets } from '../../scripts/release/targets.ts';
import { until } from '../harness/until.ts';
import { emptyFolder } from './run-installer.ts';
import { newKey, rooms, write, writeRepository } from './small-release.ts';

const repository = join(import.meta.dirname, '../..');
const key = newKey();
let place = '';
let root = '';
let keyFile = '';

const git = (...argv: string[]): void => {
  const as = ['-c', 'user.name=A', '-c', 'user.email=a@example.com'];
  execFileSync('git', [...as, ...argv], { cwd: root, stdio: 'pipe' });
};
const commit = (words: string): void => {
  git('add', '--all');
  git('commit', '--quiet', '--allow-empty', '-m', words);
};
/** In the place of npm: copies what `npm ci` would install. */
const npm = (): string => `#!/bin/sh
case $PWD in
  */packages) cp -r '${root}/node_modules' . ;;
  *) for name in ${targets.map(({ runtime }) => runtime).join(' ')}; do
    mkdir -p node_modules/$name && cp -r '${root}/runtime/.' node_modules/$name
  done ;;
esac
`;

beforeEach(() => {
  place = emptyFolder();
  root = join(place, 'clone');
  keyFile = join(place, 'release.key');
  writeFileSync(keyFile, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeRepository({ version: '1.0.0', key, root, into: '' });
  const sources = readdirSync(join(repository, 'scripts/release')).filter((name) => name.endsWith('.ts'));
  for (const name of sources)
    write(root, `scripts/release/${name}`, readFileSync(join(repository, 'scripts/release', name)));
  write(root, 'scripts/build-edge.ts', 'export const buildEdge = (): void => {};\n');
  write(root, 'scripts/release/runtime/package.json', '{}\n');
  const protocol = { name: '@cognitora/protocol', type: 'module', exports: { './*': './src/*.ts' } };
  write(root, 'protocol/package.json', JSON.stringify(protocol));
  mkdirSync(join(root, 'node_modules/@cognitora'));
  symlinkSync('../../protocol', join(root, 'node_modules/@cognitora/protocol'));
  write(root, 'protocol/src/version.ts', "export const version = '1.0.0';\n");
  write(root, 'package.json', JSON.stringify({ type: 'module', workspaces: rooms }));
  write(root, '.gitignore', '/runtime/\nnode_modules/\ndist/\n');
  symlinkSync(join(repository, 'node_modules/tar'), join(root, 'node_modules/tar'));
  write(place, 'tools/npm', npm(), 0o755);
  git('init', '--quiet');
  commit('The first');
  return () => rmSync(place, { recursive: true, force: true });
});

interface Ended {
  readonly status: number | null;
  readonly said: string;
}

const release = (
  argv: readonly string[] = ['linux-amd64'],
  environment: Readonly<Record<string, string>> = {},
  onStarted: (child: ChildProcess) => void = () => {},
): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'scripts/release/main.ts'), ...argv], {
      env: { PATH: `${join(place, 'tools')}:${dirname(process.execPath)}:/usr/bin:/bin`, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, as a terminal gives it.
      detached: true,
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        said += text;
      });
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, said }));
    onStarted(child);
  });

const there = (path: string): string[] => {
  const folder = join(root, path);
  return existsSync(folder) ? readdirSync(folder).sort() : [];
};
const refuses = async (words: RegExp, ...run: Parameters<typeof release>): Promise<void> => {
  const { status, said } = await release(...run);
  expect(said).toMatch(words);
  // In words, without the place in our sources.
  expect(said).not.toMatch(/^ +at .*\.ts:\d/m);
  expect(status).toBe(1);
};

describe('a release', () => {
  test('lies in a folder of its version; beside it are its name, the installer, and nothing else', async () => {
    write(root, 'dist/staging/1.0.0/of-one-that-was-killed', '');
    const { status, said } = await release(['linux-amd64'], { CGN_RELEASE_KEY_FILE: keyFile });
    expect([status, said]).toEqual([0, expect.stringContaining('Signed by the key')]);
    expect(there('dist')).toEqual(['release']);
    expect(there('dist/release')).toEqual(['1.0.0', 'install.sh', 'latest']);
    const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');
    expect(textOf('dist/release/install.sh')).toBe(textOf('install.sh'));
    expect(textOf('dist/release/latest')).toBe('1.0.0\n');
    const head = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
    expect(textOf('dist/release/1.0.0/COMMIT')).toBe(head);
    expect(there('dist/release/1.0.0')).toContain('SHA256SUMS.sig');
  });

  test('is told by paths that are there, and that it is not signed', async () => {
    const { said } = await release();
    expect(said).toContain('Not signed, so install.sh refuses it: CGN_RELEASE_KEY_FILE');
    const paths = said.match(/\/\S*dist\/\S+/g) ?? [];
    expect(paths).toEqual([join(root, 'dist/release/1.0.0')]);
    expect(said).toMatch(/MB {2}cognitora-1\.0\.0-linux-amd64\.tar\.gz\n/);
  });

  test('of the same commit may be built again, to sign it', async () => {
    await release();
    expect(there('dist/release/1.0.0')).not.toContain('SHA256SUMS.sig');
    const { status } = await release(['linux-amd64'], { CGN_RELEASE_KEY_FILE: keyFile });
    expect([status, there('dist/release/1.0.0')]).toEqual([0, expect.arrayContaining(['SHA256SUMS.sig'])]);
  });

  test('takes the place of none that is of another commit, or has other sums', async () => {
    await release();
    const before = readFileSync(join(root, 'dist/release/1.0.0/SHA256SUMS'), 'utf8');
    await refuses(/1\.0\.0 is there already, with other sums.*raise the version.*remove that folder/, [
      'linux-arm64',
    ]);
    commit('The second');
    await refuses(/1\.0\.0 is there already, built from another commit: raise the version/);
    expect(readFileSync(join(root, 'dist/release/1.0.0/SHA256SUMS'), 'utf8')).toBe(before);
    expect(there('dist')).toEqual(['release']);
    rmSync(join(root, 'dist/release/1.0.0'), { recursive: true });
    expect((await release()).status).toBe(0);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('that ends by %s leaves nothing', async (signal) => {
    write(place, 'tools/npm', `#!/bin/sh\ntouch '${place}/at work'\nexec sleep 60\n`, 0o755);
    const { promise: started, resolve } = Promise.withResolvers<ChildProcess>();
    const ending = release(['linux-amd64'], {}, resolve);
    const { pid = 0 } = await started;
    await until('npm at work', () => existsSync(join(place, 'at work')));
    expect(there('dist')).toEqual(['staging']);
    process.kill(-pid, signal);
    const ended = await ending;
    expect([ended.status, there('dist')]).toEqual([1, []]);
  });
});

describe('refused in words that say what to do:', () => {
  test('an option or a target that is not there', async () => {
    await refuses(/There is no target "sparc"\.\n\nUsage: npm run release.*linux-amd64/s, ['sparc']);
    await refuses(/There is no target "--force"\.\n\nUsage/, ['--force']);
  });

  test('a tree that is not committed', async () => {
    write(root, 'docs/guide.md', '# Another\n');
    await refuses(/The tree differs from its commit: commit first/);
  });

  test('a key file that is not there, and a key that install.sh does not trust', async () => {
    const environment = { CGN_RELEASE_KEY_FILE: join(place, 'none.key') };
    await refuses(/There is no key file ".*none\.key".*CGN_RELEASE_KEY_FILE.*Make one: /, [], environment);
    const other = newKey();
    writeFileSync(keyFile, other.export({ type: 'pkcs8', format: 'pem' }));
    await refuses(/install\.sh does not trust this key/, [], { CGN_RELEASE_KEY_FILE: keyFile });
    expect(publicPemOf(other)).not.toBe(publicPemOf(key));
    expect(there('dist')).toEqual([]);
  });
});

test('--help says how to use it, and builds nothing', async () => {
  mkdirSync(join(root, 'dirty'));
  write(root, 'dirty/file', '');
  const { status, said } = await release(['--help']);
  expect([status, said]).toEqual([
    0,
    expect.stringMatching(/^Usage: npm run release.*CGN_RELEASE_KEY_FILE/s),
  ]);
  expect(there('dist')).toEqual([]);
});
