/**
 * Writes a folder as a .tar.gz that depends on nothing but names, contents and who may execute: entries sorted, one
 * time for all, no owners. The same Node gives the same bytes; another one may compress differently.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { create } from 'tar';

/** Paths of all files, links and folders below a folder, sorted by their bytes. */
const entriesOf = (root: string, below: string): string[] =>
  readdirSync(join(root, below))
    .sort()
    .flatMap((name) => {
      const path = `${below}/${name}`;
      return lstatSync(join(root, path)).isDirectory() ? [path, ...entriesOf(root, path)] : [path];
    });

export interface ArchiveOptions {
  /** The folder in `root` that the archive holds. */
  readonly root: string;
  readonly folder: string;
  readonly file: string;
  readonly modifiedSeconds: number;
  /** Of zlib: 9 for what is kept. */
  readonly compression: number;
}

export const writeArchive = async (options: ArchiveOptions): Promise<void> => {
  const { root, folder, file, modifiedSeconds, compression } = options;
  await create(
    {
      cwd: root,
      file,
      gzip: { level: compression },
      portable: true,
      noDirRecurse: true,
      mtime: new Date(modifiedSeconds * 1000),
    },
    [folder, ...entriesOf(root, folder)],
  );
};
