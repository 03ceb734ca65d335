/** install.sh against a local server of releases: what it installs, what it refuses, and what it leaves behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { signatureOf } from '../../scripts/release/signature.ts';
import { hostTarget } from '../../scripts/release/targets.ts';
import { until } from '../harness/until.ts';
import { emptyFolder, type InstallerOptions, linked, runInstaller, treeOf } from './run-installer.ts';
import { buildSmallRelease, installerFor, installerText, newKey, ReleaseServer } from './small-release.ts';

const target = hostTarget();
if (target === undefined) throw new Error(`No release is built for ${process.platform} ${process.arch}.`);
const bundleOf = (version: string): string => `/${version}/cognitora-${version}-${target.name}.tar.gz`;

const key = newKey();
const place = emptyFolder();
const releases = join(place, 'releases');
const script = join(place, 'install.sh');
const server = new ReleaseServer(releases);
let url = '';
let home = '';
let prefix = '';

beforeAll(async () => {
  for (const version of ['0.9.0', '0.10.0-rc.1', '0.10.0']) {
    await buildSmallRelease({
      version,
      key,
      root: join(place, version),
      into: releases,
      targets: [target],
    });
  }
  writeFileSync(script, installerFor(key));
  url = await server.start();
});
afterAll(async () => {
  await server.stop();
  rmSync(place, { recursive: true, force: true });
});

beforeEach(() => {
  server.fates.clear();
  server.fates.set('/latest', { text: '0.10.0\n' });
  server.asked.length = 0;
  home = emptyFolder();
  prefix = join(home, '.local');
  return () => rmSync(home, { recursive: true, force: true });
});

const run = (environment: Record<string, string> = {}, options: Partial<InstallerOptions> = {}) =>
  runInstaller({ script, ...options, environment: { HOME: home, CGN_BASE_URL: url, ...environment } });
const installed = (version: string): Promise<unknown> =>
  run({ CGN_VERSION: version }).then(({ status, said }) => expect(`${status} ${said}`).toMatch(/^0 /));
const cgnSays = async (): Promise<string> => {
  const { said } = await runInstaller({ script: join(prefix, 'bin/cgn'), environment: {} });
  return said;
};

/** It ended with these words, and nothing is there that was not before. */
const refuses = async (words: RegExp, environment = {}, options: Partial<InstallerOptions> = {}) => {
  const before = treeOf(home);
  const { status, said } = await run(environment, options);
  expect(said).toMatch(words);
  // Each refusal says what to do.
  expect(said).toMatch(/^ {2}-> \S/m);
  expect(status).toBe(1);
  expect(treeOf(home)).toEqual(before);
};

describe('a good release', () => {
  test('is the newest one, below the home folder, and its command runs', async () => {
    const { status, said } = await run();
    expect(said).toContain(`cgn 0.10.0 is installed: ${prefix}/bin/cgn`);
    expect(said).toContain(`export PATH="${prefix}/bin:$PATH"`);
    expect(status).toBe(0);
    expect(await cgnSays()).toBe('cgn 0.10.0\n');
    expect(treeOf(prefix)).toEqual([
      'bin',
      'bin/cgn',
      'lib',
      'lib/cognitora',
      'lib/cognitora/0.10.0',
      'lib/cognitora/folders',
    ]);
  });

  test('goes where CGN_PREFIX says, in the version that CGN_VERSION says, without a home', async () => {
    const elsewhere = join(home, 'a place', 'opt');
    const environment = { CGN_BASE_URL: `${url}/`, CGN_PREFIX: elsewhere, CGN_VERSION: 'v0.9.0' };
    const { status, said } = await runInstaller({ script, environment });
    expect(`${status} ${said}`).toContain(`0 cgn 0.9.0 is installed: ${elsewhere}/bin/cgn`);
    expect(linked(elsewhere)).toBe('0.9.0');
  });

  test('comes through wget where there is no curl', async () => {
    const tools = join(home, 'tools');
    mkdirSync(tools);
    const names =
      'awk cat cut dirname gzip head ln mkdir mv openssl readlink rm rmdir sed sh sort tar uname wget';
    const words = `for t in ${names}; do p=$(command -v $t) && ln -s "$p" '${tools}'; done; PATH='${tools}';`;
    const { said } = await run({ CGN_VERSION: '0.9.0' }, { before: words });
    const hasWget = treeOf(tools).includes('wget');
    expect(said).toContain(hasWget ? 'cgn 0.9.0 is installed' : 'curl and wget are missing');
  });

  test('is not fetched twice, and is mended where its files are gone', async () => {
    await installed('0.10.0');
    await installed('0.10.0');
    expect(server.asked.filter((path) => path === bundleOf('0.10.0'))).toHaveLength(1);
    rmSync(join(prefix, 'lib/cognitora/0.10.0/runtime'), { recursive: true });
    await installed('0.10.0');
    expect(await cgnSays()).toBe('cgn 0.10.0\n');
  });
});

describe('another version', () => {
  test('takes the place of the one before, which stays for a rollback; older ones go', async () => {
    for (const version of ['0.9.0', '0.10.0-rc.1', '0.10.0']) await installed(version);
    expect(linked(prefix)).toBe('0.10.0');
    expect(readdirSync(join(prefix, 'lib/cognitora')).filter((name) => /^\d/.test(name))).toEqual([
      '0.10.0',
      '0.10.0-rc.1',
    ]);
    const back = join(prefix, 'lib/cognitora/0.10.0/install.sh');
    const { status, said } = await runInstaller({
      script: back,
      argv: ['--rollback'],
      environment: { HOME: home },
    });
    expect(`${status} ${said}`).toContain('0 cgn 0.10.0-rc.1 runs again');
    expect(await cgnSays()).toBe('cgn 0.10.0-rc.1\n');
    await run({}, { argv: ['--rollback'] });
    expect(await cgnSays()).toBe('cgn 0.10.0\n');
  });

  test('that is older than what is installed is taken only where it is named', async () => {
    await installed('0.10.0');
    for (const older of ['0.9.0', '0.10.0-rc.1']) {
      server.fates.set('/latest', { text: `${older}\n` });
      await refuses(new RegExp(`newest release at .* is ${older}, older than 0.10.0, which is installed`));
    }
    await installed('0.9.0');
    expect(await cgnSays()).toBe('cgn 0.9.0\n');
  });

  test('is where docs/install.md looks for units', async () => {
    const guide = readFileSync(join(import.meta.dirname, '../../docs/install.md'), 'utf8');
    const lines = /^cgn=.*\nsudo cp .*$/m.exec(guide)?.[0] ?? '';
    const words = lines
      .replace('sudo ', '')
      .replace('/opt/cognitora', prefix)
      .replace('/etc/systemd/system/', home);
    const copy = join(home, 'copy');
    writeFileSync(copy, words);
    for (const version of ['0.9.0', '0.10.0']) {
      await installed(version);
      expect(await runInstaller({ script: copy, environment: {} })).toEqual({ status: 0, said: '' });
      const unit = readFileSync(join(home, 'cognitora-agent.service'), 'utf8');
      expect(unit).toContain(`Description=Of ${version}\n`);
    }
  });

  test('leaves what runs of the one before, and says so where the system tells', async () => {
    await installed('0.9.0');
    // The "Node" of these releases is a script: its process is the shell's.
    const program = join(prefix, 'lib/cognitora/0.9.0/runtime/bin/sleep');
    copyFileSync('/bin/sleep', program);
    const child = spawn(program, ['60']);
    onTestFinished(() => void child.kill());
    await once(child, 'spawn');
    const goesOn = existsSync('/proc/self/exe')
      ? expect.stringContaining(`-> cgn 0.9.0 goes on until it is restarted: pid ${child.pid}\n`)
      : expect.not.stringContaining('goes on');
    expect((await run()).said).toEqual(goesOn);
    expect((await run({ CGN_VERSION: '0.10.0-rc.1' })).said).toEqual(goesOn);
    expect(child.exitCode).toBeNull();
    await installed('0.9.0');
    expect((await run({ CGN_VERSION: '0.9.0' })).said).not.toContain('goes on');
  });

  test('that cannot be installed leaves the one that runs', async () => {
    await installed('0.9.0');
    server.fates.set(bundleOf('0.10.0'), 'cut');
    await refuses(/could not be downloaded/);
    expect(await cgnSays()).toBe('cgn 0.9.0\n');
  });

  test('without one before there is no rollback', async () => {
    await installed('0.9.0');
    await refuses(/has no version before this one/, {}, { argv: ['--rollback'] });
  });
});

describe('refused, with nothing left behind:', () => {
  const release = (file: string): string => `/0.10.0/${file}`;
  const textOf = (file: string): string => readFileSync(join(releases, '0.10.0', file), 'utf8');

  test('a flipped bit of the bundle', async () => {
    const bytes = readFileSync(join(releases, bundleOf('0.10.0')));
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    server.fates.set(bundleOf('0.10.0'), { text: bytes });
    await refuses(/is not what was signed: its checksum differs/);
  });

  test('sums that were changed with it', async () => {
    const changed = textOf('SHA256SUMS').replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
    server.fates.set(release('SHA256SUMS'), { text: changed });
    await refuses(/SHA256SUMS of 0.10.0 is not signed by the release's key/);
  });

  test('a signature by another key', async () => {
    const text = signatureOf(textOf('SHA256SUMS'), newKey());
    server.fates.set(release('SHA256SUMS.sig'), { text });
    await refuses(/is not signed by the release's key/);
  });

  test.each([
    ['empty', ''],
    ['no base64', '<html>\n'],
    ['cut', signatureOf('', newKey()).slice(0, 40)],
  ])('a signature that is %s', async (_, text) => {
    server.fates.set(release('SHA256SUMS.sig'), { text });
    await refuses(/is not signed by the release's key/);
  });

  test('no signature', async () => {
    server.fates.set(release('SHA256SUMS.sig'), 'missing');
    await refuses(/Release 0.10.0 has no signature/);
  });

  test('a download that is cut', async () => {
    server.fates.set(bundleOf('0.10.0'), 'cut');
    await refuses(/cognitora-0.10.0-.*could not be downloaded/);
  });

  test('a download that is cut where the server does not say how long it is', async () => {
    const bytes = readFileSync(join(releases, bundleOf('0.10.0')));
    server.fates.set(bundleOf('0.10.0'), { text: bytes.subarray(0, bytes.length >> 1) });
    await refuses(/is not what was signed/);
  });

  test('another release under this name', async () => {
    for (const file of ['SHA256SUMS', 'SHA256SUMS.sig']) {
      server.fates.set(release(file), { text: readFileSync(join(releases, '0.9.0', file), 'utf8') });
    }
    await refuses(/The signed sums at .*0.10.0 are of no cognitora-0.10.0-/);
  });

  test.each(['7.7.7', '../0.9.0', '0.9.0;ls', 'latest', ''])('the version "%s"', async (version) => {
    server.fates.set('/latest', { text: version });
    await refuses(/could not be downloaded|is no version/);
  });

  test('a newest release that is no version, without what would move a terminal', async () => {
    server.fates.set('/latest', { text: '\u001b[2J<html>\n' });
    await refuses(/"\[2J<html>" is no version; the server at http:\S+ says it is the newest/);
  });

  test('a server that is not there', async () => {
    await refuses(/latest could not be downloaded from http:\/\/127.0.0.1:1\./, {
      CGN_BASE_URL: 'http://127.0.0.1:1',
    });
  });

  test('a bundle that does not run here', async () => {
    const root = join(place, 'strange');
    // As of a machine whose loader is not here.
    await buildSmallRelease({
      version: '1.0.0',
      key,
      root,
      into: releases,
      targets: [target],
      node: '#!/none\n',
    });
    server.fates.set('/latest', { text: '1.0.0\n' });
    await refuses(/cgn 1.0.0 does not run on this machine: .*\n.*glibc/);
    expect(server.asked).toContain(bundleOf('1.0.0'));
  });

  test('a bundle that runs and says another version than its name', async () => {
    await buildSmallRelease({
      version: '1.0.1',
      key,
      root: join(place, 'misnamed'),
      into: releases,
      targets: [target],
      node: '#!/bin/sh\necho "cgn 1.0.0"\n',
    });
    const { said } = await run({ CGN_VERSION: '1.0.1' });
    expect(said).not.toContain('glibc');
    await refuses(/What was released as 1\.0\.1 says that it is cgn 1\.0\.0\./, { CGN_VERSION: '1.0.1' });
  });

  test('a disk that is full', async () => {
    // A file may have no more than this many blocks: writing fails in the midst of the bundle.
    await refuses(/could not be downloaded/, {}, { before: 'trap "" XFSZ; ulimit -f 200;' });
  });

  test('a prefix that cannot be made', async () => {
    writeFileSync(join(home, 'file'), '');
    await refuses(/The folder .*\/file cannot be made/, { CGN_PREFIX: join(home, 'file') });
    await refuses(/CGN_PREFIX is no absolute path/, { CGN_PREFIX: 'here' });
  });

  test('a cgn that somebody else put there', async () => {
    mkdirSync(join(prefix, 'bin'), { recursive: true });
    writeFileSync(join(prefix, 'bin/cgn'), '#!/bin/sh\n');
    chmodSync(join(prefix, 'bin/cgn'), 0o755);
    await refuses(/was not installed by this script/);
  });

  test('everything, while the script has no key or no place of releases', async () => {
    const pristine = join(home, 'install.sh');
    writeFileSync(pristine, installerText);
    await refuses(/This script has no release key/, {}, { script: pristine });
    await refuses(/This script names no place of releases/, { CGN_BASE_URL: '' });
    rmSync(pristine);
  });

  test('an option that it does not know', async () => {
    await refuses(/There is no option --force/, {}, { argv: ['--force'] });
  });

  test('words beyond its one option', async () => {
    await installed('0.9.0');
    await refuses(
      /One option at most is taken, not 2: --uninstall --purge/,
      {},
      {
        argv: ['--uninstall', '--purge'],
      },
    );
    expect(await cgnSays()).toBe('cgn 0.9.0\n');
  });
});

test('--help says how to use it and does nothing, also where the script comes through a pipe', async () => {
  const help = { status: 0, said: expect.stringMatching(/^Installs cgn.*--rollback.*CGN_PREFIX/s) };
  expect(await run({}, { argv: ['--help'] })).toEqual(help);
  expect(await run({}, { script: '-s', argv: ['--', '--help'], before: `<'${script}'` })).toEqual(help);
  expect(treeOf(home)).toEqual([]);
});

describe('ended in the midst of a download', () => {
  const stalled = (signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGKILL') =>
    run(
      {},
      {
        onStarted: (child) => {
          until('the bundle being asked for', () => server.asked.includes(bundleOf('0.10.0')))
            .then(() => child.kill(signal))
            .catch(() => child.kill('SIGKILL'));
        },
      },
    );

  test.each([
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('by %s it leaves nothing behind', async (signal, status) => {
    server.fates.set(bundleOf('0.10.0'), 'stalled');
    expect((await stalled(signal)).status).toBe(status);
    expect(treeOf(home)).toEqual([]);
  });

  test('by SIGKILL what it left is no obstacle to the next one, nor to its removal', async () => {
    server.fates.set(bundleOf('0.10.0'), 'stalled');
    await stalled('SIGKILL');
    expect(linked(prefix)).toBeUndefined();
    server.fates.delete(bundleOf('0.10.0'));
    await installed('0.10.0');
    expect(treeOf(prefix)).not.toContain('lib/cognitora/staging');
    await run({}, { argv: ['--uninstall'] });
    expect(treeOf(home)).toEqual([]);
  });

  test('behind the step from one version to another what is installed stays whole', async () => {
    await installed('0.9.0');
    // Its own mv, which ends the installer once the command is the new one.
    const tools = join(home, 'tools');
    mkdirSync(tools);
    const mv = '#!/bin/sh\n/bin/mv "$@"\ncase "$*" in *"/bin/cgn") kill -TERM "$PPID" ;; esac\n';
    writeFileSync(join(tools, 'mv'), mv, { mode: 0o755 });
    const { status } = await run({ CGN_VERSION: '0.10.0', PATH: `${tools}:/usr/local/bin:/usr/bin:/bin` });
    expect([status, linked(prefix), await cgnSays()]).toEqual([143, '0.10.0', 'cgn 0.10.0\n']);
  });

  test('a second one waits for nobody: it says who is at work', async () => {
    server.fates.set(bundleOf('0.10.0'), 'stalled');
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const first = run(
      {},
      {
        onStarted: (child) => {
          over.then(() => child.kill('SIGTERM')).catch(() => {});
        },
      },
    );
    await until('the first one at work', () => server.asked.includes(bundleOf('0.10.0')));
    const { status, said } = await run();
    expect(`${status} ${said}`).toMatch(/^1 .*Another install.sh \(process \d+\) is at work/);
    resolve();
    expect((await first).status).toBe(143);
    expect(treeOf(home)).toEqual([]);
  });
});

describe('uninstalled', () => {
  test('nothing of it is left, the data is, and it says where', async () => {
    const { said: first } = await run({ CGN_VERSION: '0.9.0' });
    expect(first).toContain('cgn 0.9.0 is installed');
    await installed('0.10.0');
    mkdirSync(join(home, '.cognitora'));
    mkdirSync(join(home, '.cache/cognitora/compiled'), { recursive: true });
    const { status, said } = await run({}, { argv: ['--uninstall'] });
    expect(`${status} ${said}`).toContain(`0 cgn is removed from ${prefix}.`);
    expect(said).toContain(`kept: ${home}/.cognitora`);
    expect(treeOf(home)).toEqual(['.cognitora']);
  });

  test('a cache that was there before stays, and one that others use', async () => {
    mkdirSync(join(home, '.cache'));
    await installed('0.9.0');
    await run({}, { argv: ['--uninstall'] });
    expect(treeOf(home)).toEqual(['.cache']);
    rmSync(join(home, '.cache'), { recursive: true });
    await installed('0.9.0');
    mkdirSync(join(home, '.cache/cognitora/compiled'), { recursive: true });
    mkdirSync(join(home, '.cache/others'));
    await run({}, { argv: ['--uninstall'] });
    expect(treeOf(home)).toEqual(['.cache', '.cache/others']);
  });

  test('what others keep in the prefix stays', async () => {
    mkdirSync(join(prefix, 'bin'), { recursive: true });
    await installed('0.9.0');
    await run({}, { argv: ['--uninstall'] });
    expect(treeOf(home)).toEqual(['.local', '.local/bin']);
  });

  test('what others keep in its own folder stays, and it says so', async () => {
    const notes = join(prefix, 'lib/cognitora/notes');
    await installed('0.9.0');
    mkdirSync(notes);
    await installed('0.10.0');
    const { said } = await run({}, { argv: ['--uninstall'] });
    expect(said).toContain(`kept: ${prefix}/lib/cognitora`);
    expect(treeOf(prefix)).toEqual(['lib', 'lib/cognitora', 'lib/cognitora/notes']);
  });

  test('a folder of it that is a link elsewhere is emptied, and the link stays', async () => {
    mkdirSync(join(home, 'elsewhere'));
    mkdirSync(join(prefix, 'lib'), { recursive: true });
    symlinkSync(join(home, 'elsewhere'), join(prefix, 'lib/cognitora'));
    await installed('0.9.0');
    await run({}, { argv: ['--uninstall'] });
    expect(treeOf(join(home, 'elsewhere'))).toEqual([]);
    expect(treeOf(prefix)).toEqual(['lib', 'lib/cognitora']);
  });

  test('where nothing is installed it says so', async () => {
    await refuses(/Nothing is installed in/, {}, { argv: ['--uninstall'] });
  });
});
