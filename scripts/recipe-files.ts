/** Writes the files beside each recipe.toml from it, and recipes/README.md from the schema. A test keeps them equal. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadRecipe, recipeNames, recipesDirectory } from '@cognitora/cli/recipe/catalogue';
import { documentsOf, recipesDocument } from '@cognitora/cli/recipe/documents';

writeFileSync(join(recipesDirectory, 'README.md'), recipesDocument());
for (const name of recipeNames()) {
  for (const { name: file, text, isProgram } of documentsOf(loadRecipe(name))) {
    const path = join(recipesDirectory, name, file);
    writeFileSync(path, text);
    chmodSync(path, isProgram ? 0o755 : 0o644);
  }
}
