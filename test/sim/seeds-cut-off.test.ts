/** Streams that had begun when their link, or what hosts it, went: all go on over the next link, whole. */
import { expect, test } from 'vitest';
import { cutOff, cutOffFaults } from './plan.ts';
import { loadPrograms } from './programs.ts';
import { runSeed } from './run-seed.ts';

const seeds = 8;

test(`streams of ${seeds} seeds that are cut off in their midst go on whole`, {
  timeout: 60_000,
}, async () => {
  const programs = await loadPrograms();
  let resumed = 0;
  for (let seed = 0; seed < seeds; seed += 1) {
    const ran = await runSeed(seed, programs, { faults: cutOffFaults, shape: cutOff });
    expect(ran.violations, `seed ${seed}`).toEqual([]);
    const ends = ran.clients.map(({ outcome }) => outcome);
    expect(ends, `seed ${seed}`).toEqual(ends.map(() => 'complete'));
    resumed += ran.resumed;
  }
  expect(resumed).toBeGreaterThan(3 * seeds);
});
