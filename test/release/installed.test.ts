/** The release of this repository for this machine, installed in an empty prefix and run with almost no environment. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { version } from '../../protocol/src/version.ts';
import { edgeBundle } from '../../scripts/release/bundle.ts';
import { leftoversOf } from '../harness/leftovers.ts';
import { runScript, type UpAnswer, untilFirstToken } from '../recipes/run-recipe.ts';
import { buildHostRelease, host, repository, shipped } from './host-release.ts';
import { emptyFolder, runInstaller, treeOf } from './run-installer.ts';
import { ReleaseServer } from './small-release.ts';

const place = emptyFolder();
const home = join(place, 'home');
const releases = join(place, 'releases');
const prefix = join(place, 'opt');
const server = new ReleaseServer(releases);
let installer = '';
/** A few hundred megabytes packed, sent and unpacked, beside other tests. */
const setUpMsMax = 240_000;

beforeAll(async () => {
  installer = await buildHostRelease(place);
  mkdirSync(home);
  const environment = { HOME: home, CGN_BASE_URL: await server.start(), CGN_PREFIX: prefix };
  const { status, said } = await runInstaller({ script: installer, environment });
  expect(`${status} ${said}`).toMatch(new RegExp(`^0 cgn ${version} is installed`));
}, setUpMsMax);
afterAll(async () => {
  await server.stop();
  rmSync(place, { recursive: true, force: true });
});

const cgn = async (
  argv: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<string> => {
  const { status, said } = await runInstaller({ script: join(prefix, 'bin/cgn'), argv, environment });
  return `${status} ${said}`;
};

test('cgn says its version, where there is no home and no Node', async () => {
  expect(await cgn(['--version'], {})).toBe(`0 cgn ${version}\n`);
});

test.each([['up'], ['kvcached']])('cgn %s finds all that it loads', async (command) => {
  const said = await cgn([command, '--help'], { HOME: home });
  expect(said).toMatch(/^0 \S/);
  expect(said).not.toMatch(/npm (?:run|start)/);
});

test('the bill of materials lists just the packages that are there', () => {
  const bundle = join(prefix, 'lib/cognitora', version);
  const bom = JSON.parse(
    readFileSync(join(releases, version, `cognitora-${version}-${host.name}.cdx.json`), 'utf8'),
  ) as {
    readonly components: readonly {
      readonly group?: string;
      readonly name: string;
      readonly version: string;
      readonly properties: readonly { readonly value: string }[];
    }[];
  };
  const listed = bom.components.flatMap(({ group, name, version: of, properties }) =>
    properties.map(({ value }) => `${value} ${group === undefined ? name : `${group}/${name}`} ${of}`),
  );
  const there = readdirSync(join(bundle, 'node_modules'), { recursive: true, encoding: 'utf8' })
    .map((path) => `node_modules/${path}`)
    .filter((path) => /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@]+\/package\.json$/.test(path))
    .filter((path) => !path.startsWith('node_modules/@cognitora/'))
    .map((path) => {
      const { name, version: of } = JSON.parse(readFileSync(join(bundle, path), 'utf8')) as {
        readonly name: string;
        readonly version: string;
      };
      return `${dirname(path)} ${name} ${of}`;
    });
  expect(there.length).toBeGreaterThan(50);
  expect(listed.filter((line) => line.startsWith('node_modules/')).sort()).toEqual(there.sort());
  const beside = listed.filter((line) => !line.startsWith('node_modules/'));
  expect(beside).toContainEqual(expect.stringMatching(/^edge\/dist\/worker\.js hono /));
  expect(beside).toContainEqual(expect.stringMatching(/^runtime\/bin\/node node-/));
});

test('nothing in it is a test, or names a path of the machine that built it', () => {
  expect(shipped.filter(({ path }) => /\.test\.ts$|testing/.test(path))).toEqual([]);
  const bundle = join(prefix, 'lib/cognitora', version);
  for (const path of [...shipped.map((file) => file.path), edgeBundle]) {
    expect(readFileSync(join(bundle, path), 'utf8').includes(repository), path).toBe(false);
  }
});

test('up.sh of a recipe serves by edge, agent and engine; nothing is left after down.sh and --uninstall', async () => {
  const directory = join(home, 'data');
  const recipe = join(prefix, 'lib/cognitora', version, 'recipes/tiny/embedded/cpu');
  const data = ['--data-dir', directory];
  const environment = { PATH: '/usr/bin:/bin', HOME: home };
  const uninstall = () =>
    runInstaller({
      script: installer,
      argv: ['--uninstall'],
      environment: { HOME: home, CGN_PREFIX: prefix },
    });
  const argv = [...data, '--json', '--port', String(await freePort())];
  try {
    const up = await runScript(join(recipe, 'up.sh'), argv, environment);
    expect([up.status, up.errors]).toEqual([0, '']);
    await untilFirstToken(JSON.parse(up.out) as UpAnswer);
    const early = await uninstall();
    expect([early.status, early.said]).toEqual([1, expect.stringMatching(/cgn still runs \(pid \d+\)/)]);
    const down = await runScript(join(recipe, 'down.sh'), data, environment);
    expect([down.status, down.out]).toEqual([0, expect.stringContaining('tiny/embedded/cpu is down')]);
    expect(leftoversOf(directory)).toEqual([]);
  } finally {
    for (const { pid } of leftoversOf(directory)) process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
  const { status, said } = await uninstall();
  expect(`${status} ${said}`).toContain(`0 cgn is removed from ${prefix}.`);
  expect(readdirSync(place)).not.toContain('opt');
  expect(treeOf(home)).toEqual([]);
});
