/** Reads a unit of systemd under docs/, for the tests that hold it against what it starts. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

export interface ServiceUnit {
  /** All values of a setting, in their order; of those that are only proposed with a `#` before it. */
  readonly valuesOf: (setting: string) => readonly string[];
  /** Paths below /opt/cognitora that it names, and those of them that this repository lacks. */
  readonly installed: readonly string[];
  readonly missing: readonly string[];
  /** Variables that it sets. */
  readonly variables: readonly string[];
}

export const readUnit = (path: string): ServiceUnit => {
  const unit = readFileSync(join(root, path), 'utf8');
  const valuesOf = (setting: string): readonly string[] =>
    [...unit.matchAll(new RegExp(`^${setting}=(.*)$`, 'gm'))].map(([, value = '']) => value);
  const installed = [...unit.matchAll(/\/opt\/cognitora\/([\w./-]+)/g)].map(([, each = '']) => each);
  return {
    valuesOf,
    installed,
    missing: installed.filter((each) => !existsSync(join(root, each))),
    variables:
      valuesOf('Environment')
        .join(' ')
        .match(/COGNITORA_\w+(?==)/g) ?? [],
  };
};
