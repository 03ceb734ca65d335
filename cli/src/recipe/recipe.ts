/**
 * One recipe, read once into a readonly value: the parser of recipe.toml, and the rules between its keys. Everything
 * behind it trusts what it returns. Renders nothing, and knows no engine by name: what a profile can do is the
 * agent's to say.
 */
import { ConfigError, Problems } from '@cognitora/protocol/config/config-error';
import { ConfigFile } from '@cognitora/protocol/config/config-file';
import type { Values } from '@cognitora/protocol/config/schema';
import {
  callerOf,
  looksSecret,
  readSection,
  readTable,
  refuseUnknown,
  type Sources,
  tablesOf,
} from '@cognitora/protocol/config/values';
import { isRecord } from '@cognitora/protocol/shape';
import * as toml from 'smol-toml';
import {
  engineSection,
  enginesMax,
  hostSection,
  kvcachedSection,
  modelSection,
  recipeSchema,
  releaseSection,
  topSection,
} from './schema.ts';

export type RecipeEngine = Values<typeof engineSection.keys>;

export interface Recipe {
  /** `<model>/<engine>/<topology>`: its folder under `recipes/`. */
  readonly name: string;
  readonly top: Values<typeof topSection.keys>;
  readonly model: Values<typeof modelSection.keys>;
  readonly host: Values<typeof hostSection.keys>;
  readonly release: Values<typeof releaseSection.keys>;
  /** Undefined: the topology has none. */
  readonly kvcached: Values<typeof kvcachedSection.keys> | undefined;
  readonly engines: readonly RecipeEngine[];
}

/** The GPUs that it needs, in order. */
export const gpusOf = ({ engines }: Pick<Recipe, 'engines'>): readonly number[] =>
  [...new Set(engines.flatMap(({ gpus }) => gpus))].sort((one, other) => one - other);

const refuseSecrets = (file: ConfigFile): void => {
  for (const [table, value] of Object.entries({ '': file.table, ...file.table })) {
    for (const name of isRecord(value) ? Object.keys(value) : []) {
      if (!looksSecret(name)) continue;
      const where = file.at(table === '' ? [name] : [table, name]);
      throw new ConfigError(
        `${where}: "${name}" looks like a secret, and recipes hold none. Set it in the environment of ` +
          '"cgn recipe up": engines inherit that (HF_TOKEN, for one).',
      );
    }
  }
};

const enginesOf = (file: ConfigFile, problems: Problems): readonly RecipeEngine[] => {
  const tables = tablesOf(file, engineSection, { max: enginesMax, says: 'engines a recipe' });
  if (tables.length === 0) {
    throw new ConfigError(`${file.path}: a recipe needs an engine: [[engine]] with profile = "vllm".`);
  }
  return tables.flatMap((table, index) => {
    const path = ['engine', index];
    const engine = problems.within(() => {
      refuseUnknown(file, recipeSchema, engineSection, table, path);
      const called = callerOf(file, path);
      return readSection(engineSection, { table, called, options: {}, environment: {} });
    });
    return engine === undefined ? [] : [engine];
  });
};

/** Only our own engine is there without an install. */
const checkInstall = (
  file: ConfigFile,
  engines: readonly RecipeEngine[],
  { install }: Recipe['release'],
): void => {
  const other = engines.find(({ profile }) => profile !== 'embedded');
  if (install !== undefined || other === undefined) return;
  throw new ConfigError(
    `${file.at(['release'])}: "install" in [release] is missing: how somebody installs ${other.profile}.`,
  );
};

/** A GPU works for one engine, unless the recipe says that it is shared. */
const checkGpus = (file: ConfigFile, engines: readonly RecipeEngine[], isShared: boolean): void => {
  const owners = new Map<number, number>();
  for (const [at, { gpus }] of engines.entries()) {
    for (const gpu of gpus) {
      const owner = owners.get(gpu);
      if (owner === at)
        throw new ConfigError(`${file.at(['engine', at, 'gpus'])}: gpus names GPU ${gpu} twice.`);
      if (owner !== undefined && !isShared) {
        throw new ConfigError(
          `${file.at(['engine', at, 'gpus'])}: GPU ${gpu} is engine ${owner}'s already. Name another, or ` +
            'say shared_gpus = true in [host] and bound the memory of both.',
        );
      }
      owners.set(gpu, at);
    }
  }
  const numbers = [...owners.keys()];
  const gap = numbers.find((gpu) => gpu > 0 && !owners.has(gpu - 1));
  if (gap !== undefined) {
    throw new ConfigError(
      `${file.at(['engine'])}: GPUs count from 0 without gaps, and ${gap - 1} is left out.`,
    );
  }
};

/** Half a pair serves nobody; and today a whole one serves nobody either. */
const checkRoles = (
  file: ConfigFile,
  engines: readonly RecipeEngine[],
  refuses: string | undefined,
): void => {
  const has = (role: string): boolean => engines.some((engine) => engine.role === role);
  if (has('prefill') !== has('decode')) {
    const [there, missing] = has('prefill') ? ['prefill', 'decode'] : ['decode', 'prefill'];
    throw new ConfigError(`${file.at(['engine'])}: role "${there}" needs an engine with role "${missing}".`);
  }
  if (has('prefill') && refuses === undefined) {
    throw new ConfigError(
      `${file.at(['engine'])}: no request reaches engines with role "prefill" and "decode" until they are ` +
        'split: say so with refuses = "..." at the top.',
    );
  }
};

/** Every port of loopback that an engine is pointed at. */
const portsNamed = ({ environment, arguments: words }: RecipeEngine): readonly number[] =>
  [...environment.values(), ...words].flatMap((text) =>
    [...text.matchAll(/(?:127\.0\.0\.1|localhost):(\d+)/g)].map(([, port]) => Number(port)),
  );

const checkPorts = (
  file: ConfigFile,
  engines: readonly RecipeEngine[],
  kvcached: Recipe['kvcached'],
): void => {
  if (kvcached !== undefined && kvcached.port === kvcached.status_port) {
    throw new ConfigError(`${file.at(['kvcached'])}: port and status_port must differ.`);
  }
  for (const [at, engine] of engines.entries()) {
    const other = portsNamed(engine).find((port) => port !== kvcached?.port);
    if (other === undefined) continue;
    const fix =
      kvcached === undefined ? 'Add a [kvcached] with that port.' : `kvcached listens at ${kvcached.port}.`;
    throw new ConfigError(
      `${file.at(['engine', at])}: nothing of this recipe listens at port ${other}. ${fix}`,
    );
  }
};

/** `text` is what `path` holds. Throws one `ConfigError` for all that is wrong. */
export const parseRecipe = (name: string, path: string, text: string): Recipe => {
  const file = new ConfigFile(path, text, toml);
  refuseSecrets(file);
  const problems = new Problems();
  const sources: Sources = { file, options: {}, environment: {} };
  const top = problems.within(() => readTable(recipeSchema, topSection, sources));
  const model = problems.within(() => readTable(recipeSchema, modelSection, sources));
  const host = problems.within(() => readTable(recipeSchema, hostSection, sources));
  const release = problems.within(() => readTable(recipeSchema, releaseSection, sources));
  const kvcached = problems.within(() =>
    file.table.kvcached === undefined ? undefined : readTable(recipeSchema, kvcachedSection, sources),
  );
  const engines = problems.within(() => enginesOf(file, problems)) ?? [];
  problems.throwIfAny();
  if (top === undefined || model === undefined || host === undefined || release === undefined) {
    throw new ConfigError(`${path}: nothing could be read.`);
  }
  for (const check of [
    () => checkGpus(file, engines, host.shared_gpus),
    () => checkRoles(file, engines, top.refuses),
    () => checkPorts(file, engines, kvcached),
    () => checkInstall(file, engines, release),
  ]) {
    problems.within(check);
  }
  problems.throwIfAny();
  return { name, top, model, host, release, kvcached, engines };
};
