/**
 * What simulations must show, from the runs that were made: design.md's goals for the default policy, for cells and for
 * energy. A goal stands only where all that it compares has run. Pure.
 */

import { replicasPerCellMax } from '../../edge/src/directory/replica-slots.ts';
import { defaultPolicy } from '../../edge/src/policy/policy.ts';
import { below, type Goal } from '../report/result.ts';
import { isAgentTrace, meanOf, nameOf, type Scenario, type Visit } from './scenarios.ts';

/** The fleet that the goals are set for. */
const goalNodes = 16;
const goalCapacityBlocks = 8192;
const ceilingShareMin = 0.95;
const cellHitShareMin = 0.9;
const cellImbalanceMax = 1.3;
const energyGainMin = 1.4;

type Goals = Record<string, Goal>;

const atLeast = (goal: string, value: number, limit: number): Goal => ({
  goal,
  value: Math.round(value * 10_000) / 10_000,
  met: Number.isNaN(value) ? null : value >= limit,
});

const othersOf = (visits: readonly Visit[], scenario: Scenario): readonly string[] => {
  const names = visits.filter((visit) => visit.scenario === scenario).map(({ policy }) => policy);
  return [...new Set(names)].filter((name) => name !== defaultPolicy.name);
};

const cacheGoals = (visits: readonly Visit[], scenario: Scenario): Goals => {
  const { name } = defaultPolicy;
  const share = meanOf(visits, scenario, name, 'ceilingShare');
  const goals: Goals = {
    [`${nameOf(scenario)}: share`]: atLeast(`${ceilingShareMin} of the ceiling`, share, ceilingShareMin),
  };
  const ttftMs = meanOf(visits, scenario, name, 'ttftMeanMs');
  const others = othersOf(visits, scenario).map((policy) => ({
    policy,
    ttftMs: meanOf(visits, scenario, policy, 'ttftMeanMs'),
  }));
  const [best] = others.sort((left, right) => left.ttftMs - right.ttftMs);
  if (best === undefined) return goals;
  const asked = `mean TTFT <= ${best.ttftMs.toFixed(1)} ms of ${best.policy}`;
  goals[`${nameOf(scenario)}: TTFT`] = below(asked, ttftMs, best.ttftMs, true);
  return goals;
};

const energyGoals = (visits: readonly Visit[], scenario: Scenario): Goals => {
  const ours = meanOf(visits, scenario, defaultPolicy.name, 'tokensPerJoule');
  const rivals = othersOf(visits, scenario).filter(
    (name) => name === 'round-robin' || name === 'least-loaded',
  );
  return Object.fromEntries(
    rivals.map((rival) => {
      const gain = ours / meanOf(visits, scenario, rival, 'tokensPerJoule');
      const asked = `${energyGainMin} x the tokens per joule of ${rival}`;
      return [`${nameOf(scenario)}: energy, ${rival}`, atLeast(asked, gain, energyGainMin)];
    }),
  );
};

/** One cell to compare several with: all nodes, or as many as a cell holds, at the same load. */
export const oneCellOf = (scenario: Scenario): Scenario => ({
  ...scenario,
  nodes: Math.min(scenario.nodes, replicasPerCellMax),
  cells: 1,
});

const cellGoals = (visits: readonly Visit[], scenario: Scenario): Goals => {
  const { name } = defaultPolicy;
  const { trace, load, nodes } = oneCellOf(scenario);
  const single = visits.find(
    ({ scenario: other }) =>
      other.trace === trace && other.load === load && other.nodes === nodes && other.cells === 1,
  );
  if (single === undefined) return {};
  const hits = meanOf(visits, scenario, name, 'hitRatio') / meanOf(visits, single.scenario, name, 'hitRatio');
  const asked = `${cellHitShareMin} of the hit ratio of one cell of ${nodes}`;
  const busiest = meanOf(visits, scenario, name, 'cellImbalance');
  return {
    [`${nameOf(scenario)}: cell hits`]: atLeast(asked, hits, cellHitShareMin),
    [`${nameOf(scenario)}: cell load`]: below(
      `no cell above ${cellImbalanceMax} x the mean load`,
      busiest,
      cellImbalanceMax,
      true,
    ),
  };
};

export const goalsOf = (visits: readonly Visit[]): Readonly<Record<string, Goal>> => {
  const scenarios = new Set(
    visits.filter(({ policy }) => policy === defaultPolicy.name).map(({ scenario }) => scenario),
  );
  const goals: Goals = {};
  for (const scenario of scenarios) {
    const { trace, nodes, cells, capacityBlocks, load } = scenario;
    if (trace.ceiling === 0) continue;
    if (cells > 1) Object.assign(goals, cellGoals(visits, scenario));
    if (nodes !== goalNodes || cells !== 1 || capacityBlocks !== goalCapacityBlocks) continue;
    Object.assign(goals, cacheGoals(visits, scenario));
    if (isAgentTrace(trace) && load !== 'past') Object.assign(goals, energyGoals(visits, scenario));
  }
  return goals;
};
