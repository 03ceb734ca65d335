/** A model that the engine makes on the spot: nothing to fetch. */
import type { ModelStore } from './store.ts';

export const made: ModelStore = {
  name: 'made',
  modelOf: ({ id }) => id,
  pathOf: () => undefined,
  isThere: () => true,
};
