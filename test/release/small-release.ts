/**
 * A release that is built and signed as a real one, from a repository of a few files: its "Node" is a script that says
 * the version. And a server of releases that can be told to fail.
 */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { buildRelease } from '../../scripts/release/release.ts';
import { publicPemOf } from '../../scripts/release/signature.ts';
import { type Target, targets } from '../../scripts/release/targets.ts';

const repository = join(import.meta.dirname, '../..');

export const newKey = (namedCurve = 'P-256'): KeyObject =>
  createPrivateKey(
    generateKeyPairSync('ec', {
      namedCurve,
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    }).privateKey,
  );

/** install.sh as it stands, and as whoever publishes with that key would commit it. */
export const installerText = readFileSync(join(repository, 'install.sh'), 'utf8');
export const installerFor = (key: KeyObject): string =>
  installerText.replace("release_key=''", `release_key='${publicPemOf(key)}'`);

export const write = (root: string, path: string, text: string | Buffer, mode = 0o644): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text, { mode });
};

const integrity = (text: string): string => `sha512-${createHash('sha512').update(text).digest('base64')}`;

/** Much enough that a download can be cut in its midst. */
const filler = (bytes: number): Buffer => {
  const blocks = Array.from({ length: Math.ceil(bytes / 64) }, (_, at) =>
    createHash('sha512').update(`${at}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
};

export const rooms = ['protocol', 'edge', 'node-agent', 'embedded-engine', 'kvcache', 'cli'];

const lockedPackages = {
  'node_modules/plain': { version: '1.2.3', integrity: integrity('plain'), license: 'MIT' },
  'node_modules/@scope/nested': {
    version: '2.0.0',
    integrity: integrity('nested'),
    license: '(MIT OR Apache-2.0)',
    dependencies: { plain: '^0.9.0' },
  },
  'node_modules/@scope/nested/node_modules/plain': { version: '0.9.0', integrity: integrity('old') },
  'node_modules/of-edge': { version: '4.0.0', integrity: integrity('of-edge'), license: 'MIT' },
  'node_modules/native-arm64': {
    version: '1.0.0',
    integrity: integrity('native'),
    os: ['linux', 'darwin'],
    cpu: ['arm64'],
  },
};

const needs: Readonly<Record<string, object>> = {
  edge: { dependencies: { 'of-edge': '4.0.0' } },
  cli: {
    dependencies: { '@cognitora/protocol': '1.0.0', plain: '1.2.3', '@scope/nested': '2.0.0' },
    optionalDependencies: { 'native-arm64': '1.0.0' },
  },
};

export interface SmallRelease {
  readonly version: string;
  readonly commit?: string;
  readonly key: KeyObject;
  /** Where its repository is made, and where releases lie: `into/VERSION`. */
  readonly root: string;
  readonly into: string;
  readonly targets?: readonly Target[];
  readonly signed?: boolean;
  /** The key in its install.sh, where it is another. */
  readonly trusts?: KeyObject;
  /** In the place of Node. */
  readonly node?: string;
}

/** Writes a repository of `version`, with what npm would install in it; returns the paths of what git would keep. */
export const writeRepository = ({ root, version, key, trusts, node }: SmallRelease): string[] => {
  const files: [path: string, text: string, mode?: number][] = [
    ['LICENSE', 'The licence.\n'],
    ['wrangler.toml', 'name = "edge"\n'],
    ['install.sh', installerFor(trusts ?? key), 0o755],
    ['bin/cgn', readFileSync(join(repository, 'bin/cgn'), 'utf8'), 0o755],
    ['docs/guide.md', '# Guide\n'],
    ['docs/cognitora-agent.service', `[Unit]\nDescription=Of ${version}\n`],
    ['cli/src/cgn.ts', `// ${filler(400_000).toString('base64')}\n`],
    ['cli/src/cgn.test.ts', 'a test\n'],
    ...rooms.map((room): [string, string] => [`${room}/package.json`, `{"name":"@cognitora/${room}"}\n`]),
  ];
  for (const [path, text, mode] of files) write(root, path, text, mode);
  const runtimePackages = Object.fromEntries(
    targets.map(({ runtime, os, cpu }) => [
      `node_modules/${runtime}`,
      { version: '24.0.0', integrity: integrity(runtime), license: 'MIT', os, cpu },
    ]),
  );
  const optionalDependencies = Object.fromEntries(targets.map(({ runtime }) => [runtime, '24.0.0']));
  const links = { 'node_modules/@cognitora/protocol': { link: true, resolved: 'protocol' } };
  const ours = Object.fromEntries(rooms.map((room) => [room, { version, ...needs[room] }]));
  const lockfile = { packages: { '': {}, ...ours, ...links, ...lockedPackages } };
  write(root, 'package-lock.json', JSON.stringify(lockfile));
  const runtimes = { packages: { '': { optionalDependencies }, ...runtimePackages } };
  write(root, 'scripts/release/runtime/package-lock.json', JSON.stringify(runtimes));
  write(root, 'edge/dist/worker.js', 'export default {};\n');
  for (const [path, entry] of Object.entries(lockedPackages)) {
    write(root, `${path}/package.json`, JSON.stringify({ version: entry.version }));
    write(root, `${path}/index.js`, `// ${path}\n`);
  }
  write(root, 'runtime/bin/node', node ?? `#!/bin/sh\necho "cgn ${version}"\n`, 0o755);
  write(root, 'runtime/LICENSE', 'Of Node.\n');
  return files.map(([path]) => path);
};

/** Resolves with the folder of the release. */
export const buildSmallRelease = (release: SmallRelease): Promise<string> => {
  const { version, key, root, into, ...options } = release;
  const paths = writeRepository(release);
  return buildRelease({
    root,
    kept: paths.map((path) => ({ path, mode: statSync(join(root, path)).mode })),
    version,
    commit: release.commit ?? 'a commit',
    modifiedSeconds: 1_764_000_000,
    targets: options.targets ?? targets,
    install: () => ({ packages: root, runtime: join(root, 'runtime') }),
    compression: 1,
    key: options.signed === false ? undefined : key,
    staging: join(root, 'dist/staging'),
    into,
    onBuilt: () => {},
  });
};

/** What becomes of a file instead of being served. */
export type Fate = 'missing' | 'cut' | 'stalled' | { readonly text: string | Buffer };

/** Files below a folder over HTTP, on loopback. */
export class ReleaseServer {
  readonly fates = new Map<string, Fate>();
  /** Paths that were asked for, in order. */
  readonly asked: string[] = [];
  readonly #folder: string;
  readonly #server: Server;

  constructor(folder: string) {
    this.#folder = folder;
    this.#server = createServer((request, response) => this.#answer(request.url ?? '', response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #answer(path: string, response: ServerResponse): void {
    this.asked.push(path);
    const fate = this.fates.get(path);
    const file = join(this.#folder, path);
    if (typeof fate === 'object') response.end(fate.text);
    else if (fate === 'missing' || !existsSync(file)) response.writeHead(404).end();
    else if (fate === undefined) createReadStream(file).pipe(response);
    else {
      const bytes = readFileSync(file);
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, bytes.length / 2), () => {
        if (fate === 'cut') response.destroy();
      });
    }
  }
}
