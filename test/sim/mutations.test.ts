/** Each planted bug is found by one of few seeds: so the simulation sees what it is there to see. */
import { expect, test } from 'vitest';
import { catches, mutations } from './mutations.ts';

/** Most are found by one of the first. */
const seedsMax = 40;

test.each(mutations)('$name is found', { timeout: 60_000 }, async (mutation) => {
  expect(await catches(mutation, seedsMax)).toBeDefined();
});
