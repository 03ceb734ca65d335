/**
 * The files beside a recipe.toml, all made from it: the daemons' configurations as services would have them, a README,
 * and the two scripts; and recipes/README.md, made from the schema. Pure.
 */
import { schemaDocument } from '@cognitora/protocol/config/documentation';
import { byteSize } from '../terminal.ts';
import { gpusOf, type Recipe } from './recipe.ts';
import { renderRecipe, serviceDirectory } from './render.ts';
import { recipeSchema } from './schema.ts';

export interface RecipeDocument {
  readonly name: string;
  readonly text: string;
  readonly isProgram: boolean;
}

/** In a clone and in an installed release alike; paths in the options are those of whoever calls it. */
const script = ({ name }: Recipe, action: 'up' | 'down'): string =>
  `#!/bin/sh
# ${action === 'up' ? 'Serves it' : 'Ends it'}: options and all as "cgn recipe ${action}" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe ${action} ${name} "$@"
`;

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;

const needs = (recipe: Recipe): string => {
  const { host, model, release } = recipe;
  const gpus = gpusOf(recipe).length;
  const parts = [
    host.platforms.join(' or '),
    ...(gpus === 0 ? [] : [count(gpus, 'GPU')]),
    ...(host.driver === undefined ? [] : [`NVIDIA's driver ${host.driver}`]),
    ...(model.download === undefined ? [] : [`${byteSize(model.download)} of disk for \`${model.id}\``]),
    ...(model.gated ? ['a token of the hub (`HF_TOKEN`)'] : []),
  ];
  const engine =
    release.install === undefined
      ? 'Its engine comes with cgn.'
      : `Install the engine first: \`${release.install}\``;
  return `Needs ${parts.join(', ')}.\n${engine}`;
};

const standing = ({ top: { tested, refuses } }: Recipe): string => {
  if (refuses !== undefined) return `**It cannot be brought up today.** ${refuses}`;
  if (tested) return 'Brought up, asked and ended by a test in CI, on Linux x86-64.';
  const shown = 'Tests hold its flags against that release, and run its topology with a shim in its place.';
  return `**Never run with the real engine.** ${shown}`;
};

const readme = (recipe: Recipe): string => `# ${recipe.name}

${recipe.top.summary}, as \`${recipe.model.name}\`.
${needs(recipe)}

\`\`\`sh
./up.sh      # looks at the host, names what is missing; else serves at http://127.0.0.1:8080 and says how to ask it
./down.sh    # ends it; both take the options of "cgn recipe --help"
\`\`\`

${standing(recipe)}
From: ${recipe.top.source}.
`;

export const documentsOf = (recipe: Recipe): readonly RecipeDocument[] => {
  const { agent, kvcached } = renderRecipe(recipe, serviceDirectory);
  return [
    { name: 'agent.toml', text: agent, isProgram: false },
    ...(kvcached === undefined ? [] : [{ name: 'kvcached.toml', text: kvcached, isProgram: false }]),
    { name: 'README.md', text: readme(recipe), isProgram: false },
    { name: 'up.sh', text: script(recipe, 'up'), isProgram: true },
    { name: 'down.sh', text: script(recipe, 'down'), isProgram: true },
  ];
};

const keysTitles = {
  '': 'At the top of the file',
  '[model]': '`[model]`',
  '[host]': '`[host]`: what it needs',
  '[release]': '`[release]` of the engine',
  '[kvcached]': '`[kvcached]`, where one runs beside the engine',
  '[[engine]]': '`[[engine]]`, once for each engine',
};

const introduction = `# Recipes

Made from \`cli/src/recipe/schema.ts\` by \`node scripts/recipe-files.ts\`.

A recipe says which engine serves a model, with which flags, on which hosts.
It is a folder: \`recipes/MODEL/ENGINE/TOPOLOGY/\`.

\`\`\`sh
npm run cgn -- recipe ls                # which there are, what they need, which is up
npm run cgn -- recipe show NAME         # all of one, with the exact command of its engine
npm run cgn -- recipe up NAME           # names what this host lacks; else serves, and says how to ask it
npm run cgn -- recipe down NAME         # ends exactly that
\`\`\`

\`recipe.toml\` is the one file that a person writes; the others beside it are made from it. One of your own
may lie anywhere: its path is its name. A key that is none is an error which names the nearest one.
Secrets stand in none: engines inherit the environment of \`cgn recipe up\` (\`HF_TOKEN\`, for one).
`;

/** recipes/README.md. */
export const recipesDocument = (): string =>
  `${[introduction.trimEnd(), ...schemaDocument(recipeSchema, keysTitles)].join('\n\n')}\n`;
