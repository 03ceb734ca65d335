/**
 * The options that name running engines, as entries like those of the file. They go before all of the file's engines.
 */
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { readSection } from '@cognitora/protocol/config/values';
import { nameCharsMax } from '@cognitora/protocol/limits';
import type { EngineEntry } from './engines.ts';
import { enginesMax } from './limits.ts';
import { engineSection } from './schema.ts';

export const engineOptions = {
  'engine-url': { type: 'string', multiple: true },
  profile: { type: 'string', multiple: true },
  'kv-events': { type: 'string', multiple: true },
  'kv-events-replay': { type: 'string', multiple: true },
  'kv-directory': { type: 'string', multiple: true },
  alias: { type: 'string', multiple: true },
} as const;

export type EngineOptions = { readonly [Name in keyof typeof engineOptions]?: readonly string[] | undefined };

/** `PUBLIC=SERVED` pairs as a map. */
export const parseAliases = (pairs: readonly string[]): ReadonlyMap<string, string> => {
  const aliases = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const publicName = pair.slice(0, at);
    const served = pair.slice(at + 1);
    if (at < 1 || served === '' || publicName.length > nameCharsMax || served.length > nameCharsMax) {
      throw new ConfigError(
        `--alias must be PUBLIC=SERVED, each of at most ${nameCharsMax} characters, not "${pair}".`,
      );
    }
    aliases.set(publicName, served);
  }
  return aliases;
};

/** The option's name of an entry's key. */
const optionOf: Readonly<Record<string, string>> = {
  url: '--engine-url',
  profile: '--profile',
  kv_events: '--kv-events',
  kv_events_replay: '--kv-events-replay',
  kv_directory: '--kv-directory',
};

/** One for each `--engine-url`. Throws `ConfigError`. */
export const entriesOfOptions = (values: EngineOptions): readonly EngineEntry[] => {
  const { 'engine-url': urls = [], 'kv-events': events = [], 'kv-events-replay': replays = [] } = values;
  const directories = values['kv-directory'] ?? [];
  const profiles = values.profile ?? [];
  const aliases = parseAliases(values.alias ?? []);
  if (urls.length > enginesMax) throw new ConfigError(`At most ${enginesMax} engines per host.`);
  if (events.length > urls.length || replays.length > events.length) {
    throw new ConfigError(
      '--kv-events is at most one for each --engine-url, and --kv-events-replay for each of them.',
    );
  }
  for (const [option, given] of Object.entries({ profile: profiles, 'kv-directory': directories })) {
    if (given.length > urls.length) {
      throw new ConfigError(`--${option} is at most one for each --engine-url.`);
    }
  }
  if (urls.length === 0 && aliases.size > 0) {
    throw new ConfigError(
      '--alias needs an --engine-url; an engine of the file has its own: aliases = { ... }',
    );
  }
  const called = (key = 'url'): string => optionOf[key] ?? '--engine-url';
  return urls.map((url, at) => {
    const table = {
      profile: profiles[at] ?? 'openai',
      url,
      aliases: Object.fromEntries(aliases),
      ...(events[at] === undefined ? {} : { kv_events: events[at] }),
      ...(replays[at] === undefined ? {} : { kv_events_replay: replays[at] }),
      ...(directories[at] === undefined ? {} : { kv_directory: directories[at] }),
    };
    const entry = readSection(engineSection, { table, called, options: {}, environment: {} });
    return { entry, at: called };
  });
};
