/**
 * One release in a folder: for each target a bundle and its bill of materials, the installer, SHA256SUMS and, with a
 * key, its signature; `latest` beside it. Where packages come from is the caller's business.
 */
import type { KeyObject } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
  readonly modifiedSeconds: number;
  readonly targets: readonly Target[];
  readonly install: (target: Target) => Installed;
  readonly compression: number;
  /** Undefined: the release is not signed, and install.sh refuses it. */
  readonly key: KeyObject | undefined;
  /** Becomes `into/VERSION/...`; what was there of that version goes. */
  readonly into: string;
  readonly onBuilt: (file: string) => void;
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

/** Resolves with the folder of the release. */
export const buildRelease = async (options: ReleaseOptions): Promise<string> => {
  const { root, version, targets, key, into, onBuilt } = options;
  const installer = join(root, 'install.sh');
  if (key !== undefined) checkPinned(readFileSync(installer, 'utf8'), key);
  const unfinished = join(into, `.${version}`);
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const names = ['install.sh'];
  copyFileSync(installer, join(unfinished, 'install.sh'));
  for (const target of targets) {
    for (const name of await buildTarget(options, target, unfinished)) {
      names.push(name);
      onBuilt(join(unfinished, name));
    }
  }
  const sums = sumsOf(names.map((name) => ({ name, path: join(unfinished, name) })));
  writeFileSync(join(unfinished, 'SHA256SUMS'), sums);
  if (key !== undefined) writeFileSync(join(unfinished, 'SHA256SUMS.sig'), signatureOf(sums, key));
  const release = join(into, version);
  rmSync(release, { recursive: true, force: true });
  renameSync(unfinished, release);
  writeFileSync(join(into, 'latest'), `${version}\n`);
  return release;
};
