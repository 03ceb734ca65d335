/**
 * Entries of `[[engine]]`, and the options that name running engines, as one `EngineConfig` for each replica. Decides
 * names and who gets which GPUs; asks the profiles what they can do; starts nothing.
 */
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { nearestOf } from '@cognitora/protocol/config/nearest';
import type { Values } from '@cognitora/protocol/config/schema';
import { looksSecret } from '@cognitora/protocol/config/values';
import type { ReplicaName } from '@cognitora/protocol/ids';
import type { EngineConfig, LaunchedEngine } from '../engines/engine-config.ts';
import type { KnownProfiles } from '../engines/known-profiles.ts';
import { enginesMax } from './limits.ts';
import type { engineKeys } from './schema.ts';

type Entry = Values<typeof engineKeys>;

/** One entry, and how an error names it. */
export interface EngineEntry {
  readonly entry: Entry;
  /** Of one of its keys, or of the entry. */
  readonly at: (key?: keyof Entry) => string;
}

export interface EngineReading {
  readonly profiles: KnownProfiles;
  /** Of engines without one of their own. */
  readonly apiKey: string | undefined;
  /** A secret's text out of its file; `what` names it in an error. */
  readonly readSecret: (path: string, what: string) => string;
}

/** Keys that mean nothing for an engine that the agent does not start. */
const launchedOnly = [
  'model',
  'served_name',
  'command',
  'arguments',
  'environment',
  'replicas',
  'gpus_per_replica',
  'tensor_parallel',
  'loading_timeout',
] as const satisfies readonly (keyof Entry)[];

/** And those for one that it starts: it chooses these itself. */
const attachedOnly = [
  'kv_events',
  'kv_events_replay',
  'kv_events_ranks',
] as const satisfies readonly (keyof Entry)[];

/** `given` are the entry's own keys: defaults are nobody's mistake. */
export const checkKind = ({ entry, at }: EngineEntry, given: readonly string[]): void => {
  if (entry.url === undefined && entry.model === undefined) {
    throw new ConfigError(
      `${at()}: an engine needs url = "http://127.0.0.1:8000" where it runs already, ` +
        'or model = "..." to be started.',
    );
  }
  const wrong = (entry.url === undefined ? attachedOnly : launchedOnly).find((key) => given.includes(key));
  if (wrong === undefined) return;
  const why =
    entry.url === undefined
      ? 'is for an engine that runs already, at url; the agent chooses it for those it starts'
      : 'is for an engine that the agent starts, and url names one that runs already';
  throw new ConfigError(`${at(wrong)}: "${wrong}" ${why}. Leave one of them out.`);
};

/** The GPUs of each replica, in their order. */
export const gpusOfReplicas = (
  gpus: readonly number[],
  replicas: number,
  perReplica: number | undefined,
): readonly (readonly number[])[] | undefined => {
  const count = perReplica ?? gpus.length / replicas;
  const isShared = count === gpus.length;
  if (!Number.isInteger(count) || (!isShared && count * replicas !== gpus.length)) return undefined;
  return Array.from({ length: replicas }, (_, at) =>
    isShared ? gpus : gpus.slice(at * count, (at + 1) * count),
  );
};

const gpusOf = ({ entry, at }: EngineEntry): readonly (readonly number[])[] => {
  const { gpus, replicas, gpus_per_replica: perReplica } = entry;
  if (new Set(gpus).size !== gpus.length) throw new ConfigError(`${at('gpus')}: gpus names one GPU twice.`);
  const shares = gpusOfReplicas(gpus, replicas, perReplica);
  if (shares !== undefined) return shares;
  const all = `gpus_per_replica = ${gpus.length} lets all replicas share them`;
  throw new ConfigError(
    perReplica === undefined
      ? `${at('gpus')}: ${gpus.length} gpus cannot be divided by ${replicas} replicas; ${all}.`
      : `${at('gpus_per_replica')}: ${replicas} replicas with ${perReplica} GPUs each need ` +
          `${replicas * perReplica} gpus, not ${gpus.length}${gpus.length === 0 ? '' : `; ${all}`}.`,
  );
};

const tensorParallelOf = ({ entry, at }: EngineEntry, gpus: readonly number[]): number => {
  const asked = entry.tensor_parallel ?? Math.max(1, gpus.length);
  if (gpus.length === 0 || asked <= gpus.length) return asked;
  const where = at('tensor_parallel');
  throw new ConfigError(
    `${where}: tensor_parallel = ${asked} needs ${asked} GPUs for each replica, which has ${gpus.length}.`,
  );
};

/** Options of engines that take a key itself: every process of the host can read arguments. */
const secretArgument = /^--(?:admin-)?(?:api-key|hf-token)(?:=|$)/;

const refuseSecretArgument = ({ entry, at }: EngineEntry): void => {
  const secret = entry.arguments.find((argument) => secretArgument.test(argument))?.split('=')[0];
  if (secret === undefined) return;
  throw new ConfigError(
    `${at('arguments')}: ${secret} would show a secret to every process of this host. Give it to the ` +
      'engine in its environment, from a file: environment = { NAME = { file = "/etc/cognitora/name" } }.',
  );
};

const environmentOf = (
  entry: EngineEntry,
  { readSecret }: EngineReading,
): Pick<LaunchedEngine, 'environment' | 'secrets'> => {
  const environment = new Map<string, string>();
  const secrets: string[] = [];
  for (const [name, value] of entry.entry.environment) {
    const where = `${entry.at('environment')}: ${name}`;
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new ConfigError(`${where} is no variable's name.`);
    if (typeof value === 'string' && looksSecret(name) && value !== '') {
      throw new ConfigError(
        `${where} looks like a secret, which must not stand in this file: ` +
          `${name} = { file = "/etc/cognitora/${name.toLowerCase().replaceAll('_', '-')}" }`,
      );
    }
    const text = typeof value === 'string' ? value : readSecret(value.file, where);
    if (typeof value !== 'string') secrets.push(text);
    environment.set(name, text);
  }
  return { environment, secrets };
};

const launchedSources = (entry: EngineEntry, reading: EngineReading): readonly EngineConfig['source'][] => {
  const { model = '', served_name, command, kv_directory } = entry.entry;
  refuseSecretArgument(entry);
  const { environment, secrets } = environmentOf(entry, reading);
  return gpusOf(entry).map((gpus) => ({
    kind: 'launched',
    command,
    model,
    servedName: served_name,
    gpus,
    tensorParallel: tensorParallelOf(entry, gpus),
    arguments: entry.entry.arguments,
    environment,
    secrets,
    loadingMsMax: entry.entry.loading_timeout,
    kvDirectory: kv_directory,
  }));
};

const sourcesOf = (entry: EngineEntry, reading: EngineReading): readonly EngineConfig['source'][] => {
  const { url, kv_directory: kvDirectory, kv_events: events, kv_events_replay: replay } = entry.entry;
  const { kv_events_ranks: ranks } = entry.entry;
  if (url === undefined) return launchedSources(entry, reading);
  for (const name of ['kv_events_replay', 'kv_events_ranks'] as const) {
    if (events === undefined && entry.entry[name] !== undefined) {
      throw new ConfigError(`${entry.at(name)}: ${name} needs kv_events beside it.`);
    }
  }
  const kvEvents =
    events === undefined ? undefined : { events, replay, ...(ranks === undefined ? {} : { ranks }) };
  const [gpus = []] = gpusOf(entry);
  return [{ kind: 'attached', url, kvEvents, gpus, kvDirectory }];
};

const checkProfile = ({ entry, at }: EngineEntry, { names }: KnownProfiles): void => {
  if (names.includes(entry.profile)) return;
  const nearest = nearestOf(entry.profile, names);
  throw new ConfigError(
    `${at('profile')}: there is no profile "${entry.profile}"; the nearest is "${nearest}". ` +
      `There are ${names.join(', ')}.`,
  );
};

/** One for each replica. Throws `ConfigError`. */
export const engineConfigs = (
  entries: readonly EngineEntry[],
  reading: EngineReading,
): readonly EngineConfig[] => {
  const engines: EngineConfig[] = [];
  const names = new Set<string>();
  for (const each of entries) {
    const { entry, at } = each;
    checkProfile(each, reading.profiles);
    const sources = sourcesOf(each, reading);
    for (const [index, source] of sources.entries()) {
      const own = sources.length === 1 ? entry.name : entry.name && `${entry.name}-${index}`;
      const name = own ?? `r${engines.length}`;
      if (names.has(name)) {
        throw new ConfigError(`${at('name')}: another engine is named "${name}"; give each its own name.`);
      }
      names.add(name);
      const apiKey =
        entry.api_key_file === undefined
          ? reading.apiKey
          : reading.readSecret(entry.api_key_file, `${at('api_key_file')}: the engine's key`);
      const engine: EngineConfig = {
        name: name as ReplicaName,
        profile: entry.profile,
        role: entry.role,
        kvOffload: entry.kv_offload,
        source,
        aliases: entry.aliases,
        apiKey,
        tokenizer: entry.tokenizer,
        timeouts: {
          ackMsMax: entry.ack_timeout,
          connectMsMax: entry.connect_timeout,
          firstTokenMsMax: entry.first_token_timeout,
          interTokenMsMax: entry.inter_token_timeout,
          totalMsMax: entry.total_timeout,
        },
      };
      const wrong = reading.profiles.check(engine);
      if (wrong !== undefined) throw new ConfigError(`${at()}: ${wrong}`);
      engines.push(engine);
    }
    if (engines.length > enginesMax) throw new ConfigError(`At most ${enginesMax} engines per host.`);
  }
  return engines;
};
