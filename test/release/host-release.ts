/**
 * The release of this repository for this machine: what `npm run release` builds, from what `npm ci` installed here,
 * packed without compression and signed by a key of the test.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { version } from '../../protocol/src/version.ts';
import { edgeBundle, isShipped } from '../../scripts/release/bundle.ts';
import { buildRelease } from '../../scripts/release/release.ts';
import { hostTarget, type Target } from '../../scripts/release/targets.ts';
import { installerFor, newKey } from './small-release.ts';

export const repository = join(import.meta.dirname, '../..');

const thisMachine = (): Target => {
  const target = hostTarget();
  if (target === undefined) throw new Error(`No release is built for ${process.platform} ${process.arch}.`);
  return target;
};
export const host = thisMachine();

/** Of the files that git keeps, with their modes. */
export const shipped = execFileSync('git', ['ls-files', '-s', '-z'], { cwd: repository, encoding: 'utf8' })
  .split('\0')
  .map((line) => ({ mode: Number.parseInt(line, 8), path: line.slice(line.indexOf('\t') + 1) }))
  .filter(({ path }) => isShipped(path));

/** Resolves with its installer; the release is `place/releases/VERSION`. */
export const buildHostRelease = async (place: string): Promise<string> => {
  const key = newKey();
  const root = join(place, 'sources');
  const alsoRead = [edgeBundle, 'package-lock.json', 'scripts/release/runtime/package-lock.json'];
  for (const path of [...shipped.map((file) => file.path), ...alsoRead]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(join(repository, path), join(root, path));
  }
  // As whoever publishes commits it.
  const installer = join(root, 'install.sh');
  writeFileSync(installer, installerFor(key));
  await buildRelease({
    root,
    kept: shipped,
    version,
    commit: 'of this tree',
    modifiedSeconds: 0,
    targets: [host],
    install: () => ({
      packages: repository,
      runtime: join(repository, 'node_modules/node/node_modules', host.runtime),
    }),
    compression: 0,
    key,
    staging: join(place, 'staging'),
    into: join(place, 'releases'),
    onBuilt: () => {},
  });
  return installer;
};
