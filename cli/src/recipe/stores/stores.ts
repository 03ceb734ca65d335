/** The table of all places that models come from, by the names that recipes use. */
import { file } from './file.ts';
import { hub } from './hub.ts';
import { made } from './made.ts';
import { ollama } from './ollama.ts';
import type { ModelStore } from './store.ts';

const stores = { hub, file, ollama, made } as const satisfies Record<string, ModelStore>;

export type StoreName = keyof typeof stores;
export const storeNames = Object.keys(stores) as StoreName[];

export const storeOf = (name: StoreName): ModelStore => stores[name];
