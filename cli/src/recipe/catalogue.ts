/** The recipes of this tree: which there are, and one of them by its name. Reads files; changes none. */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { editDistance, nearestOf } from '@cognitora/protocol/config/nearest';
import { fileTrouble } from '../file-trouble.ts';
import { UserError } from '../terminal.ts';
import { parseRecipe, type Recipe } from './recipe.ts';

export const recipesDirectory = join(resolve(dirname(fileURLToPath(import.meta.url)), '../../..'), 'recipes');

/** In alphabetical order. */
export const recipeNames = (directory: string = recipesDirectory): readonly string[] =>
  globSync('*/*/*/recipe.toml', { cwd: directory })
    .map((path) => dirname(path).replaceAll('\\', '/'))
    .sort();

/** Throws a `UserError` that says what is wrong in the file. */
const readRecipe = (name: string, path: string): Recipe => {
  // A pipe would keep us waiting.
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new UserError(`${path} is no file.`, 2);
  try {
    return parseRecipe(name, path, readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw thrown instanceof ConfigError
      ? new UserError(thrown.message, 2)
      : (fileTrouble(thrown, path) ?? thrown);
  }
};

/** The nearest name that has something in common with that one; empty: none has. */
const meantBy = (name: string, names: readonly string[]): string => {
  const nearest = nearestOf(name, names);
  const parts = name.split('/').filter((part) => part !== '');
  const sharesPart = nearest.split('/').some((part) => parts.includes(part));
  const isTypo = editDistance(name, nearest) <= nearest.length / 3;
  return sharesPart || isTypo ? nearest : '';
};

/** A folder's name, or the path of a recipe.toml of one's own. Throws a `UserError` that says what may be meant. */
export const loadRecipe = (named: string, directory: string = recipesDirectory): Recipe => {
  const own = resolve(named);
  if (named.endsWith('.toml') && existsSync(own) && !own.startsWith(directory + sep))
    return readRecipe(own, own);
  const names = recipeNames(directory);
  const name = named.replace(/^(?:\.\/)?recipes\//, '').replace(/\/(?:recipe\.toml)?$/, '');
  if (!names.includes(name)) {
    if (named.endsWith('.toml')) throw new UserError(`There is no file ${own}.`, 2);
    const nearest = meantBy(name, names);
    const meant = nearest === '' ? '' : ` The nearest is ${nearest};`;
    throw new UserError(`There is no recipe "${named}".${meant} "cgn recipe ls" shows all.`, 2);
  }
  return readRecipe(name, join(directory, name, 'recipe.toml'));
};
