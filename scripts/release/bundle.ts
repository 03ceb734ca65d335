/**
 * Lays out what a release holds for one machine: our sources as Node runs them, the edge's bundle, the packages of npm
 * that they need there, and Node. What tests need, and what no program opens, is left out.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { LockedPackage } from './lockfile.ts';
import type { Target } from './targets.ts';

/** Whose sources run on a host. The edge runs as one file, its bundle. */
export const rooms = ['protocol', 'node-agent', 'embedded-engine', 'kvcache', 'cli'] as const;
export const edgeBundle = 'edge/dist/worker.js';

const single = ['LICENSE', 'bin/cgn', 'install.sh', 'wrangler.toml'];
const roomFile = new RegExp(`^(?:${rooms.join('|')})/(?:package\\.json|src/.*\\.ts)$`);
const forTests = /\.test\.ts$|(?:^|\/)(?:testing|golden)\//;

/** Of the files that git keeps, those that a release holds. */
export const isShipped = (path: string): boolean =>
  !forTests.test(path) &&
  (single.includes(path) ||
    roomFile.test(path) ||
    /^docs\/[^/]+\.(?:md|service)$/.test(path) ||
    path.startsWith('recipes/'));

/** Large files of packages that nothing opens here. */
const isLeftOut = (path: string, { os, cpu }: Target): boolean => {
  // The source of llama.cpp, for those who compile it.
  if (path === 'node_modules/node-llama-cpp/llama/gitRelease.bundle') return true;
  // Binaries of all systems; the manifest says where ours is.
  const [, system] = /^node_modules\/zeromq\/build\/(\w+\/\w+)\//.exec(path) ?? [];
  return system !== undefined && system !== `${os}/${cpu}`;
};

const filesBelow = (root: string, below: string): string[] =>
  readdirSync(join(root, below), { withFileTypes: true }).flatMap((entry) => {
    const path = `${below}/${entry.name}`;
    if (!entry.isDirectory()) return [path];
    // What is nested there is a package of its own.
    return entry.name === 'node_modules' ? [] : filesBelow(root, path);
  });

const isExecutable = (mode: number): boolean => (mode & 0o100) !== 0;

export interface BundleOptions {
  /** The sources: a clone with the edge's bundle built. */
  readonly root: string;
  /** Paths of the files that git keeps, with their modes. */
  readonly kept: readonly { readonly path: string; readonly mode: number }[];
  readonly target: Target;
  readonly packages: readonly LockedPackage[];
  /** A folder in which npm installed those packages. */
  readonly installed: string;
  /** The folder of the package that has Node for the target. */
  readonly runtime: string;
  /** Where the bundle is laid out; it is not there yet. */
  readonly into: string;
}

/** Modes do not follow the umask of whoever builds. What has the right one already is linked, where that can be. */
const place = (from: string, to: string, executable: boolean): void => {
  const mode = executable ? 0o755 : 0o644;
  mkdirSync(dirname(to), { recursive: true });
  if ((statSync(from).mode & 0o777) === mode && link(from, to)) return;
  copyFileSync(from, to);
  chmodSync(to, mode);
};

const link = (from: string, to: string): boolean => {
  try {
    linkSync(from, to);
    return true;
  } catch {
    // Another file system.
    return false;
  }
};

const placePackages = ({ target, packages, installed, into }: BundleOptions): void => {
  for (const { path, name, version } of packages) {
    const found = JSON.parse(readFileSync(join(installed, path, 'package.json'), 'utf8')) as {
      readonly version?: string;
    };
    if (found.version !== version)
      throw new Error(`${name} is ${found.version} where package-lock.json has ${version}: run npm ci.`);
    for (const file of filesBelow(installed, path).filter((each) => !isLeftOut(each, target))) {
      const from = join(installed, file);
      place(from, join(into, file), isExecutable(statSync(from).mode));
    }
  }
};

export const layOut = (options: BundleOptions): void => {
  const { root, kept, runtime, into } = options;
  if (existsSync(into)) throw new Error(`${into} is there already: remove it.`);
  for (const { path, mode } of kept.filter((file) => isShipped(file.path))) {
    place(join(root, path), join(into, path), isExecutable(mode));
  }
  place(join(root, edgeBundle), join(into, edgeBundle), false);
  placePackages(options);
  for (const room of rooms) {
    const alias = join(into, 'node_modules/@cognitora', room);
    mkdirSync(dirname(alias), { recursive: true });
    symlinkSync(relative(dirname(alias), join(into, room)), alias);
  }
  place(join(runtime, 'bin/node'), join(into, 'runtime/bin/node'), true);
  place(join(runtime, 'LICENSE'), join(into, 'runtime/LICENSE'), false);
  tidyFolders(into);
};

const tidyFolders = (folder: string): void => {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) tidyFolders(join(folder, entry.name));
  }
};
