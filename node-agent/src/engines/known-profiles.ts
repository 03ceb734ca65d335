/** What the configuration has to know of engines' profiles: their names, and what each can do. */
import { ConfigError } from '@cognitora/protocol/config/config-error';
import type { EngineConfig } from './engine-config.ts';
import { configProblem, LaunchImpossible, launchOf } from './profiles/launch.ts';
import { engineProfiles } from './profiles/profiles.ts';

export interface KnownProfiles {
  readonly names: readonly string[];
  /** Those that can give their KV to another one of their kind. */
  readonly handingOver: readonly string[];
  /** What is wrong with an engine's configuration, in words that say what is possible; undefined: nothing. */
  readonly check: (engine: EngineConfig) => string | undefined;
  /** What starts an engine, as far as it is known before its ports are. Throws `ConfigError`. */
  readonly command: (engine: EngineConfig, directory: string) => readonly string[];
}

/** They are found free when the engine starts. */
const unknownPorts = { http: 0, transfer: 0 } as const;

export const knownProfiles: KnownProfiles = {
  names: [...engineProfiles.keys()],
  handingOver: [...engineProfiles.values()]
    .filter((each) => each.handsOver !== undefined)
    .map(({ name }) => name),
  check: (engine) => {
    const profile = engineProfiles.get(engine.profile);
    return profile && configProblem(profile, engine);
  },
  command: ({ profile: name, source, role, kvOffload }, directory) => {
    const profile = engineProfiles.get(name);
    if (profile === undefined || source.kind === 'attached') return [];
    const plan = {
      config: source,
      role,
      kvOffload,
      host: '127.0.0.1',
      ports: unknownPorts,
      directory,
    } as const;
    try {
      const { program, argv } = launchOf(profile, plan);
      return [program, ...argv];
    } catch (thrown) {
      throw thrown instanceof LaunchImpossible ? new ConfigError(thrown.message) : thrown;
    }
  },
};
