/**
 * One table of keys read from one table of a file, and from options and variables that go before it. Refuses what no
 * key is, naming the nearest one, and what looks like a secret. Knows the keys only as the schema's tables.
 */
import { isRecord, type JsonRecord } from '../shape.ts';
import { ConfigError, Problems } from './config-error.ts';
import type { ConfigFile, KeyPath } from './config-file.ts';
import { nearestOf } from './nearest.ts';
import { type Schema, type Section, type Values, variableOf } from './schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Of a key that holds a secret itself, where a `_file` would name its place. */
const secretPattern = /(?:^|[_-])(?:token|api_?key|key|secret|password|passwd|credentials?)$/i;
export const looksSecret = (name: string): boolean => secretPattern.test(name);

/** A secret's key, and where it goes instead. */
const refuseSecret = (where: string, { secretKey }: Schema, section: Section, name: string): void => {
  if (!looksSecret(name)) return;
  const fits = Object.keys(section.keys).filter((known) => known.endsWith('_file'));
  const fix = nearestOf(`${name}_file`, fits) || secretKey;
  const example = `/etc/cognitora/${fix.replace(/_file$/, '').replaceAll('_', '-')}`;
  throw new ConfigError(
    `${where}: "${name}" looks like a secret, which must not stand in this file. ` +
      `Put it into a file that only the daemon may read, and name that: ${fix} = "${example}".`,
  );
};

const placeOf = ({ header }: Section): string =>
  header === '' ? 'at the top of the file, before the first [table]' : `in ${header}`;

/** The key that was meant, here or in another table. */
const meant = ({ sections }: Schema, section: Section, name: string): string => {
  const elsewhere = sections.find((other) => other !== section && Object.hasOwn(other.keys, name));
  if (elsewhere !== undefined) return `it belongs ${placeOf(elsewhere)}`;
  const isTop = section.table === '' && section.header === '';
  const tables = isTop ? sections.filter((other) => other !== section) : [];
  const known = [...Object.keys(section.keys), ...tables.map(({ table }) => table)];
  const nearest = nearestOf(name, known);
  const header = tables.find(({ table }) => table === nearest)?.header;
  return `the nearest known one is ${header ?? `"${nearest}"`}`;
};

/** Throws `ConfigError` for all keys of the table that the section does not have. */
export const refuseUnknown = (
  file: ConfigFile,
  schema: Schema,
  section: Section,
  table: Readonly<Record<string, unknown>>,
  path: KeyPath,
  beside: readonly string[] = [],
): void => {
  const problems = new Problems();
  for (const name of Object.keys(table)) {
    if (Object.hasOwn(section.keys, name) || beside.includes(name)) continue;
    problems.within(() => {
      const where = file.at([...path, name]);
      refuseSecret(where, schema, section, name);
      const place = placeOf(section);
      throw new ConfigError(
        `${where}: there is no key "${name}" ${place}; ${meant(schema, section, name)}. ` +
          `See ${schema.documentation}.`,
      );
    });
  }
  problems.throwIfAny();
};

export interface Given {
  /** Of the section in the file. */
  readonly table: Readonly<Record<string, unknown>>;
  /** How a key of the table is called in an error, or the table itself. */
  readonly called: (name?: string) => string;
  /** By option, without its dashes. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly environment: Environment;
}

/** `agent.toml:12: name`; nothing where there is no file. */
export const callerOf =
  (file: ConfigFile | undefined, path: KeyPath): Given['called'] =>
  (name) =>
    file === undefined ? '' : name === undefined ? file.at(path) : `${file.at([...path, name])}: ${name}`;

export interface Sources {
  readonly file: ConfigFile | undefined;
  readonly options: Given['options'];
  readonly environment: Environment;
}

/**
 * All keys of a section of which there is one, out of all its sources. Throws one `ConfigError` for keys that are none
 * and for all that are wrong, and for what `check` finds in those that are right.
 */
export const readTable = <Keys extends Section['keys']>(
  schema: Schema,
  section: Section<Keys>,
  { file, options, environment }: Sources,
  check?: (values: Partial<Values<Keys>>, problems: Problems) => void,
): Values<Keys> => {
  const { table: name } = section;
  const path = name === '' ? [] : [name];
  const table = name === '' ? (file?.table ?? {}) : (file?.table[name] ?? {});
  if (!isRecord(table)) throw new ConfigError(`${file?.at(path)}: "${name}" must be a table: [${name}]`);
  const beside = name === '' ? schema.sections.map((other) => other.table) : [];
  const problems = new Problems();
  if (file !== undefined) problems.within(() => refuseUnknown(file, schema, section, table, path, beside));
  const given = { table, called: callerOf(file, path), options, environment };
  const values = readKeys(section, given, problems);
  check?.(values, problems);
  problems.throwIfAny();
  // None is wrong, so all are there.
  return values as Values<Keys>;
};

/** The tables of an array of them. Throws `ConfigError`. */
export const tablesOf = (
  file: ConfigFile,
  { table: name, header }: Section,
  { max, says }: { readonly max: number; readonly says: string },
): readonly JsonRecord[] => {
  const tables = file.table[name] ?? [];
  if (Array.isArray(tables) && tables.every(isRecord)) {
    if (tables.length <= max) return tables;
    throw new ConfigError(`${file.path}: at most ${max} ${says}.`);
  }
  throw new ConfigError(`${file.at([name])}: each ${name} is an entry of its own: ${header}`);
};

interface Found {
  readonly value: unknown;
  /** As it was typed, where it was. */
  readonly typed?: string;
  /** How it is called where it was found, for an error. */
  readonly called: () => string;
}

/** An option goes before a variable, a variable before the file. */
const find = (section: Section, name: string, given: Given): Found | undefined => {
  const { kind, option } = section.keys[name] ?? {};
  const [optionName] = option ?? [];
  const ofOption = optionName === undefined ? undefined : given.options[optionName];
  if (typeof ofOption === 'string')
    return { value: kind?.ofText(ofOption), typed: ofOption, called: () => `--${optionName}` };
  const variable = variableOf(section, name);
  // An empty variable is how scripts say that there is none.
  const ofVariable = variable === undefined ? undefined : given.environment[variable] || undefined;
  if (ofVariable !== undefined && variable !== undefined)
    return { value: kind?.ofText(ofVariable), typed: ofVariable, called: () => variable };
  if (!Object.hasOwn(given.table, name)) return undefined;
  return { value: given.table[name], called: () => given.called(name) };
};

const readKey = (section: Section, name: string, given: Given): unknown => {
  const key = section.keys[name];
  if (key === undefined) return undefined;
  const found = find(section, name, given);
  if (found === undefined) {
    if (key.isRequired !== true) return key.fallback?.();
    const place = given.called();
    const option =
      key.option === undefined ? '' : `--${key.option[0]} ${key.example.replaceAll('"', '')}, or `;
    const header = section.header === '' ? '' : ` in ${section.header}`;
    throw new ConfigError(
      `${place === '' ? '' : `${place}: `}"${name}"${header} is missing: ${option}${name} = ${key.example}`,
    );
  }
  const hidden = key.kind.mayHide?.(found.value);
  if (hidden !== undefined) throw new ConfigError(`${found.called()} ${hidden}`);
  const value = key.kind.read(found.value);
  if (value !== undefined) return value;
  throw new ConfigError(
    `${found.called()} must be ${key.kind.says}, not ${shown(found.typed ?? found.value)}.`,
  );
};

const shownCharsMax = 80;

/** A wrong value in words; what is long is cut. Texts of a list may be arguments that nobody should read. */
const shown = (value: unknown): string => {
  const isOfNumbers = Array.isArray(value) && value.every((each) => typeof each === 'number');
  if (Array.isArray(value) && !isOfNumbers) return `a list of ${value.length}`;
  if (isRecord(value)) return 'a table';
  const text = typeof value === 'string' || isOfNumbers ? JSON.stringify(value) : String(value);
  return text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}...` : text;
};

/** Keys that are wrong are undefined. */
const readKeys = <Keys extends Section['keys']>(
  section: Section<Keys>,
  given: Given,
  problems: Problems,
): Partial<Values<Keys>> => {
  const values = Object.keys(section.keys).map((name) => [
    name,
    problems.within(() => readKey(section, name, given)),
  ]);
  // Each value was read by its own key's kind.
  return Object.fromEntries(values) as Partial<Values<Keys>>;
};

/** All keys of the section. Throws one `ConfigError` for all that are wrong. */
export const readSection = <Keys extends Section['keys']>(
  section: Section<Keys>,
  given: Given,
): Values<Keys> => {
  const problems = new Problems();
  const values = readKeys(section, given, problems);
  problems.throwIfAny();
  return values as Values<Keys>;
};
