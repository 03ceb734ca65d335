/** Whether a `--model` that is a path can be one, before anything starts: the engine would find out much later. */
import { closeSync, openSync, readSync } from 'node:fs';
import { UserError } from './terminal.ts';

const magic = 'GGUF';

/** Throws a `UserError` that names the fix. Other kinds of model are the engine's to judge. */
export const checkModelFile = (model: string): void => {
  if (model === 'tiny' || model.startsWith('hf:')) return;
  const head = beginningOf(model);
  if (head === undefined) {
    const kinds = '"tiny", the path of a .gguf file, or hf:OWNER/REPO/FILE.gguf';
    throw new UserError(`There is no file "${model}" that can be read. --model takes ${kinds}.`, 2);
  }
  if (head !== magic) throw new UserError(`"${model}" is not a GGUF file: it does not begin with "GGUF".`, 2);
};

/** Undefined where there is no such file. */
const beginningOf = (path: string): string | undefined => {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const bytes = Buffer.alloc(magic.length);
    return bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0));
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
};
