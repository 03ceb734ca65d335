/** Plans of a shape of their own, in which every request has to be complete. */
import { expect, test } from 'vitest';
import { cutOff, cutOffFaults, heavy } from './plan.ts';
import { loadPrograms } from './programs.ts';
import { type Ran, type RunOptions, runSeed } from './run-seed.ts';

const seeds = 4;

/** Runs them, and each is complete. */
const completeRuns = async (options: RunOptions): Promise<readonly Ran[]> => {
  const programs = await loadPrograms();
  const runs: Ran[] = [];
  for (let seed = 0; seed < seeds; seed += 1) {
    const ran = await runSeed(seed, programs, options);
    expect(ran.violations, `seed ${seed}`).toEqual([]);
    expect(new Set(ran.clients.map(({ outcome }) => outcome)), `seed ${seed}`).toEqual(new Set(['complete']));
    runs.push(ran);
  }
  return runs;
};

test('streams whose link or its object goes in their midst go on over the next link, whole', {
  timeout: 60_000,
}, async () => {
  const runs = await completeRuns({ faults: cutOffFaults, shape: cutOff });
  expect(runs.reduce((sum, { resumed }) => sum + resumed, 0)).toBeGreaterThan(3 * seeds);
});

test('of answers and prompts larger than what may be kept or on its way no more than that is', {
  timeout: 60_000,
}, async () => {
  await completeRuns({ shape: heavy });
});
