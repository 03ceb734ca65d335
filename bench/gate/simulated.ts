/**
 * The gate's rows that the simulator answers: hit ratio and energy of the default policy on the agent traces that come
 * with it, whole, on the fleet that design.md's goals are set for. Simulated time only: the machine's speed changes
 * nothing, and a second run of the same seed must give the same figures to the last digit.
 */
import { join } from 'node:path';
import { defaultPolicy, type Policy } from '../../edge/src/policy/policy.ts';
import { roundRobin } from '../../edge/src/policy/round-robin.ts';
import type { GateRow } from '../gate.ts';
import type { SimulationFigures } from '../sim/figures.ts';
import { simulate } from '../sim/simulate.ts';
import { readTrace } from '../sim/trace.ts';

const hitRatioMin = 0.55;
const energyGainMin = 1.4;
const fixtures = join(import.meta.dirname, '../sim/fixtures');

const run = (name: string, policy: Policy): SimulationFigures => {
  const trace = readTrace(join(fixtures, `${name}.packed.txt`));
  const fleet = { nodes: 16, cells: 1, capacityBlocks: 8192, eventDelayMs: 100 };
  return simulate({ ...fleet, trace, policy, load: 1.5, seed: 1 });
};

const runExactly = (name: string, policy: Policy): SimulationFigures => {
  const figures = run(name, policy);
  if (JSON.stringify(run(name, policy)) === JSON.stringify(figures)) return figures;
  throw new Error(`${name}: the same seed gave other figures`);
};

export const hitRatio: GateRow = {
  name: 'cache hit ratio',
  goal: `misses < ${(1 - hitRatioMin).toFixed(2)} of tokens on simulated agent traces, exact for a seed`,
  unit: '',
  limit: 1 - hitRatioMin,
  attempt: async () => {
    const hits = ['agentic_cc_A', 'agent_miniswe_b64'].map(
      (name) => runExactly(name, defaultPolicy).hitRatio,
    );
    return 1 - Math.min(...hits);
  },
};

export const energy: GateRow = {
  name: 'energy',
  goal: `simulated agentic_cc_A, load 1.5: joules per token < 1 / ${energyGainMin} of round robin`,
  unit: 'x',
  limit: 1 / energyGainMin,
  attempt: async () =>
    run('agentic_cc_A', roundRobin).tokensPerJoule / run('agentic_cc_A', defaultPolicy).tokensPerJoule,
};
