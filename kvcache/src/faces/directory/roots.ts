/**
 * Directories that this process mirrors: none may lie in another one, or a file would be two keys' and removed by
 * both.
 */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const mirrored = new Set<string>();

/** Where the directory is or will be, links resolved. */
const placeOf = async (directory: string): Promise<string> => {
  try {
    return await realpath(directory);
  } catch {
    const parent = dirname(directory);
    return parent === directory ? directory : join(await placeOf(parent), basename(directory));
  }
};

const isWithin = (inner: string, outer: string): boolean =>
  inner === outer || inner.startsWith(outer.endsWith('/') ? outer : `${outer}/`);

/** Of the directory, for `giveBack`. Throws when it overlaps with one that is taken. */
export const takeRoot = async (directory: string): Promise<string> => {
  const place = await placeOf(directory);
  for (const other of mirrored) {
    if (isWithin(place, other) || isWithin(other, place))
      throw new Error(`the mirror of ${directory} overlaps with that of ${other}: mirror one of them`);
  }
  mirrored.add(place);
  return place;
};

export const giveBackRoot = (place: string): void => {
  mirrored.delete(place);
};
