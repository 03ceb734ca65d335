/**
 * Which model `cgn up` serves when nobody names one: the newest real model in the data directory, else the toy.
 * A model that comes in several files counts as one, is named by its first file (llama.cpp opens that one and finds
 * the rest), is as new as its newest file, and counts only when all its files are there.
 */
import { globSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';

interface Candidate {
  readonly path: string;
  readonly newestMs: number;
}

const partPattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/** The files of a model whose first file this is, itself among them; undefined for a later part of another. */
const filesOf = (path: string): readonly string[] | undefined => {
  const [, stem, part, count] = partPattern.exec(path) ?? [];
  if (part === undefined) return [path];
  if (Number(part) !== 1) return undefined;
  return Array.from(
    { length: Number(count) },
    (_, at) => `${stem}-${String(at + 1).padStart(5, '0')}-of-${count}.gguf`,
  );
};

const candidateAt = (path: string): Candidate | undefined => {
  const times = filesOf(path)?.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs);
  if (times === undefined || times.length === 0) return undefined;
  const known = times.filter((time) => time !== undefined);
  return known.length === times.length ? { path, newestMs: Math.max(...known) } : undefined;
};

export const defaultModel = (dataDirectory: string): string => {
  const candidates = globSync('models/**/*.gguf', { cwd: dataDirectory })
    .filter((file) => !basename(file).startsWith('tiny'))
    .flatMap((file) => candidateAt(join(dataDirectory, file)) ?? [])
    .sort((left, right) => right.newestMs - left.newestMs);
  return candidates[0]?.path ?? 'tiny';
};
