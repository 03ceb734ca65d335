/**
 * A configuration file as TOML, and where each of its keys stands. Reads bounded files; knows no key by name. The disk
 * and the TOML parser are its caller's: this room has neither. What a value means is `values.ts`'s.
 */
import { isRecord, type JsonRecord } from '../shape.ts';
import { ConfigError } from './config-error.ts';
import { configBytesMax, secretBytesMax } from './limits.ts';

/** What `node:fs` has. */
export interface ConfigDisk {
  existsSync(path: string): boolean;
  openSync(path: string, flags: number): number;
  fstatSync(descriptor: number): { isFile(): boolean; isCharacterDevice(): boolean };
  readSync(descriptor: number, into: Uint8Array, at: number, length: number, position: null): number;
  closeSync(descriptor: number): void;
  readonly constants: { readonly O_RDONLY: number; readonly O_NONBLOCK: number };
}

/** What `smol-toml` has. */
export interface Toml {
  parse(text: string): JsonRecord;
  readonly TomlError: new (...given: never[]) => Error & { readonly line: number };
}

export interface ConfigHost {
  readonly disk: ConfigDisk;
  readonly toml: Toml;
}

const readBounded = (disk: ConfigDisk, descriptor: number, path: string, bytesMax: number): string => {
  try {
    const bytes = new Uint8Array(bytesMax + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = disk.readSync(descriptor, bytes, length, bytes.length - length, null);
    }
    if (length > bytesMax) throw new RangeError(`${path} is longer than ${bytesMax} bytes.`);
    return new TextDecoder().decode(bytes.subarray(0, length));
  } finally {
    disk.closeSync(descriptor);
  }
};

/** Throws as the disk does, and a `RangeError` when the file is longer. */
export const readBoundedFile = (disk: ConfigDisk, path: string, bytesMax: number): string =>
  readBounded(disk, disk.openSync(path, disk.constants.O_RDONLY), path, bytesMax);

/** `/dev/null` says that there is none; a pipe would be waited for. Throws as above, and `ConfigError`. */
const readConfigFile = (disk: ConfigDisk, path: string): string => {
  const descriptor = disk.openSync(path, disk.constants.O_RDONLY | disk.constants.O_NONBLOCK);
  const found = disk.fstatSync(descriptor);
  if (found.isFile() || found.isCharacterDevice()) return readBounded(disk, descriptor, path, configBytesMax);
  disk.closeSync(descriptor);
  throw new ConfigError(`The configuration file ${path} is no file.`);
};

/** A secret's text out of its file. Throws `ConfigError`; `what` begins the sentence. */
export const readSecret = (disk: ConfigDisk, path: string, what: string): string => {
  let secret: string;
  try {
    secret = readBoundedFile(disk, path, secretBytesMax).trim();
  } catch (thrown) {
    const why = thrown instanceof RangeError ? 'is too long for one' : 'cannot be read';
    throw new ConfigError(`${what}: the file ${path} ${why}.`);
  }
  if (secret === '') throw new ConfigError(`${what}: the file ${path} is empty.`);
  return secret;
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

const tomlIn = ({ parse }: Toml, text: string): JsonRecord | undefined => {
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
  readonly #toml: Toml;

  /** Throws `ConfigError`. */
  constructor(path: string, text: string, toml: Toml) {
    this.path = path;
    this.#toml = toml;
    this.#lines = text.split('\n');
    try {
      this.table = toml.parse(text);
    } catch (thrown) {
      if (!(thrown instanceof toml.TomlError)) throw thrown;
      const [told = ''] = thrown.message.split('\n');
      throw new ConfigError(`${path}:${thrown.line}: ${told.replace(/^Invalid TOML document: /, '')}.`);
    }
  }

  /** Throws `ConfigError`. */
  static read(path: string, { disk, toml }: ConfigHost): ConfigFile {
    try {
      return new ConfigFile(path, readConfigFile(disk, path), toml);
    } catch (thrown) {
      if (thrown instanceof RangeError) throw new ConfigError(thrown.message);
      if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown;
      throw new ConfigError(`The configuration file ${path} cannot be read: ${thrown.code}.`);
    }
  }

  /** The file that is named; else the host's own, where it is there. Throws `ConfigError`. */
  static find(named: string | undefined, hostsOwn: string, host: ConfigHost): ConfigFile | undefined {
    if (named !== undefined) return ConfigFile.read(named, host);
    return host.disk.existsSync(hostsOwn) ? ConfigFile.read(hostsOwn, host) : undefined;
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
      return tomlIn(this.#toml, text);
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
