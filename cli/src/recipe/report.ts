/** Recipes in words: the list, one of them with all that it would run, and what a person reads once it is up. */
import { shownSize } from '@cognitora/protocol/config/kinds';
import { dataOption } from '../admin-client.ts';
import { quoted, shellWord } from '../shell-word.ts';
import { byteSize, table } from '../terminal.ts';
import type { EnginePlan } from './agent-programs.ts';
import type { Served } from './keeper-lines.ts';
import { gpusOf, type Recipe } from './recipe.ts';
import type { RenderedFiles } from './render.ts';
import { timesInWords } from './stages.ts';

const gpuWords = ({ host, ...recipe }: Recipe): string => {
  const count = gpusOf(recipe).length;
  if (count === 0) return '-';
  return host.gpu_memory === undefined ? String(count) : `${count} x ${shownSize(host.gpu_memory)}`;
};

export const stateWords = (recipe: Recipe, upName: string | undefined): string => {
  if (recipe.name === upName) return 'up';
  if (recipe.top.refuses !== undefined) return 'refuses';
  return recipe.top.tested ? 'tested' : 'never run';
};

export const listReport = (recipes: readonly Recipe[], upName: string | undefined): string =>
  table(
    ['RECIPE', 'GPUS', 'DOWNLOAD', 'STATE', 'WHAT IT IS'],
    recipes.map((recipe) => [
      recipe.name,
      gpuWords(recipe),
      recipe.model.download === undefined ? '-' : byteSize(recipe.model.download),
      stateWords(recipe, upName),
      recipe.top.summary,
    ]),
  );

/** As a shell takes it: variables, then the program, an option with its value on each line. */
export const commandReport = ({ program, argv, environment }: EnginePlan): string => {
  const lines = Object.entries(environment).map(([name, value]) => `${name}=${shellWord(value)}`);
  lines.push(shellWord(program));
  for (const word of argv) {
    if (word.startsWith('-')) lines.push(`  ${shellWord(word)}`);
    else lines.push(`${lines.pop()} ${shellWord(word)}`);
  }
  return lines.join(' \\\n');
};

const needsRows = (recipe: Recipe): readonly (readonly [string, string])[] => {
  const { host, model, release } = recipe;
  const least = release.at_least === undefined ? '' : `${release.at_least} or newer: `;
  return [
    ['platform', host.platforms.join(', ')],
    ...(host.memory === undefined ? [] : [['memory', shownSize(host.memory)] as const]),
    ...(gpusOf(recipe).length === 0 ? [] : [['GPUs', gpuWords(recipe)] as const]),
    ...(host.gpu_capability === undefined ? [] : [['capability', host.gpu_capability] as const]),
    ...(host.driver === undefined ? [] : [['driver', host.driver] as const]),
    ...(model.download === undefined ? [] : [['disk', `${byteSize(model.download)} for the model`] as const]),
    ...(model.gated ? [['hub token', 'HF_TOKEN, once the licence is accepted'] as const] : []),
    ['engine', `${least}${release.install ?? 'comes with cgn'}`],
  ];
};

export const showReport = (recipe: Recipe, files: RenderedFiles, plans: readonly EnginePlan[]): string => {
  const { top, model } = recipe;
  const rows: (readonly [string, string])[] = [
    ['recipe', recipe.name],
    ['', top.summary],
    ['model', `${model.name}, which is ${model.id} (${model.store})`],
    ...needsRows(recipe),
    ['run', top.tested ? 'tested' : 'never, with the real engine'],
    ['from', top.source],
    ...(top.refuses === undefined ? [] : [['refuses', top.refuses] as const]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const commands = plans.map(
    (plan) =>
      `# ${plan.name}: ${plan.profile}; its ports are found free at the start\n${commandReport(plan)}`,
  );
  const written = plans.flatMap(({ files: each }) =>
    Object.entries(each).map(([path, text]) => `# ${path}\n${text.trimEnd()}`),
  );
  return [
    rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n'),
    ...commands,
    ...written,
    `# agent.toml\n${files.agent.trimEnd()}`,
    ...(files.kvcached === undefined ? [] : [`# kvcached.toml\n${files.kvcached.trimEnd()}`]),
  ].join('\n\n');
};

export const servedReport = (recipe: Recipe, served: Served, dataDirectory: string): string => {
  const { edge, own, times } = served;
  const option = dataOption(dataDirectory);
  const took = timesInWords(times);
  const ends = `  End it with:    npm run cgn -- recipe down ${recipe.name}${option}
  Its agent:      npm run cgn -- agent status --data-dir ${shellWord(`${dataDirectory}/agent`)}
  Logs:           ${dataDirectory}/logs, ${dataDirectory}/agent/logs`;
  if (own === undefined) {
    return `
This host serves ${recipe.model.name} at ${edge} (${recipe.name}, ready after ${took})

${ends}`;
  }
  const body = JSON.stringify({ model: own.model, ...own.example });
  return `
Cognitora serves ${own.model} (${recipe.name}, ready after ${took})

  endpoint  ${edge}/v1
  API key   ${own.apiKey}

  curl -N ${edge}${own.path} \\
    -H 'authorization: Bearer ${own.apiKey}' -H 'content-type: application/json' \\
    -d ${quoted(body)}

  Another host joins with:  npm run cgn -- keys join${option}
${ends}`;
};
