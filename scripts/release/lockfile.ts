/**
 * Reads npm's lockfile: which packages a room needs on a machine, by the rules by which Node finds them. Pure. Optional
 * peers are not followed: nobody asked for them.
 */
import type { Target } from './targets.ts';

export interface LockedPackage {
  /** Where it is installed, from the root of the tree: its key in the lockfile. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** As the lockfile has it: `sha512-` and base64. */
  readonly integrity: string;
  readonly license: string;
  /** The paths of those that it needs. */
  readonly needs: readonly string[];
}

interface Entry {
  readonly name?: string;
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly link?: boolean;
  readonly resolved?: string;
  readonly os?: string | readonly string[];
  readonly cpu?: string | readonly string[];
  readonly libc?: string | readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface Lockfile {
  readonly packages: Readonly<Record<string, Entry>>;
}

const folder = 'node_modules/';
/** It stands for packages that Cognitora does without (`overrides` of package.json). */
const nothing = 'empty-npm-package';

/** What npm installs there and nobody loads: the binaries of one machine name another's processor too. */
const isOfAnother = (name: string, { os, cpu }: Target): boolean =>
  name.startsWith('@node-llama-cpp/') && name !== `@node-llama-cpp/${os}-${cpu}`;

const isFor = (wanted: string | readonly string[] | undefined, value: string): boolean =>
  wanted === undefined || [wanted].flat().includes(value);

const isInstalledOn = (entry: Entry, name: string, target: Target): boolean =>
  isFor(entry.os, target.os) &&
  isFor(entry.cpu, target.cpu) &&
  (target.os !== 'linux' || isFor(entry.libc, 'glibc')) &&
  entry.name !== nothing &&
  !isOfAnother(name, target);

/** Where Node finds a package that is named in a folder: there, or in one above. */
const found = (lockfile: Lockfile, from: string, name: string): string | undefined => {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
    const path = `${at === '' ? '' : `${at}/`}${folder}${name}`;
    if (lockfile.packages[path] !== undefined) return path;
    if (at === '') return undefined;
  }
};

const nameIn = (path: string): string => path.slice(path.lastIndexOf(folder) + folder.length);

/** The paths that an installed package, or a room, needs on that machine. Throws where the lockfile lacks one. */
const needsOf = (lockfile: Lockfile, path: string, target: Target): string[] => {
  const { dependencies = {}, optionalDependencies = {} } = lockfile.packages[path] ?? {};
  return Object.keys({ ...dependencies, ...optionalDependencies }).flatMap((name) => {
    const at = found(lockfile, path, name);
    const entry = at === undefined ? undefined : lockfile.packages[at];
    if (at === undefined || entry === undefined) {
      if (name in optionalDependencies) return [];
      throw new Error(`package-lock.json lacks ${name}, which ${path} needs: run npm install.`);
    }
    return isInstalledOn(entry, name, target) ? [at] : [];
  });
};

/** Every package of npm that those rooms need on that machine, by path; rooms themselves are not among them. */
export const packagesFor = (
  lockfile: Lockfile,
  rooms: readonly string[],
  target: Target,
): LockedPackage[] => {
  const packages = new Map<string, LockedPackage>();
  const waiting = rooms.flatMap((room) => needsOf(lockfile, room, target));
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const entry = lockfile.packages[path];
    if (entry === undefined || entry.link || packages.has(path)) continue;
    const { version = '', integrity = '', license = '' } = entry;
    if (integrity === '') throw new Error(`package-lock.json has no integrity for ${path}: run npm install.`);
    const needs = needsOf(lockfile, path, target);
    packages.set(path, { path, name: entry.name ?? nameIn(path), version, integrity, license, needs });
    waiting.push(...needs);
  }
  return [...packages.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
};
