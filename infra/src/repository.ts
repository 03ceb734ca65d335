/** Reads what the stacks need of this clone, and files that a stack's configuration names. Nothing else here reads. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ConfigError } from './config.ts';
import type { FleetConfig } from './fleet-config.ts';
import { type HostSources, kvcachedConfigDefault } from './host/host-files.ts';

const root = resolve(import.meta.dirname, '../..');

const readOrSay = (path: string, fix: string): string => {
  if (!existsSync(path)) throw new ConfigError([`${path} is not there: ${fix}`]);
  return readFileSync(path, 'utf8');
};

const sourceOf = (path: string, fix = 'use a whole clone of the repository.'): string =>
  readOrSay(join(root, path), fix);

/** What a fleet's hosts are made from. */
export interface FleetFiles {
  readonly agentConfig: string;
  readonly kvcachedConfig: string | undefined;
  readonly setup: string | undefined;
  readonly sources: HostSources;
}

const howToRelease = 'docs/design/0012-release.md, "Who signs"';

/** Hosts install what a release's key has signed, and nothing else: without one they could never join. */
const checkInstaller = (text: string, { releaseUrl }: FleetConfig): void => {
  const problems: string[] = [];
  if (!/^release_key='[^']+'/m.test(text)) {
    problems.push(
      'install.sh of this clone has no release_key, so no host could install anything, or join: build, ' +
        `sign and serve a release, and commit the public half of its key in install.sh (${howToRelease}).`,
    );
  }
  if (releaseUrl === undefined && !/^release_url='[^']+'/m.test(text)) {
    problems.push(
      'install.sh of this clone has no release_url, so hosts do not know where releases lie: write it ' +
        "there, or pulumi config set releaseUrl 'https://mirror.example/cgn'",
    );
  }
  if (problems.length > 0) throw new ConfigError(problems);
};

/**
 * `directory` is the stack's: paths in its configuration are relative to it. Throws `ConfigError` where hosts could not
 * be made from what is there.
 */
export const readFleetFiles = (
  config: FleetConfig,
  directory: string,
  installScript = sourceOf('install.sh'),
): FleetFiles => {
  checkInstaller(installScript, config);
  const fileOf = (key: 'agentFile' | 'kvcachedFile' | 'setupFile'): string | undefined => {
    const path = config[key];
    if (path === undefined) return undefined;
    return readOrSay(
      resolve(directory, path),
      `pulumi config set ${key} names it, relative to ${directory}.`,
    );
  };
  return {
    agentConfig: fileOf('agentFile') ?? '',
    kvcachedConfig: config.peers ? (fileOf('kvcachedFile') ?? kvcachedConfigDefault) : undefined,
    setup: fileOf('setupFile'),
    sources: {
      installScript,
      agentUnit: sourceOf('docs/cognitora-agent.service'),
      kvcachedUnit: sourceOf('docs/cognitora-kvcached.service'),
    },
  };
};

/** What the edge on Cloudflare is made from. */
export interface EdgeFiles {
  /** The bundle that `wrangler deploy` would upload. */
  readonly worker: string;
  readonly wranglerToml: string;
}

export const readEdgeFiles = (): EdgeFiles => ({
  worker: sourceOf('edge/dist/worker.js', 'build it with "npm ci" or "npm run build" at the root.'),
  wranglerToml: sourceOf('wrangler.toml'),
});
