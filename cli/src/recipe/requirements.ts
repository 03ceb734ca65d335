/**
 * A host held against a recipe: each thing that is missing, with what to do about it. Pure: `facts.ts` has looked, and
 * the agent's doctor with it. Decides what of the doctor's findings matters before anything runs.
 */
import type { Finding } from '../commands/doctor.ts';
import { gpusOf, type Recipe } from './recipe.ts';
import { storeOf } from './stores/stores.ts';

export interface Gpu {
  readonly index: number;
  readonly name: string;
  readonly memoryBytes: number;
  readonly driver: string;
  readonly capability: string;
}

/** What a program said of its release. */
export interface ToldRelease {
  readonly engine: string;
  /** Undefined: it could not be run, which the doctor says. */
  readonly text: string | undefined;
}

export interface HostFacts {
  readonly platform: string;
  readonly memoryBytes: number;
  /** A text is why none is known. */
  readonly gpus: readonly Gpu[] | string;
  readonly model: {
    /** Where its bytes lie; undefined: nowhere. */
    readonly path: string | undefined;
    readonly isThere: boolean;
    /** Of the file system there; undefined: nobody knows. */
    readonly freeBytes: number | undefined;
  };
  readonly data: { readonly directory: string; readonly freeBytes: number | undefined };
  /** Of those that the recipe needs. */
  readonly takenPorts: readonly number[];
  /** A token of the hub is set or saved. */
  readonly hasHubToken: boolean;
  readonly releases: readonly ToldRelease[];
  /** Who holds the data directory already, in words. */
  readonly heldBy: string | undefined;
}

export interface Wanted {
  readonly recipe: Recipe;
  /** Of our own edge; undefined: another one is joined. */
  readonly edgePort: number | undefined;
}

/** In the unit in which recipes are written. */
const inGiB = (bytes: number, round: (tenths: number) => number): string =>
  `${round((bytes / 2 ** 30) * 10) / 10} GiB`;
/** Rounded so that too little never reads as enough. */
const here = (bytes: number): string => inGiB(bytes, Math.floor);
const needed = (bytes: number): string => inGiB(bytes, Math.ceil);

const ok = (what: string, says: string): Finding => ({ what, outcome: 'ok', says });
const note = (what: string, says: string): Finding => ({ what, outcome: 'note', says });
const failed = (what: string, says: string, fix: string): Finding => ({ what, outcome: 'failed', says, fix });

/** Below zero: `one` is older. What is missing at the end counts as zero. */
export const compareVersions = (one: string, other: string): number => {
  const [left, right] = [one, other].map((text) => text.split('.').map(Number));
  for (let at = 0; at < Math.max(left?.length ?? 0, right?.length ?? 0); at += 1) {
    const difference = (left?.[at] ?? 0) - (right?.[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

/** The first number with a dot, else the first number. */
export const versionIn = (text: string): string | undefined =>
  (/\d+(?:\.\d+)+/.exec(text) ?? /\d+/.exec(text))?.[0];

const platformCheck = ({ host }: Recipe, { platform }: HostFacts): Finding => {
  if (host.platforms.some((each) => each === platform)) return ok('platform', platform);
  const fix = `Take a host that is ${host.platforms.join(' or ')}, or another recipe: cgn recipe ls`;
  return failed(
    'platform',
    `this host is ${platform}, and the recipe is for ${host.platforms.join(', ')}`,
    fix,
  );
};

const memoryCheck = ({ host: { memory } }: Recipe, { memoryBytes }: HostFacts): readonly Finding[] => {
  if (memory === undefined) return [];
  if (memoryBytes >= memory) return [ok('memory', here(memoryBytes))];
  const says = `this host has ${here(memoryBytes)}, and ${needed(memory)} are needed`;
  return [failed('memory', says, 'Take a host with more memory, or a recipe with a smaller model.')];
};

/** Of one GPU that is there. */
const gpuProblems = ({ host }: Recipe, gpu: Gpu): readonly Finding[] => {
  const what = `GPU ${gpu.index}`;
  const { gpu_memory: memory, gpu_capability: capability, driver } = host;
  const found: Finding[] = [];
  if (memory !== undefined && gpu.memoryBytes < memory) {
    const says = `${gpu.name} has ${here(gpu.memoryBytes)}, and ${needed(memory)} are needed`;
    found.push(
      failed(`${what}: memory`, says, 'Take a GPU with more memory, or split the model between more.'),
    );
  }
  if (capability !== undefined && compareVersions(gpu.capability, capability) < 0) {
    const says = `${gpu.name} has compute capability ${gpu.capability}, and ${capability} is needed`;
    found.push(
      failed(`${what}: capability`, says, 'Take a newer GPU, or a recipe with another quantisation.'),
    );
  }
  if (driver !== undefined && compareVersions(gpu.driver, driver) < 0) {
    const says = `the driver is ${gpu.driver}, and ${driver} is needed`;
    found.push(failed(`${what}: driver`, says, `Install NVIDIA's driver ${driver} or newer.`));
  }
  return found.length > 0 ? found : [ok(what, `${gpu.name}, ${here(gpu.memoryBytes)}, driver ${gpu.driver}`)];
};

const gpuChecks = (recipe: Recipe, { gpus }: HostFacts): readonly Finding[] => {
  const wanted = gpusOf(recipe);
  if (wanted.length === 0) return [];
  const { gpu_memory: memory, driver } = recipe.host;
  const each = memory === undefined ? '' : ` with ${needed(memory)}${wanted.length > 1 ? ' each' : ''}`;
  const needs = `${wanted.length} GPU${wanted.length > 1 ? 's' : ''}${each}`;
  if (typeof gpus === 'string') {
    const says = `the recipe needs ${needs}, and none is seen here: ${gpus}`;
    const which = driver === undefined ? "NVIDIA's driver" : `NVIDIA's driver ${driver} or newer`;
    return [failed('GPUs', says, `Install ${which} (nvidia-smi comes with it), or take a host with GPUs.`)];
  }
  const missing = wanted.filter((index) => !gpus.some((gpu) => gpu.index === index));
  const found = gpus.filter(({ index }) => wanted.includes(index)).flatMap((gpu) => gpuProblems(recipe, gpu));
  if (missing.length === 0) return found;
  const says = `the recipe needs ${needs}, and this host has ${gpus.length}: no GPU ${missing.join(', ')}`;
  return [
    failed('GPUs', says, 'Take a host with more GPUs, or a topology with fewer: cgn recipe ls'),
    ...found,
  ];
};

/** Beside the model's own bytes: what a file system needs to stay well. */
const spareShare = 0.05;

const diskChecks = ({ model, kvcached, engines }: Recipe, facts: HostFacts): readonly Finding[] => {
  const { path, isThere, freeBytes } = facts.model;
  const found: Finding[] = [];
  if (isThere) found.push(ok('model', `${model.id} is here`));
  else if (model.download !== undefined && freeBytes !== undefined) {
    const takes = model.download * (1 + spareShare);
    const says = `${here(freeBytes)} are free at ${path}, and ${model.id} needs ${needed(takes)} there`;
    const fix = 'Make room there, or let the store use another disk (HF_HOME, OLLAMA_MODELS, --data-dir).';
    found.push(freeBytes < takes ? failed('disk', says, fix) : ok('disk', says));
  }
  const { directory, freeBytes: free } = facts.data;
  if (kvcached !== undefined && free !== undefined) {
    const parts = 1 + engines.filter((engine) => engine.kv_directory).length;
    const takes = parts * kvcached.disk;
    const says = `${here(free)} are free at ${directory}, and kvcached may take ${needed(takes)}`;
    found.push(
      free < takes
        ? failed('disk of kvcached', says, 'Make room, or name another --data-dir.')
        : ok('disk of kvcached', says),
    );
  }
  return found;
};

const tokenCheck = (
  { model }: Recipe,
  { model: { isThere }, hasHubToken }: HostFacts,
): readonly Finding[] => {
  if (!model.gated || isThere) return [];
  if (hasHubToken) return [ok('hub token', 'there is one')];
  const fix = `Accept the licence at https://huggingface.co/${model.id}, then: export HF_TOKEN=hf_... (or: hf auth login)`;
  return [failed('hub token', `${model.id} is gated, and no token of the hub is set`, fix)];
};

/** Ports that it will listen at, with who does. */
export const portsOf = ({
  recipe: { kvcached },
  edgePort,
}: Wanted): readonly (readonly [number, string])[] => [
  ...(edgePort === undefined ? [] : [[edgePort, 'the edge (--port)'] as const]),
  ...(kvcached === undefined
    ? []
    : [[kvcached.port, "kvcached's clients"] as const, [kvcached.status_port, "kvcached's status"] as const]),
];

/** Who holds the directory listens at ports, too: that is one thing to mend, not several. */
const portChecks = (wanted: Wanted, { takenPorts, heldBy }: HostFacts): readonly Finding[] =>
  (heldBy === undefined ? portsOf(wanted) : []).map(([port, whose]) => {
    if (!takenPorts.includes(port)) return ok(`port ${port}`, `free for ${whose}`);
    const fix = whose.includes('--port')
      ? 'Choose another with --port, or end what listens there.'
      : 'End what listens there, or change the port in recipe.toml.';
    return failed(`port ${port}`, `somebody listens there already, and ${whose} would`, fix);
  });

const releaseChecks = ({ release }: Recipe, { releases }: HostFacts): readonly Finding[] => {
  const { at_least: least, install } = release;
  // What comes with cgn is of its own release.
  if (least === undefined || install === undefined) return [];
  return releases.flatMap(({ engine, text }) => {
    const what = `engine ${engine}: release`;
    if (text === undefined) return [];
    const version = versionIn(text);
    if (version === undefined)
      return [note(what, `it does not say which it is; ${least} or newer is needed`)];
    if (compareVersions(version, least) >= 0) return [ok(what, version)];
    return [failed(what, `it is ${version}, and the flags need ${least}`, `Install a newer one: ${install}`)];
  });
};

/** Looked at here, or true only of an edge that runs already, or of who holds the directory. */
const isOurs = ({ what }: Finding, wanted: Wanted, { heldBy }: HostFacts): boolean => {
  if (['GPUs', 'configuration'].includes(what)) return true;
  if (heldBy !== undefined && what === 'agent') return true;
  if (wanted.edgePort !== undefined && ['edge', 'join'].includes(what)) return true;
  // What is fetched first is not there yet.
  return / model$/.test(what) && storeOf(wanted.recipe.model.store).fetchBefore !== undefined;
};

/** The doctor knows neither how a recipe's engine is installed nor how "cgn recipe" is told a token. */
const withFix = (finding: Finding, { release: { install } }: Recipe): Finding => {
  if (finding.outcome !== 'failed') return finding;
  if (finding.what === 'join') {
    return { ...finding, fix: 'Make one there with "cgn keys join", and give it in COGNITORA_JOIN_TOKEN.' };
  }
  if (install === undefined || !/ program$/.test(finding.what)) return finding;
  return { ...finding, fix: `Install it where PATH finds it: ${install}` };
};

/** Everything that was looked at, in the order in which somebody would mend it. */
export const requirementsOf = (
  wanted: Wanted,
  facts: HostFacts,
  doctor: readonly Finding[],
): readonly Finding[] => {
  const { recipe } = wanted;
  const held = facts.heldBy === undefined ? [] : [facts.heldBy];
  return [
    platformCheck(recipe, facts),
    ...memoryCheck(recipe, facts),
    ...gpuChecks(recipe, facts),
    ...doctor.filter((finding) => !isOurs(finding, wanted, facts)).map((finding) => withFix(finding, recipe)),
    ...releaseChecks(recipe, facts),
    ...diskChecks(recipe, facts),
    ...tokenCheck(recipe, facts),
    ...portChecks(wanted, facts),
    ...held.map((words) => failed('data directory', words, 'End it first, or name another --data-dir.')),
  ];
};
