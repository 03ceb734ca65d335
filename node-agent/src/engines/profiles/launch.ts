/**
 * From a plan to what is run: refuses what an engine does not have with a sentence that names what it has, then puts
 * together the profile's part, the variables that every engine gets, and what the configuration adds. Pure; whoever
 * launches writes the files and starts the program.
 */
import type { EngineConfig, KvEventEndpoints, KvOffload, Role } from '../engine-config.ts';
import { socketProblem } from './event-sockets.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';

/** What can't be launched as it is configured: the message says what can. */
export class LaunchImpossible extends Error {}

export interface Launch {
  readonly program: string;
  readonly argv: readonly string[];
  /** Beside the agent's own environment. */
  readonly environment: ReadonlyMap<string, string>;
  /** To be written before the start: path -> content. */
  readonly files: ReadonlyMap<string, string>;
  readonly kvEvents: KvEventEndpoints | undefined;
}

/** Python's hashes go into those of some engines' blocks: with one seed they agree between hosts and restarts. */
const hashSeed = ['PYTHONHASHSEED', '0'] as const;

const pairsOf = (profile: EngineProfile): string =>
  Object.entries(profile.offloads)
    .map(([offload, roles]) => `${offload} (${roles.join(', ')})`)
    .join(', ');

/**
 * The numbers are those of `nvidia-smi`, which counts by place on the bus. CUDA by itself counts the fastest first: on
 * a host with two kinds of GPUs the engine would run on one, and the watts of another be told.
 */
const pinningTo = (gpus: readonly number[]): readonly (readonly [string, string])[] =>
  gpus.length === 0
    ? []
    : [
        ['CUDA_DEVICE_ORDER', 'PCI_BUS_ID'],
        ['CUDA_VISIBLE_DEVICES', gpus.join(',')],
      ];

/** Why this engine can't offload so in this role; undefined when it can. */
export const offloadProblem = (
  profile: EngineProfile,
  kvOffload: KvOffload,
  role: Role,
): string | undefined => {
  if (profile.offloads[kvOffload]?.includes(role)) return undefined;
  return (
    `kv_offload "${kvOffload}" in the role "${role}" is not possible with "${profile.name}". ` +
    `Possible are, with their roles: ${pairsOf(profile)}.`
  );
};

/** What is wrong with an engine's configuration as far as its profile knows, in words; undefined: nothing. */
export const configProblem = (
  profile: EngineProfile,
  { source, kvOffload, role }: EngineConfig,
): string | undefined => {
  if (source.kind === 'launched') return launchProblem(profile, { config: source, kvOffload, role });
  if (source.kvEvents !== undefined && profile.launching !== undefined && profile.kvEvents?.kind !== 'zmq') {
    return `"${profile.name}" publishes no events of its cache: leave kv_events out.`;
  }
  // How whoever started it made it play its role is not ours to know.
  return kvOffload === 'none' ? undefined : offloadProblem(profile, kvOffload, role);
};

const launchProblem = (
  profile: EngineProfile,
  { config, kvOffload, role }: Pick<LaunchPlan, 'config' | 'kvOffload' | 'role'>,
): string | undefined => {
  if (profile.launching === undefined) {
    return `"${profile.name}" can only be attached: give the url of a running engine in place of a model.`;
  }
  if (config.tensorParallel > 1 && profile.launching.splits === 'never') {
    return `"${profile.name}" can't split a model between GPUs: give each replica one of them.`;
  }
  return offloadProblem(profile, kvOffload, role);
};

/** Throws `LaunchImpossible`. */
export const launchOf = (profile: EngineProfile, plan: LaunchPlan): Launch => {
  const { config } = plan;
  const problem = launchProblem(profile, plan);
  if (problem !== undefined || profile.launching === undefined) throw new LaunchImpossible(problem);
  const rendered = profile.launching.render(plan);
  const wrong = rendered.kvEvents && socketProblem(rendered.kvEvents);
  if (wrong !== undefined) throw new LaunchImpossible(wrong);
  return {
    program: config.command ?? profile.launching.program,
    argv: [...rendered.argv, ...config.arguments],
    environment: new Map([
      hashSeed,
      ...Object.entries(rendered.environment ?? {}),
      ...pinningTo(config.gpus),
      ...config.environment,
    ]),
    files: new Map(Object.entries(rendered.files ?? {})),
    kvEvents: rendered.kvEvents,
  };
};
