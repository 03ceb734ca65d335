/**
 * A bare Debian, by debootstrap: nothing but what the system needs, openssl and curl. Minutes, and root: one of the
 * long tests (apt-get install debootstrap).
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { version } from '../../protocol/src/version.ts';
import { buildHostRelease } from './host-release.ts';
import { emptyFolder, runInstaller, treeOf } from './run-installer.ts';
import { ReleaseServer } from './small-release.ts';

const bootstrapMsMax = 600_000;
const place = emptyFolder();
const root = join(place, 'root');
const server = new ReleaseServer(join(place, 'releases'));
let url = '';

beforeAll(async () => {
  const tools = '--include=openssl,curl,ca-certificates';
  const argv = ['--variant=minbase', tools, 'bookworm', root, 'http://deb.debian.org/debian'];
  execFileSync('debootstrap', argv, { stdio: 'pipe', maxBuffer: 2 ** 24 });
  copyFileSync(await buildHostRelease(place), join(root, 'install.sh'));
  url = await server.start();
}, bootstrapMsMax);
afterAll(async () => {
  await server.stop();
  rmSync(place, { recursive: true, force: true });
});

/** With nothing in its environment but what is said here. */
const inRoot = async (words: string): Promise<string> => {
  const script = join(place, 'run');
  writeFileSync(script, `exec chroot '${root}' /usr/bin/env -i PATH=/usr/bin:/bin ${words}\n`);
  const { status, said } = await runInstaller({
    script,
    environment: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  return `${status} ${said}`;
};

test('a bare Debian installs the release, cgn runs in it, and nothing is left when it is removed', async () => {
  expect(existsSync(join(root, 'usr/bin/node'))).toBe(false);
  const before = treeOf(join(root, 'opt'));
  expect(await inRoot(`CGN_BASE_URL=${url} CGN_PREFIX=/opt/cognitora sh /install.sh`)).toContain(
    `0 cgn ${version} is installed: /opt/cognitora/bin/cgn`,
  );
  expect(await inRoot('/opt/cognitora/bin/cgn --version')).toBe(`0 cgn ${version}\n`);
  expect(await inRoot('/opt/cognitora/bin/cgn kvcached --help')).toMatch(/^0 \S/);
  const uninstaller = `/opt/cognitora/lib/cognitora/${version}/install.sh --uninstall`;
  expect(await inRoot(`CGN_PREFIX=/opt/cognitora sh ${uninstaller}`)).toContain('0 cgn is removed');
  expect(treeOf(join(root, 'opt'))).toEqual(before);
});
