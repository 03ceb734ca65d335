/**
 * The Hugging Face hub: the engine fetches the model by itself into the hub's cache, which lies where the variables of
 * `huggingface_hub` say. Looks there, fetches nothing.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelStore, StorePlace } from './store.ts';

const cacheOf = ({ HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME = '' }: StorePlace['environment']): string => {
  if (HF_HUB_CACHE) return HF_HUB_CACHE;
  return join(HF_HOME || join(XDG_CACHE_HOME || join(HOME, '.cache'), 'huggingface'), 'hub');
};

const pathOf = ({ id, environment }: StorePlace): string =>
  join(cacheOf(environment), `models--${id.replaceAll('/', '--')}`);

const namesIn = (path: string): readonly string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

/** A model in several files names their number in each: all must be there. */
const isWhole = (names: readonly string[]): boolean => {
  const weights = names.filter((name) => /\.(?:safetensors|gguf)$/.test(name));
  const count = /-of-(\d+)\.\w+$/.exec(weights[0] ?? '')?.[1];
  return weights.length >= Math.max(1, Number(count ?? 1));
};

export const hub: ModelStore = {
  name: 'hub',
  modelOf: ({ id }) => id,
  pathOf,
  isThere: (place) => {
    const path = pathOf(place);
    // What is on its way has that ending among the blobs.
    if (namesIn(join(path, 'blobs')).some((name) => name.endsWith('.incomplete'))) return false;
    return namesIn(join(path, 'snapshots')).some((revision) =>
      isWhole(namesIn(join(path, 'snapshots', revision))),
    );
  },
  bytesThere: (place) => {
    const blobs = join(pathOf(place), 'blobs');
    const sizes = namesIn(blobs).map(
      (name) => statSync(join(blobs, name), { throwIfNoEntry: false })?.size ?? 0,
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  },
};
