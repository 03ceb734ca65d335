/**
 * Builds the edge's bundle with `wrangler deploy --dry-run`, the same that a deploy uploads, into `edge/dist`. Does
 * nothing when the bundle was built from just these sources: `cgn up` calls it at each start.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const distribution = join(root, 'edge/dist');
const stampPath = join(distribution, 'sources.sha256');

const sourcesHash = (): string => {
  const hash = createHash('sha256');
  const files = globSync(['edge/src/**/*.ts', 'protocol/src/**/*.ts'], { cwd: root })
    .filter((file) => !file.endsWith('.test.ts'))
    .sort();
  for (const file of [...files, 'wrangler.toml', 'package-lock.json']) {
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  }
  return hash.digest('hex');
};

/** True when the bundle in `edge/dist` is that of the sources as they are. */
export const isBundleFresh = (): boolean =>
  existsSync(join(distribution, 'worker.js')) &&
  existsSync(stampPath) &&
  readFileSync(stampPath, 'utf8') === sourcesHash();

/** Builds the bundle unless it is fresh. Throws with wrangler's output when it can't be built. */
export const buildEdge = (): void => {
  if (isBundleFresh()) return;
  const hash = sourcesHash();
  const fresh = `${distribution}.${process.pid}.new`;
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js');
  execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', fresh], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' },
  });
  writeFileSync(join(fresh, 'sources.sha256'), hash);
  rmSync(distribution, { recursive: true, force: true });
  renameSync(fresh, distribution);
};

if (process.argv[1] === fileURLToPath(import.meta.url)) buildEdge();
