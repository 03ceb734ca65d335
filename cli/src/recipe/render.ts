/**
 * From a recipe to the files of the daemons: the agent's agent.toml, and kvcached's where the topology has one. Pure.
 * Flags of engines are not its business: the agent's profiles make those from what stands here.
 */
import { join } from 'node:path';
import { shownSize } from '@cognitora/protocol/config/kinds';
import { stringify } from 'smol-toml';
import type { Recipe, RecipeEngine } from './recipe.ts';
import { storeOf } from './stores/stores.ts';

/** Of the committed files: where the services of docs/ keep theirs. */
export const serviceDirectory = '/var/lib/cognitora';

export interface RenderedFiles {
  readonly agent: string;
  /** Undefined: the topology has no kvcached. */
  readonly kvcached: string | undefined;
}

/** Of the engine at that place in the recipe. */
export const kvDirectory = (dataDirectory: string, at: number): string =>
  join(dataDirectory, 'kv', String(at));

/** Without the keys that say what would be so anyway. */
const engineTable = (
  { model: { name, store, id, served_as } }: Recipe,
  engine: RecipeEngine,
  at: number,
  dataDirectory: string,
): Record<string, unknown> => {
  const filled = (text: string): string => text.replaceAll('{data}', dataDirectory);
  const { replicas, gpus, kv_offload: kvOffload, arguments: words, environment } = engine;
  const table: Record<string, unknown> = { profile: engine.profile };
  if (engine.name !== undefined) table.name = engine.name;
  if (engine.role !== 'both') table.role = engine.role;
  table.model = storeOf(store).modelOf({ id, dataDirectory });
  // One that cannot be told what to call its model is known by another name.
  if (served_as === undefined) table.served_name = name;
  else if (served_as !== name) table.aliases = { [name]: served_as };
  if (replicas > 1) table.replicas = replicas;
  if (gpus.length > 0) table.gpus = gpus;
  if (kvOffload !== 'none') table.kv_offload = kvOffload;
  if (engine.kv_directory) table.kv_directory = kvDirectory(dataDirectory, at);
  if (words.length > 0) table.arguments = words.map(filled);
  if (environment.size > 0) {
    table.environment = Object.fromEntries([...environment].map(([key, value]) => [key, filled(value)]));
  }
  return table;
};

const kvcachedTable = (
  { model, kvcached, engines }: Recipe,
  dataDirectory: string,
): Record<string, unknown> | undefined => {
  if (kvcached === undefined) return undefined;
  const { ram, disk, port, status_port } = kvcached;
  const mirrors = engines.flatMap((engine, at) =>
    engine.kv_directory
      ? [
          {
            directory: kvDirectory(dataDirectory, at),
            max_bytes: shownSize(disk),
            fields: { model: model.id, engine: engine.profile },
          },
        ]
      : [],
  );
  return {
    data_dir: join(dataDirectory, 'kvcached'),
    ram: shownSize(ram),
    disk: shownSize(disk),
    listen: [`127.0.0.1:${port}`],
    status: `127.0.0.1:${status_port}`,
    ...(mirrors.length > 0 && { mirror: mirrors }),
  };
};

const headed = (recipe: Recipe, usage: string, table: Record<string, unknown>): string =>
  `# ${recipe.name}, made from its recipe.toml by "node scripts/recipe-files.ts".
# ${usage}

${stringify(table)}`;

export const renderRecipe = (recipe: Recipe, dataDirectory: string): RenderedFiles => {
  const engine = recipe.engines.map((each, at) => engineTable(recipe, each, at, dataDirectory));
  const kvcached = kvcachedTable(recipe, dataDirectory);
  return {
    agent: headed(recipe, 'cgn agent --config agent.toml --edge https://edge.example', { engine }),
    kvcached: kvcached && headed(recipe, 'cgn kvcached --config kvcached.toml', kvcached),
  };
};
