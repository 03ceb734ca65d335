/**
 * Reads from wrangler.toml what a deploy of the edge needs beside its bundle, so that `wrangler deploy` and the stack
 * "cloudflare" bring up the same Worker. A key that it does not know is an error: the stack would leave it out. Pure.
 */
import { parse } from 'smol-toml';

export interface Migration {
  readonly tag: string;
  readonly newSqliteClasses: readonly string[];
}

export interface WorkerPlan {
  readonly name: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  readonly objects: readonly { readonly name: string; readonly className: string }[];
  readonly migrations: readonly Migration[];
}

type Table = Readonly<Record<string, unknown>>;

/** Of no account to what is uploaded. */
const ofWranglerAlone = ['main', 'send_metrics'];

const fail = (problem: string): never => {
  throw new Error(`wrangler.toml: ${problem}`);
};

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (table: Table, key: string): string => {
  const value = table[key];
  return typeof value === 'string' ? value : fail(`${key} must be a text`);
};

const textsOf = (table: Table, key: string): readonly string[] => {
  const value = table[key];
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
  return fail(`${key} must be a list of texts`);
};

const tablesOf = (table: Table, key: string): readonly Table[] => {
  const value = table[key];
  if (Array.isArray(value) && value.every(isTable)) return value;
  return fail(`${key} must be a list of tables`);
};

const onlyKeys = (table: Table, where: string, known: readonly string[]): void => {
  const unknown = Object.keys(table).filter((key) => !known.includes(key));
  if (unknown.length === 0) return;
  fail(`${where} has ${unknown.join(', ')}, which infra/src/wrangler-toml.ts does not read: add it there`);
};

export const readWranglerToml = (source: string): WorkerPlan => {
  const toml: Table = parse(source);
  const known = [
    'name',
    'compatibility_date',
    'compatibility_flags',
    'vars',
    'durable_objects',
    'migrations',
  ];
  onlyKeys(toml, 'the file', [...known, ...ofWranglerAlone]);
  const vars = isTable(toml.vars) ? toml.vars : {};
  const objects = isTable(toml.durable_objects) ? toml.durable_objects : fail('durable_objects is missing');
  onlyKeys(objects, 'durable_objects', ['bindings']);
  return {
    name: textOf(toml, 'name'),
    compatibilityDate: textOf(toml, 'compatibility_date'),
    compatibilityFlags: textsOf(toml, 'compatibility_flags'),
    variables: Object.fromEntries(Object.keys(vars).map((key) => [key, textOf(vars, key)])),
    objects: tablesOf(objects, 'bindings').map((binding) => {
      onlyKeys(binding, 'a binding', ['name', 'class_name']);
      return { name: textOf(binding, 'name'), className: textOf(binding, 'class_name') };
    }),
    migrations: tablesOf(toml, 'migrations').map((migration) => {
      onlyKeys(migration, 'a migration', ['tag', 'new_sqlite_classes']);
      return { tag: textOf(migration, 'tag'), newSqliteClasses: textsOf(migration, 'new_sqlite_classes') };
    }),
  };
};

/** What is left to do where the last migration that was done is the one of that tag; empty: none was. */
export const pendingMigrations = (
  migrations: readonly Migration[],
  doneTag: string,
): readonly Migration[] => {
  if (doneTag === '') return migrations;
  const done = migrations.findIndex(({ tag }) => tag === doneTag);
  if (done >= 0) return migrations.slice(done + 1);
  return fail(`the deployed Worker has migration ${doneTag}, which is none of these: this clone is too old`);
};
