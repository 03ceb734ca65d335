/**
 * Keys of files, and back: `<namespace>:<path below the directory>`, a path's bytes one a character, as keys are. What
 * is no path that a mirror writes or reads is undefined here and nowhere later. A file above a value's bound lies in
 * parts, whose keys have `//` behind the file's, which no path has. Pure.
 */
import { keyBytesMax } from '../../store.ts';

/** Directories below the root: vLLM makes three. */
export const depthMax = 8;
/** What file systems allow. */
const nameBytesMax = 255;
/** Behind a file's key for its parts. */
const suffixBytesMax = 16;

/** What engines and we write beside a file before it gets its name, and what hides. */
export const isTemporary = (name: string): boolean => /^\.|\.tmp(?:\.|$)|\.part(?:ial)?$|~$/.test(name);

const isName = (name: string): boolean =>
  name.length > 0 && name.length <= nameBytesMax && !/[\0/]|[^\0-\xff]/.test(name) && !isTemporary(name);

/** What it is not: the root itself, absolute, with `.` or `..`, hidden or temporary in any of its names, too deep. */
export const isPath = (path: string): boolean => {
  const names = path.split('/');
  return names.length <= depthMax + 1 && names.every(isName);
};

/** Undefined: such a file has no key. */
export const keyOf = (namespace: string, path: string): string | undefined => {
  const key = `${namespace}:${path}`;
  return isPath(path) && key.length <= keyBytesMax - suffixBytesMax ? key : undefined;
};

/** Undefined: the key is no file's of this namespace. */
export const pathOf = (namespace: string, key: string): string | undefined => {
  const path = key.slice(namespace.length + 1);
  return keyOf(namespace, path) === key ? path : undefined;
};

export const headKeyOf = (key: string): string => `${key}//head`;
export const partKeyOf = (key: string, part: number): string => `${key}//${part}`;
/** The file's, of any of its keys. */
export const fileKeyOf = (key: string): string => {
  const at = key.indexOf('//');
  return at === -1 ? key : key.slice(0, at);
};
