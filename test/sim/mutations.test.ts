/** Planted bugs that are found by the seed beside them: the simulation sees. All: `npm run sim -- --mutations`. */
import { expect, test } from 'vitest';
import { catches, mutations } from './mutations.ts';
import { faultKinds } from './plan.ts';

/** The seed beside it, and as many more: any change of the product or of the plans may move what a seed shows. */
const seedsTried = 10;
/** Of those that have to find nothing: each is run. */
const seedsWithout = 5;

test.each(mutations.filter(({ seed }) => seed !== undefined))(
  '$name is found',
  { timeout: 120_000 },
  async (mutation) => {
    expect(await catches(mutation, seedsTried)).toBeDefined();
  },
);

test.each(mutations.filter(({ faults }) => faults?.every((kind) => kind === 'calls repeated')))(
  '$name is found by calls that come twice alone',
  { timeout: 120_000 },
  async (mutation) => {
    const faults = faultKinds.filter((kind) => kind !== 'calls repeated');
    expect(await catches({ ...mutation, faults }, seedsWithout)).toBeUndefined();
  },
);
