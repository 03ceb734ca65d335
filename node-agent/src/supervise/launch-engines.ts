/** The sources of all engines of a configuration: attached ones as they are, the others started and watched here. */
import { ConfigError } from '@cognitora/protocol/config/config-error';
import type { Clock } from '../clock.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { LaunchImpossible } from '../engines/profiles/launch.ts';
import type { EngineProfile } from '../engines/profiles/profile.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { attachedSource, type EngineSource } from '../engines/source.ts';
import type { Log } from '../log.ts';
import { launchedSource } from './launched-source.ts';
import { PortAllocator } from './ports.ts';

/** Any engine: of this one nothing is known but that it speaks the API. */
const isUnknown = ({ launching, metrics }: EngineProfile): boolean =>
  launching === undefined && metrics === undefined;

const knownNames = [...engineProfiles.values()].flatMap((each) => (isUnknown(each) ? [] : each.name));

const namelessWarning =
  'chats on this engine are not continued elsewhere after a failure, and its seats are not learned: ' +
  `name its profile (--profile ${knownNames.join(', ')})`;

/** Nothing is started yet. Throws `ConfigError`. */
export const launchEngines = async (
  { engines, dataDirectory }: Pick<AgentConfig, 'engines' | 'dataDirectory'>,
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  log: Log,
): Promise<readonly EngineSource[]> => {
  const ports = new PortAllocator();
  try {
    const sources = engines.map((config) => {
      const { source } = config;
      const profile = engineProfiles.get(config.profile);
      if (source.kind === 'attached') {
        if (profile !== undefined && isUnknown(profile))
          log('warn', namelessWarning, { engine: config.name });
        return attachedSource(config, source);
      }
      if (profile === undefined) throw new ConfigError(`There is no profile "${config.profile}".`);
      return launchedSource({ config, source, profile, dataDirectory, environment, ports, clock, log });
    });
    return await Promise.all(sources);
  } catch (thrown) {
    throw thrown instanceof LaunchImpossible ? new ConfigError(thrown.message) : thrown;
  }
};
