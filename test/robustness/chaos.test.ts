/**
 * A short chaos run (`npm run chaos` is the long one): engines, links, agents and the edge are harmed under live
 * streams whose right text is known. Another seed in each run; it is in the name.
 */
import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, startFleet } from '../../bench/chaos/fleet.ts';
import { type ChaosPlan, type PhaseName, runPhase } from '../../bench/chaos/phases.ts';
import { figuresOf, goalsOf, tellPhases } from '../../bench/chaos/report.ts';
import { figure } from './requests.ts';

const seed = randomInt(2 ** 31);
const plan: ChaosPlan = {
  streams: 30,
  realStreams: 0,
  seed,
  phaseMs: 5_500,
  everyMs: 2_000,
  words: [20, 40],
};

describe(`chaos, seed ${seed}`, () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet({
      layout: 'one-object',
      hosts: 3,
      wordMs: 100,
      hasReal: false,
      hasNetworks: false,
      logs: undefined,
    });
  });
  afterAll(() => fleet?.stop());

  test.each<[string, PhaseName]>([
    ['replicas that are killed', 'A'],
    ['links that are cut and agents that are killed', 'B'],
    ['an edge that is killed', 'C'],
  ])('%s cost no stream its text, and leave nothing behind', async (_, phase) => {
    // The edge is killed once.
    const result = await runPhase(fleet, phase === 'C' ? { ...plan, phaseMs: 0 } : plan, phase);
    const seen = [result, figuresOf(result, (id) => fleet.trails.travelOf(id))] as const;
    figure(tellPhases([seen]));
    expect(Object.values(goalsOf([seen])).filter(({ met }) => !met)).toEqual([]);
  });
});
