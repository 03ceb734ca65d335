/** What the configuration has to know of engines' profiles: their names, and what each can do. */
import type { EngineConfig } from './engine-config.ts';
import { configProblem } from './profiles/launch.ts';
import { engineProfiles } from './profiles/profiles.ts';

export interface KnownProfiles {
  readonly names: readonly string[];
  /** What is wrong with an engine's configuration, in words that say what is possible; undefined: nothing. */
  readonly check: (engine: EngineConfig) => string | undefined;
}

export const knownProfiles: KnownProfiles = {
  names: [...engineProfiles.keys()],
  check: (engine) => {
    const profile = engineProfiles.get(engine.profile);
    return profile && configProblem(profile, engine);
  },
};
