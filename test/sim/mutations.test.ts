/** Planted bugs that are found by the seed beside them: the simulation sees. All: `npm run sim -- --mutations`. */
import { expect, test } from 'vitest';
import { catches, mutations } from './mutations.ts';

/** The seed beside it, and as many more: any change of the product or of the plans may move what a seed shows. */
const seedsTried = 10;

test.each(mutations.filter(({ seed }) => seed !== undefined))(
  '$name is found',
  { timeout: 120_000 },
  async (mutation) => {
    expect(await catches(mutation, seedsTried)).toBeDefined();
  },
);
