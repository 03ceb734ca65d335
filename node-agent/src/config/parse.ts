/**
 * The agent's configuration: options, environment and file, read once into a readonly value; options go before the
 * environment, that before the file. A wrong one names the fix. Secrets come from the environment or a file, never
 * from options, and never from the configuration file itself.
 */
import { statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { ConfigFile, readSecret as readSecretFile } from '@cognitora/protocol/config/config-file';
import { type Listen, shownListen } from '@cognitora/protocol/config/kinds';
import { optionsOf } from '@cognitora/protocol/config/schema';
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
import type { KnownProfiles } from '../engines/known-profiles.ts';
import type { AgentConfig, ParentPipe } from './agent-config.ts';
import { configHost } from './config-host.ts';
import { checkKind, type EngineEntry, engineConfigs } from './engines.ts';
import { checkedJoinToken } from './join-token.ts';
import { enginesMax } from './limits.ts';
import { engineOptions, entriesOfOptions } from './options.ts';
import {
  agentSchema,
  configVariable,
  engineSection,
  logSection,
  secretVariables,
  statusSection,
  topSection,
} from './schema.ts';

/** By the value of COGNITORA_PARENT_PIPE. A parent that leaves us the terminal, to ask for a token, uses another. */
const parentPipes = new Map<string | undefined, ParentPipe>([
  ['1', 'stdin'],
  ['3', 'descriptor 3'],
]);

export interface ParsedConfig {
  readonly config: AgentConfig;
  /** The file it was read from, if any. */
  readonly path: string | undefined;
  /** It is only to be shown. */
  readonly isCheck: boolean;
}

export interface ParseOptions {
  readonly profiles: KnownProfiles;
  /** The file that is read where none is named, if it is there. */
  readonly hostsOwn: string;
}

const options = {
  config: { type: 'string' },
  'check-config': { type: 'boolean' },
  ...Object.fromEntries(optionsOf(agentSchema).map((name) => [name, { type: 'string' as const }])),
  ...engineOptions,
  help: { type: 'boolean', short: 'h' },
} as const;

const parseOptions = (argv: readonly string[], environment: NodeJS.ProcessEnv) => {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (thrown) {
    const [told = ''] = messageOf(thrown).split('. ');
    const isPositional =
      thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL';
    // npm keeps options before a "--" and hands on their values alone.
    const isByNpm = environment.npm_lifecycle_event === 'cgn';
    const hint = isPositional && isByNpm ? ' Options go after "--": npm run cgn -- agent --edge URL.' : '';
    throw new ConfigError(`${told}.${hint} See "cgn agent --help".`);
  }
};

/** Throws `ConfigError`. `what` begins the sentence. */
const readSecret = (path: string, what: string): string => readSecretFile(configHost.disk, path, what);

const entriesOfFile = (file: ConfigFile): readonly EngineEntry[] =>
  tablesOf(file, engineSection, { max: enginesMax, says: 'engines per host' }).map((table, index) => {
    const path = ['engine', index];
    refuseUnknown(file, agentSchema, engineSection, table, path);
    const called = callerOf(file, path);
    const entry = readSection(engineSection, { table, called, options: {}, environment: {} });
    const at: EngineEntry['at'] = (key) =>
      file.at(key !== undefined && Object.hasOwn(table, key) ? [...path, key] : path);
    checkKind({ entry, at }, Object.keys(table));
    return { entry, at };
  });

const statusOf = (sources: Sources): Listen | undefined => {
  const { listen, allow_remote } = readTable(agentSchema, statusSection, sources);
  if (listen === 'off') return undefined;
  if (isLoopback(listen.host) || allow_remote) return listen;
  throw new ConfigError(
    `status.listen = "${shownListen(listen)}" can be reached from other hosts, who may then read what ` +
      'this one serves. Take 127.0.0.1, or say allow_remote = true in [status].',
  );
};

/**
 * The option names a file, then the variables, then the file. One that is not there is no mistake: only the first start
 * needs it, and whoever put it there may well take it away after that.
 */
const joinTokenOf = (
  path: string | undefined,
  isOption: boolean,
  environment: NodeJS.ProcessEnv,
): Pick<AgentConfig, 'joinToken' | 'joinTokenMissing'> => {
  const [variable] = secretVariables.joinToken;
  const token = isOption ? undefined : environment[variable]?.trim() || undefined;
  if (token !== undefined) return { joinToken: checkedJoinToken(token, variable) };
  if (path === undefined) return { joinToken: undefined };
  if (isAbsent(path)) return { joinToken: undefined, joinTokenMissing: path };
  return { joinToken: checkedJoinToken(readSecret(path, 'The join token'), path) };
};

/** Not merely out of reach for this user. */
const isAbsent = (path: string): boolean => {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
};

/** `help` when that was asked for. Throws `ConfigError`. */
export const parseConfig = (
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
  { profiles, hostsOwn }: ParseOptions,
): ParsedConfig | 'help' => {
  const values = parseOptions(argv, environment);
  if (values.help) return 'help';
  const named = values.config ?? (environment[configVariable] || undefined);
  const file = ConfigFile.find(named, hostsOwn, configHost);
  const sources: Sources = { file, options: values, environment };
  const top = readTable(agentSchema, topSection, sources);
  if (top.kv_handover !== undefined && top.kvcached !== undefined) {
    throw new ConfigError(
      'KV moves through a directory (kv_handover) or through KV daemons (kvcached): leave one out.',
    );
  }
  const log = readTable(agentSchema, logSection, sources);
  const status = statusOf(sources);
  const ofOptions = entriesOfOptions(values);
  const entries = ofOptions.length > 0 || file === undefined ? ofOptions : entriesOfFile(file);
  if (entries.length === 0) {
    throw new ConfigError(
      'Name an engine: --engine-url http://127.0.0.1:8000, or an [[engine]] in the configuration file.',
    );
  }
  const apiKey = environment[secretVariables.engineApiKey[0]] || undefined;
  const config: AgentConfig = {
    edge: top.edge,
    region: top.region,
    name: top.name,
    dataDirectory: top.data_dir,
    engines: engineConfigs(entries, { profiles, apiKey, readSecret }),
    ...joinTokenOf(top.join_token_file, Object.hasOwn(values, 'join-token-file'), environment),
    kvHandover: top.kv_handover,
    kvcached: top.kvcached,
    log,
    status,
    parentPipe: parentPipes.get(environment.COGNITORA_PARENT_PIPE),
  };
  return { config, path: file?.path, isCheck: values['check-config'] === true };
};
