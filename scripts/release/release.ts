/**
 * One release in a folder: for each target a bundle and its bill of materials, the installer, the name of the commit,
 * SHA256SUMS and, with a key, its signature; beside it `latest` and the newest installer. Where packages come from is
 * the caller's business.
 */
import type { KeyObject } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { writeArchive } from './archive.ts';
import { type BundleOptions, layOut, rooms } from './bundle.ts';
import { type Lockfile, packagesFor } from './lockfile.ts';
import { type Contents, sbomOf } from './sbom.ts';
import { pinnedKeyIn, publicPemOf, signatureOf, sumsOf } from './signature.ts';
import type { Target } from './targets.ts';

/** npm's packages for a target, as folders on this machine. */
export interface Installed {
  /** Holds node_modules. */
  readonly packages: string;
  /** The package with Node. */
  readonly runtime: string;
}

export interface ReleaseOptions {
  readonly root: string;
  readonly kept: BundleOptions['kept'];
  readonly version: string;
  /** What git calls the commit that is built. */
  readonly commit: string;
  readonly modifiedSeconds: number;
  readonly targets: readonly Target[];
  readonly install: (target: Target) => Installed;
  readonly compression: number;
  /** Undefined: the release is not signed, and install.sh refuses it. */
  readonly key: KeyObject | undefined;
  /** Where it is laid out first: beside `into`, which may be served meanwhile. */
  readonly staging: string;
  /** Becomes `into/VERSION/...`; what is there of that version must be the same. */
  readonly into: string;
  readonly onBuilt: (name: string, bytes: number) => void;
}

const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

/** Throws where the installer of this release would refuse what the key signs. */
const checkPinned = (installer: string, key: KeyObject): void => {
  const pem = publicPemOf(key);
  if (pinnedKeyIn(installer) === pem) return;
  throw new Error(
    `install.sh does not trust this key. Where it is the right one, set release_key in install.sh, and commit:\n${pem}`,
  );
};

/** What is in a bundle beside our sources. */
const contentsOf = ({ root, version, modifiedSeconds }: ReleaseOptions, target: Target): Contents => {
  const lockfile = readJson<Lockfile>(join(root, 'package-lock.json'));
  const runtimes = readJson<Lockfile>(join(root, 'scripts/release/runtime/package-lock.json'));
  const runtime = packagesFor(runtimes, [''], target).find(({ name }) => name === target.runtime);
  if (runtime === undefined) throw new Error(`scripts/release/runtime has no ${target.runtime}.`);
  return {
    version,
    target: target.name,
    modifiedSeconds,
    packages: packagesFor(lockfile, rooms, target),
    inEdge: packagesFor(lockfile, ['edge'], target),
    runtime,
  };
};

const buildTarget = async (options: ReleaseOptions, target: Target, directory: string): Promise<string[]> => {
  const { root, kept, version, modifiedSeconds, compression, install } = options;
  const name = `cognitora-${version}-${target.name}`;
  const work = join(directory, '.work');
  const folder = `cognitora-${version}`;
  const { packages: installed, runtime } = install(target);
  const contents = contentsOf(options, target);
  const { packages } = contents;
  layOut({ root, kept, target, packages, installed, runtime, into: join(work, folder) });
  const archive = `${name}.tar.gz`;
  await writeArchive({ root: work, folder, file: join(directory, archive), modifiedSeconds, compression });
  rmSync(work, { recursive: true });
  const sbom = `${name}.cdx.json`;
  writeFileSync(join(directory, sbom), `${JSON.stringify(sbomOf(contents), undefined, 2)}\n`);
  return [archive, sbom];
};

/** Hosts that have a version do not take another one of that name. */
const refusedOver = (release: string, why: string): Error =>
  new Error(
    `${release} is there already, ${why}: raise the version (docs/design/0012-release.md), or remove that folder ` +
      'where no host installed from it.',
  );

const textIn = (path: string): string | undefined =>
  existsSync(path) ? readFileSync(path, 'utf8') : undefined;

/** Resolves with the folder of the release. */
export const buildRelease = async (options: ReleaseOptions): Promise<string> => {
  const { root, version, commit, targets, key, staging, into, onBuilt } = options;
  const installer = join(root, 'install.sh');
  if (key !== undefined) checkPinned(readFileSync(installer, 'utf8'), key);
  const release = join(into, version);
  if (existsSync(release) && textIn(join(release, 'COMMIT')) !== `${commit}\n`)
    throw refusedOver(release, 'built from another commit');
  const unfinished = join(staging, version);
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const names = ['install.sh', 'COMMIT'];
  copyFileSync(installer, join(unfinished, 'install.sh'));
  writeFileSync(join(unfinished, 'COMMIT'), `${commit}\n`);
  for (const target of targets) {
    for (const name of await buildTarget(options, target, unfinished)) {
      names.push(name);
      onBuilt(name, statSync(join(unfinished, name)).size);
    }
  }
  const sums = sumsOf(names.map((name) => ({ name, path: join(unfinished, name) })));
  if (existsSync(release) && textIn(join(release, 'SHA256SUMS')) !== sums)
    throw refusedOver(release, 'with other sums (of other targets, or by another Node)');
  writeFileSync(join(unfinished, 'SHA256SUMS'), sums);
  if (key !== undefined) writeFileSync(join(unfinished, 'SHA256SUMS.sig'), signatureOf(sums, key));
  mkdirSync(into, { recursive: true });
  rmSync(release, { recursive: true, force: true });
  renameSync(unfinished, release);
  copyFileSync(installer, join(into, 'install.sh'));
  writeFileSync(join(into, 'latest'), `${version}\n`);
  return release;
};
