/** The runs that belong to every test run, for one layout. A seed that fails is named with how to replay it. */
import { expect, test } from 'vitest';
import { type Layout, layouts } from './plan.ts';
import { loadPrograms } from './programs.ts';
import { runSeed } from './run-seed.ts';

/** Of each layout. */
const seedsPerLayout = 100;

export const runsOfLayout = (layout: Layout): void => {
  test(`${seedsPerLayout} seeds of the layout ${layout} hold all invariants`, {
    timeout: 180_000,
  }, async () => {
    const programs = await loadPrograms();
    const failed: string[] = [];
    for (let index = 0; index < seedsPerLayout; index += 1) {
      const seed = index * layouts.length + layouts.indexOf(layout);
      const ran = await runSeed(seed, programs);
      expect(ran.plan.layout).toBe(layout);
      const [first] = ran.violations;
      if (first !== undefined) failed.push(`npm run sim -- --seed ${seed}: ${first}`);
    }
    expect(failed).toEqual([]);
  });

  test(`a seed of the layout ${layout} replays to the last event`, async () => {
    const programs = await loadPrograms();
    const seed = layouts.indexOf(layout);
    const [one, other] = [
      await runSeed(seed, programs),
      await runSeed(seed, programs, { isTraceKept: true }),
    ];
    expect(other.traceHash).toBe(one.traceHash);
    expect(other.events).toBe(one.events);
    const another = await runSeed(seed + layouts.length, programs);
    expect(another.traceHash).not.toBe(one.traceHash);
  });
};
