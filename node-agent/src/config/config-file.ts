/**
 * A configuration file as TOML, and where each of its keys stands. Reads bounded files; knows no key by name. What a
 * value means is `parse.ts`'s.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { parse, TomlError } from 'smol-toml';
import { ConfigError } from './agent-config.ts';
import { configBytesMax } from './limits.ts';

/** Throws as `fs` does, and a `RangeError` when the file is longer. */
export const readBoundedFile = (path: string, bytesMax: number): string => {
  const descriptor = openSync(path, 'r');
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
      return new ConfigFile(path, readBoundedFile(path, configBytesMax));
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
   * after the last whole part of the file that does not have the key. Only errors need it.
   */
  lineOf(path: KeyPath): number {
    let begun = 1;
    let part = '';
    for (const [at, line] of this.#lines.entries()) {
      part += `${line}\n`;
      const table = tomlIn(part);
      if (table === undefined) continue;
      if (hasKey(table, path)) return begun;
      begun = at + 2;
    }
    return 1;
  }
}
