/**
 * Files of llama.cpp's source: the release that `node-llama-cpp` was built from, which npm installs with it as a git
 * bundle. Unpacked once, beside what npm installed; nothing is fetched. Only tests import it.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import path from 'node:path';

/** The largest vocabulary has 16 MB. */
const fileBytesMax = 32 * 1024 * 1024;

const git = (...args: readonly string[]): Buffer => execFileSync('git', args, { maxBuffer: fileBytesMax });

/** Makes a file or folder whole or not at all: test files that run side by side may all want it. */
const madeOnce = (target: string, make: (at: string) => void): string => {
  if (existsSync(target)) return target;
  const made = `${target}.${randomUUID()}`;
  make(made);
  try {
    renameSync(made, target);
  } catch (thrown) {
    rmSync(made, { recursive: true, force: true });
    // Another was faster.
    if (!existsSync(target)) throw thrown;
  }
  return target;
};

/** Where the unpacked release is, and what is taken from it. */
const unpacked = (): string => {
  const found = findPackageJSON('node-llama-cpp', new URL('../../../../embedded-engine/', import.meta.url));
  if (found === undefined) throw new Error('node-llama-cpp is not installed: npm ci');
  const installed = path.dirname(found);
  const { version } = JSON.parse(readFileSync(found, 'utf8')) as { readonly version: string };
  const folder = path.join(path.dirname(installed), '.cache', 'cognitora', `llama.cpp-of-${version}`);
  mkdirSync(folder, { recursive: true });
  madeOnce(path.join(folder, 'source.git'), (at) => {
    git('clone', '--quiet', '--bare', path.join(installed, 'llama', 'gitRelease.bundle'), at);
  });
  return folder;
};

/** Where a file of the release lies, by its path in llama.cpp's repository. */
export const llamaCppFile = (name: string): string => {
  const folder = unpacked();
  return madeOnce(path.join(folder, path.basename(name)), (at) => {
    writeFileSync(at, git('--git-dir', path.join(folder, 'source.git'), 'cat-file', 'blob', `HEAD:${name}`));
  });
};

export const llamaCppText = (name: string): string => readFileSync(llamaCppFile(name), 'utf8');
