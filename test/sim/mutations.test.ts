/** Planted bugs that one of the first seeds finds: the simulation sees. All: `npm run sim -- --mutations`. */
import { expect, test } from 'vitest';
import { catches, mutations } from './mutations.ts';

const quick: readonly string[] = [
  'a cordon that is ignored',
  'a replica that is not ready gets work',
  'an END that is lost',
  '[DONE] behind a failure',
  'a stream that goes on from the begin',
  'another request where a part of the answer was sent',
  'a kept stream that nobody ends',
];

test.each(mutations.filter(({ name }) => quick.includes(name)))(
  '$name is found',
  { timeout: 120_000 },
  async (mutation) => {
    expect(await catches(mutation, 10)).toBeDefined();
  },
);
