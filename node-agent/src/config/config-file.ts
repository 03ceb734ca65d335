/**
 * A configuration file as TOML, and where each of its keys stands. Reads bounded files; knows no key by name. What a
 * value means is `parse.ts`'s.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { parse, TomlError } from 'smol-toml';
import { ConfigError } from './agent-config.ts';
import { configBytesMax } from './limits.ts';

/** Throws as `fs` does, and a `RangeError` when the file is longer. */
export const readBoundedFile = (path: string, bytesMax: number): string =>
  readBounded(openSync(path, 'r'), path, bytesMax);

/** `/dev/null` says that there is none; a pipe would be waited for. Throws as above, and `ConfigError`. */
const readConfigFile = (path: string): string => {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = fstatSync(descriptor);
  if (found.isFile() || found.isCharacterDevice()) return readBounded(descriptor, path, configBytesMax);
  closeSync(descriptor);
  throw new ConfigError(`The configuration file ${path} is no file.`);
};

const readBounded = (descriptor: number, path: string, bytesMax: number): string => {
  try {
    const bytes = Buffer.alloc(bytesMax + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(descriptor, bytes, length, bytes.length - length, null);
    }
    if (length > bytesMax) throw new RangeError(`${path} is longer than ${bytesMax} bytes.`);
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(descriptor);
  }
};

/** Names of keys, and numbers of the entries of an array of tables. */
export type KeyPath = readonly (string | number)[];

const hasKey = (table: unknown, path: KeyPath): boolean => {
  let here = table;
  for (const step of path) {
    if (Array.isArray(here)) here = here[Number(step)];
    else if (isRecord(here) && Object.hasOwn(here, step)) here = here[step];
    else return false;
    if (here === undefined) return false;
  }
  return true;
};

const tomlIn = (text: string): JsonRecord | undefined => {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
};

/** Text that is read to find a line: a second of it. A statement of thousands of lines may be missed by a few. */
const searchedCharsMax = 16 * 1024 * 1024;

/** Strictly between both, the one that is nearest to their middle from below, else from above. */
const wholePartBetween = (
  low: number,
  high: number,
  part: (lines: number) => JsonRecord | undefined,
  mayGoOn: () => boolean,
): { readonly lines: number; readonly table: JsonRecord } | undefined => {
  const middle = (low + high) >> 1;
  for (let lines = middle; lines > low && mayGoOn(); lines -= 1) {
    const table = part(lines);
    if (table !== undefined) return { lines, table };
  }
  for (let lines = middle + 1; lines < high && mayGoOn(); lines += 1) {
    const table = part(lines);
    if (table !== undefined) return { lines, table };
  }
  return undefined;
};

export class ConfigFile {
  readonly path: string;
  readonly table: JsonRecord;
  readonly #lines: readonly string[];

  /** Throws `ConfigError`. */
  constructor(path: string, text: string) {
    this.path = path;
    this.#lines = text.split('\n');
    try {
      this.table = parse(text);
    } catch (thrown) {
      if (!(thrown instanceof TomlError)) throw thrown;
      const [told = ''] = thrown.message.split('\n');
      throw new ConfigError(`${path}:${thrown.line}: ${told.replace(/^Invalid TOML document: /, '')}.`);
    }
  }

  /** Throws `ConfigError`. */
  static read(path: string): ConfigFile {
    try {
      return new ConfigFile(path, readConfigFile(path));
    } catch (thrown) {
      if (thrown instanceof RangeError) throw new ConfigError(thrown.message);
      if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown;
      throw new ConfigError(`The configuration file ${path} cannot be read: ${thrown.code}.`);
    }
  }

  /** `agent.toml:12`, for an error. */
  at(path: KeyPath): string {
    return `${this.path}:${this.lineOf(path)}`;
  }

  /**
   * The line on which a key's statement begins. Found with the one TOML parser that there is: the statement begins
   * after the last whole part of the file that does not have the key, which is looked for by halves: reading every part
   * takes half a minute for the longest file. Only errors need it.
   */
  lineOf(path: KeyPath): number {
    if (!hasKey(this.table, path)) return 1;
    let charsLeft = searchedCharsMax;
    /** The first so many lines; undefined where they end within a statement. */
    const part = (lines: number): JsonRecord | undefined => {
      const text = `${this.#lines.slice(0, lines).join('\n')}\n`;
      charsLeft -= text.length;
      return tomlIn(text);
    };
    // So many lines are whole and lack the key, so many have it.
    let lacking = 0;
    let having = this.#lines.length;
    while (charsLeft > 0) {
      const whole = wholePartBetween(lacking, having, part, () => charsLeft > 0);
      if (whole === undefined) break;
      if (hasKey(whole.table, path)) having = whole.lines;
      else lacking = whole.lines;
    }
    return lacking + 1;
  }
}
