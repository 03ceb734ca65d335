/**
 * kvcached's configuration: options, environment and file, read once into a readonly value; options go before the
 * environment, that before the file. All that is wrong is told at once, with what is possible. The password comes from
 * a file or the environment, never from argv.
 */
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigError, Problems } from '@cognitora/protocol/config/config-error';
import { ConfigFile, type KeyPath, readSecret } from '@cognitora/protocol/config/config-file';
import { shownListen } from '@cognitora/protocol/config/kinds';
import { optionsOf, type Section, type Values } from '@cognitora/protocol/config/schema';
import {
  callerOf,
  readSection,
  readTable,
  refuseUnknown,
  type Sources,
  tablesOf,
} from '@cognitora/protocol/config/values';
import { messageOf } from '@cognitora/protocol/errors';
import { isLoopback } from '@cognitora/protocol/host-names';
import { kvDaemonSocketName, kvMirrorsMax, type NamespaceFields } from '@cognitora/protocol/kv-daemon';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { valueBytesMax } from '../store.ts';
import { pageBytes } from '../tiers/ram/extents.ts';
import { configHost } from './config-host.ts';
import type { DaemonOptions, MirrorOptions, NamespaceOptions, PeersOptions } from './options.ts';
import {
  configVariable,
  fieldsSection,
  kvcachedSchema,
  mirrorSection,
  namespaceSection,
  namespacesMax,
  peersSection,
  secretVariables,
  type topKeys,
  topSection,
} from './schema.ts';

export interface ParsedOptions {
  readonly options: DaemonOptions;
  /** The file it was read from, if any. */
  readonly path: string | undefined;
  /** It is only to be shown. */
  readonly isCheck: boolean;
}

const argvOptions = {
  config: { type: 'string' },
  'check-config': { type: 'boolean' },
  ...Object.fromEntries(optionsOf(kvcachedSchema).map((name) => [name, { type: 'string' as const }])),
  help: { type: 'boolean', short: 'h' },
} as const;

const argvValues = (argv: readonly string[]) => {
  try {
    return parseArgs({ args: [...argv], options: argvOptions, strict: true, allowPositionals: false }).values;
  } catch (thrown) {
    const [told = ''] = messageOf(thrown).split('. ');
    throw new ConfigError(`${told}. See "cgn kvcached --help".`);
  }
};

const readFields = (file: ConfigFile, table: JsonRecord, path: KeyPath): NamespaceFields => {
  const problems = new Problems();
  problems.within(() => refuseUnknown(file, kvcachedSchema, fieldsSection, table, path));
  const given = { table, called: callerOf(file, path), options: {}, environment: {} };
  const read = problems.within(() => readSection(fieldsSection, given));
  problems.throwIfAny();
  if (read === undefined) throw new Error('nothing was read, and nothing was wrong');
  const { block_tokens: blockTokens, hash_algorithm: hashAlgorithm, more, ...same } = read;
  const all = { ...same, blockTokens, hashAlgorithm, more: more && Object.fromEntries(more) };
  const said = Object.entries(all).filter(([, value]) => value !== undefined);
  return Object.fromEntries(said) as unknown as NamespaceFields;
};

/** Each entry of an array of tables, by its own section; all that is wrong with them at once. */
const entriesOf = <Entry>(
  { file }: Sources,
  section: Section,
  bounds: { readonly max: number; readonly says: string },
  read: (file: ConfigFile, table: JsonRecord, path: KeyPath) => Entry,
): readonly Entry[] => {
  if (file === undefined) return [];
  const problems = new Problems();
  const entries = tablesOf(file, section, bounds).flatMap((table, index) => {
    const path = [section.table, index];
    problems.within(() => refuseUnknown(file, kvcachedSchema, section, table, path));
    const entry = problems.within(() => read(file, table, path));
    return entry === undefined ? [] : [entry];
  });
  problems.throwIfAny();
  return entries;
};

/** Its keys, and its facts as they are read; all that is wrong with both at once. */
const entryOf = <Keys extends Section['keys']>(
  section: Section<Keys>,
  file: ConfigFile,
  table: JsonRecord,
  path: KeyPath,
): Omit<Values<Keys>, 'fields'> & { readonly fields: NamespaceFields } => {
  const given = { table, called: callerOf(file, path), options: {}, environment: {} };
  const problems = new Problems();
  const entry = problems.within(() => readSection(section, given));
  const facts = table.fields;
  const fields = isRecord(facts)
    ? problems.within(() => readFields(file, facts, [...path, 'fields']))
    : undefined;
  problems.throwIfAny();
  if (entry === undefined || fields === undefined) throw new Error('nothing was read, and nothing was wrong');
  return { ...entry, fields };
};

const namespacesOf = (sources: Sources): readonly NamespaceOptions[] => {
  const seen = new Set<number>();
  const bounds = { max: namespacesMax, says: 'namespaces' };
  return entriesOf(sources, namespaceSection, bounds, (file, table, path) => {
    const { database, fields } = entryOf(namespaceSection, file, table, path);
    if (seen.has(database)) {
      const where = file.at([...path, 'database']);
      throw new ConfigError(
        `${where}: database ${database} has a [[namespace]] already; a database has one.`,
      );
    }
    seen.add(database);
    return { database, fields };
  });
};

const mirrorsOf = (sources: Sources): readonly MirrorOptions[] => {
  const seen: string[] = [];
  const bounds = { max: kvMirrorsMax, says: 'mirrors' };
  return entriesOf(sources, mirrorSection, bounds, (file, table, path) => {
    const entry = entryOf(mirrorSection, file, table, path);
    const { directory: said, fields, max_bytes: bytesMax, replicate } = entry;
    const directory = resolve(said);
    const other = seen.find(
      (one) => `${directory}/`.startsWith(`${one}/`) || one.startsWith(`${directory}/`),
    );
    if (other !== undefined) {
      throw new ConfigError(
        `${file.at([...path, 'directory'])}: ${directory} and ${other} overlap; a file is of one [[mirror]].`,
      );
    }
    seen.push(directory);
    if (replicate && bytesMax === undefined) {
      throw new ConfigError(
        `${file.at([...path, 'replicate'])}: replicate needs max_bytes, or other hosts' files would fill ` +
          'the disk: set max_bytes = "100GiB", or what the directory may have.',
      );
    }
    return { directory, fields, bytesMax, isReplicated: replicate };
  });
};

const peersOf = (sources: Sources, identity: string): PeersOptions | undefined => {
  const read = readTable(kvcachedSchema, peersSection, sources);
  const { listen, advertise, bandwidth_max: bytesPerSecondMax } = read;
  if (listen.length > 0) return { listen, advertise, bytesPerSecondMax, identity };
  const alone = advertise !== undefined ? 'advertise' : bytesPerSecondMax && 'bandwidth_max';
  if (!alone) return undefined;
  throw new ConfigError(
    `${alone} in [peers] means nothing without listen: --peers 0.0.0.0:6381, or listen there.`,
  );
};

const passwordOf = (
  path: string | undefined,
  { options, environment }: Pick<Sources, 'options' | 'environment'>,
): string | undefined => {
  const [variable] = secretVariables.password;
  const isOption = Object.hasOwn(options, 'password-file');
  const given = isOption ? undefined : environment[variable]?.trim() || undefined;
  if (given !== undefined || path === undefined) return given;
  return readSecret(configHost.disk, path, 'The password of Redis clients');
};

type Top = Partial<Values<typeof topKeys>>;

const refuseOpen = ({ listen = [] }: Top, password: string | undefined): void => {
  const open = listen.find((at) => !('path' in at) && !isLoopback(at.host));
  if (open === undefined || 'path' in open || password !== undefined) return;
  throw new ConfigError(
    `listen = "${shownListen(open)}" can be reached from other hosts, who could read every prompt. ` +
      'Take 127.0.0.1, or give clients a password: password_file = "/etc/cognitora/kv-password".',
  );
};

const refuseRemoteStatus = (status: Top['status']): void => {
  if (status === undefined || status === 'off' || isLoopback(status.host)) return;
  throw new ConfigError(`status = "${shownListen(status)}" can be reached from other hosts: take 127.0.0.1.`);
};

const topOf = (sources: Sources) => {
  let password: string | undefined;
  const top = readTable(kvcachedSchema, topSection, sources, (values, problems) => {
    password = problems.within(() => passwordOf(values.password_file, sources));
    problems.within(() => refuseOpen(values, password));
    problems.within(() => refuseRemoteStatus(values.status));
  });
  const { data_dir: dataDirectory, ram, disk, listen: resp, status, socket, ttl: ttlMs } = top;
  const options = {
    dataDirectory,
    // The largest value takes a page more.
    ramBytesMax: Math.max(valueBytesMax + pageBytes, ram),
    ssd: disk === 0 ? undefined : { directory: join(dataDirectory, 'segments'), bytesMax: disk },
    resp,
    status: status === 'off' ? undefined : status,
    password,
    socket: socket ?? join(dataDirectory, kvDaemonSocketName),
    ttlMs,
  };
  return { options, identity: top.identity };
};

/** `help` when that was asked for. Throws `ConfigError`. `hostsOwn` is read where none is named, if it is there. */
export const parseOptions = (
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
  hostsOwn: string,
): ParsedOptions | 'help' => {
  const values = argvValues(argv);
  if (values.help) return 'help';
  const named = values.config ?? (environment[configVariable] || undefined);
  const file = ConfigFile.find(named, hostsOwn, configHost);
  const sources: Sources = { file, options: values, environment };
  const problems = new Problems();
  const top = problems.within(() => topOf(sources));
  const peers = problems.within(() => peersOf(sources, top?.identity ?? ''));
  const namespaces = problems.within(() => namespacesOf(sources)) ?? [];
  const mirrors = problems.within(() => mirrorsOf(sources)) ?? [];
  problems.throwIfAny();
  if (top === undefined) throw new Error('nothing was read, and nothing was wrong');
  const replicated = mirrors.find(({ isReplicated }) => isReplicated);
  if (replicated !== undefined && peers === undefined) {
    throw new ConfigError(
      `replicate of the [[mirror]] of ${replicated.directory} means nothing without peers: --peers ` +
        '0.0.0.0:6381, or listen in [peers].',
    );
  }
  const options: DaemonOptions = { ...top.options, peers, namespaces, mirrors };
  return { options, path: file?.path, isCheck: values['check-config'] === true };
};
