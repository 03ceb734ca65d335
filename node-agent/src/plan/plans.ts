/**
 * What a configuration's engines would be started with, as data: for whoever wants to see it, or to hold a host
 * against it, before anything runs. Starts nothing; ports are counted up, since they are found free at the start.
 */

import type { AgentConfig } from '../config/agent-config.ts';
import type { KvOffload, Role } from '../engines/engine-config.ts';
import { LaunchImpossible, launchOf } from '../engines/profiles/launch.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { replicaDirectory } from '../engines/source.ts';

/** Where the counting begins: no engine's real port, and easy to recognise. */
const firstPort = 8_000;
/** Between two replicas: one port for HTTP and one for each part of a model that is split, at most 64. */
const portsEach = 100;

export interface EnginePlan {
  readonly name: string;
  readonly profile: string;
  readonly role: Role;
  readonly kvOffload: KvOffload;
  readonly model: string;
  readonly gpus: readonly number[];
  readonly tensorParallel: number;
  readonly program: string;
  readonly argv: readonly string[];
  /** Beside the agent's own; what came from a file is hidden. */
  readonly environment: Readonly<Record<string, string>>;
  /** Path -> content, written before the start. */
  readonly files: Readonly<Record<string, string>>;
  readonly ports: { readonly http: number; readonly transfer: number };
  /** What prints its release; absent: nothing does. */
  readonly release?: readonly string[];
  /** The program that answers `release` where it is not the engine's own. */
  readonly releaseProgram?: string;
}

export interface ConfigPlan {
  readonly engines: readonly EnginePlan[];
}

const hidden = '[hidden]';

const shownEnvironment = (
  environment: ReadonlyMap<string, string>,
  secrets: readonly string[],
): Record<string, string> =>
  Object.fromEntries(
    [...environment].map(([name, value]) => [name, secrets.includes(value) ? hidden : value]),
  );

/** Engines that run already are left out. Throws `LaunchImpossible`. */
export const plansOf = ({
  engines,
  dataDirectory,
}: Pick<AgentConfig, 'engines' | 'dataDirectory'>): ConfigPlan => ({
  engines: engines.flatMap(({ name, profile: named, role, kvOffload, source }, at) => {
    if (source.kind === 'attached') return [];
    const profile = engineProfiles.get(named);
    if (profile === undefined) throw new LaunchImpossible(`There is no profile "${named}".`);
    const http = firstPort + at * portsEach;
    const ports = { http, transfer: http + 1 };
    const directory = replicaDirectory(dataDirectory, name);
    const launch = launchOf(profile, {
      config: source,
      role,
      kvOffload,
      host: '127.0.0.1',
      ports,
      directory,
    });
    const { release } = profile.launching ?? {};
    return [
      {
        ...{ name, profile: named, role, kvOffload, model: source.model, gpus: source.gpus },
        ...{ tensorParallel: source.tensorParallel, program: launch.program, argv: launch.argv },
        environment: shownEnvironment(launch.environment, source.secrets),
        files: Object.fromEntries(launch.files),
        ports,
        ...(release === undefined ? {} : { release: release.argv }),
        ...(release?.program === undefined ? {} : { releaseProgram: release.program }),
      },
    ];
  }),
});
