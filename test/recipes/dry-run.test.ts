/**
 * Each recipe's topology on this machine: the agent with the recipe's own file, a shim in the place of each engine's
 * program that is executed with the rendered arguments and refuses an option that its release does not have. What the
 * toy needs is here: it runs as it is.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { loadRecipe, recipeNames } from '../../cli/src/recipe/catalogue.ts';
import { renderRecipe } from '../../cli/src/recipe/render.ts';
import type { Program } from '../harness/program.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { installShims } from './shims.ts';

const kvcachedMain = join(import.meta.dirname, '../../kvcache/src/main.ts');
const names = recipeNames();
/** Fifteen programs start at once, on a machine with other work. */
const readyMsMax = 75_000;
/** Of the engines of one recipe, on the host that has those of all. */
const markOf = (name: string): string => `n${names.indexOf(name)}`;

interface Tables {
  readonly engine: readonly Record<string, unknown>[];
}

/** One host for all: fifteen agents would take a core half a minute to start. Its engines keep what is theirs. */
const agentFile = (directory: string): string => {
  const engine = names.flatMap((name) => {
    const recipe = loadRecipe(name);
    const { engine: tables } = parse(
      renderRecipe(recipe, join(directory, markOf(name))).agent,
    ) as unknown as Tables;
    // What a server without a model of its own lists.
    const served = { SHIM_MODEL: recipe.model.served_as ?? recipe.model.name };
    return tables.map(({ environment, ...table }, at) => ({
      ...table,
      name: `${markOf(name)}-${at}`,
      environment: { ...(environment as object | undefined), ...served },
    }));
  });
  return stringify({ engine });
};

describe('the topologies of all recipes', () => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
  let path = '';
  beforeAll(async () => {
    const { cluster } = fixture;
    path = installShims(cluster.directory);
    const config = agentFile(cluster.directory);
    const started = cluster.startAgent({ name: 'all', engines: [], config, environment: { PATH: path } });
    // It waits as long as for one engine.
    started.catch(() => {});
    const areReady = async (): Promise<boolean> => {
      const { replicas } = await cluster.node('all');
      return replicas.every(({ state, models }) => state === 'ready' && models.length > 0);
    };
    await until('all engines to be ready', areReady, readyMsMax);
  });

  test.each(names)(
    '%s: every replica is ready, under the name and in the role of the recipe',
    async (name) => {
      const { engines, model } = loadRecipe(name);
      const { replicas } = await fixture.cluster.node('all');
      const ours = replicas.filter((replica) => replica.name.startsWith(`${markOf(name)}-`));
      expect(ours.map(({ role, state, models }) => [role, state, models])).toEqual(
        engines.map(({ role }) => [role, 'ready', [model.name]]),
      );
    },
  );

  test('clients are served each model that a recipe names', async () => {
    const models = new Set(names.map((name) => loadRecipe(name).model.name));
    for (const model of models) {
      const answer = await fixture.cluster
        .sdk()
        .chat.completions.create({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 4 });
      expect(answer.choices[0]?.message.content, model).toBeTruthy();
    }
  });

  test('an engine with an option that its release does not have ends, and says which', async () => {
    const recipe = loadRecipe('qwen3-8b/vllm/1x24gb');
    const { agent } = renderRecipe(recipe, join(fixture.cluster.directory, 'odd'));
    const config = agent.replace('"--max-model-len"', '"--max-model-length"');
    expect(config).not.toBe(agent);
    const ended = fixture.cluster.startAgent({
      name: 'odd',
      engines: [],
      config,
      environment: { PATH: path },
    });
    ended.catch(() => {});
    const words = 'vllm: vLLM 0.32.0 does not know --max-model-length';
    await until('the agent to say why its engine ended', () => fixture.cluster.log.text().includes(words));
  });

  const withKvcached = names.filter((name) => loadRecipe(name).kvcached !== undefined);
  test.each(withKvcached)('%s: kvcached serves with its file', async (name) => {
    const { cluster } = fixture;
    const directory = join(cluster.directory, `k${markOf(name)}`);
    const { kvcached = '' } = renderRecipe(loadRecipe(name), directory);
    const config = `${directory}.toml`;
    mkdirSync(join(directory, 'kv/0'), { recursive: true });
    writeFileSync(config, kvcached);
    // Its ports and sizes are another host's: those of this machine come before the file.
    const argv = [
      '--listen',
      `127.0.0.1:${await freePort()}`,
      '--status',
      'off',
      '--ram',
      '64MiB',
      '--disk',
      '1GiB',
    ];
    const program: Program = cluster.startProgram(`kvcached ${name}`, [
      kvcachedMain,
      '--config',
      config,
      ...argv,
    ]);
    await until('kvcached to serve', () => program.said.some(({ event }) => event === 'serving'));
    await program.stop();
  });
});
