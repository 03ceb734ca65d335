/** The recipes of this tree: which there are, and one of them by its name. Reads files; changes none. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { nearestOf } from '@cognitora/protocol/config/nearest';
import { UserError } from '../terminal.ts';
import { parseRecipe, type Recipe } from './recipe.ts';

export const recipesDirectory = join(resolve(dirname(fileURLToPath(import.meta.url)), '../../..'), 'recipes');

/** In alphabetical order. */
export const recipeNames = (directory: string = recipesDirectory): readonly string[] =>
  globSync('*/*/*/recipe.toml', { cwd: directory })
    .map((path) => dirname(path).replaceAll('\\', '/'))
    .sort();

/** Throws a `UserError` that names the nearest one, or what is wrong in its file. */
export const loadRecipe = (named: string, directory: string = recipesDirectory): Recipe => {
  const names = recipeNames(directory);
  const name = named.replace(/^(?:\.\/)?recipes\//, '').replace(/\/(?:recipe\.toml)?$/, '');
  if (!names.includes(name)) {
    const nearest = nearestOf(name, names);
    const meant = nearest === '' ? '' : ` The nearest is ${nearest};`;
    throw new UserError(`There is no recipe "${named}".${meant} "cgn recipe ls" shows all.`, 2);
  }
  const path = join(directory, name, 'recipe.toml');
  try {
    return parseRecipe(name, path, readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw thrown instanceof ConfigError ? new UserError(thrown.message, 2) : thrown;
  }
};
