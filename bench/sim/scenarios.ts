/**
 * Which simulations a command line stands for, and how they are told apart. A scenario is one trace at one load on one
 * fleet; the policies and seeds that ran in it are what is compared. Pure, but for running them.
 */
import type { Policy } from '../../edge/src/policy/policy.ts';
import { mean, type SimulationFigures } from './figures.ts';
import type { Load, SimOptions } from './options.ts';
import { simulate } from './simulate.ts';
import type { Trace } from './trace.ts';

export interface Scenario {
  readonly trace: Trace;
  readonly load: Load;
  readonly nodes: number;
  readonly cells: number;
  readonly capacityBlocks: number;
}

export interface Visit {
  readonly scenario: Scenario;
  readonly policy: string;
  readonly seed: number;
  readonly figures: SimulationFigures;
}

/** A trace of which at least this share repeats is one of agents: many turns, each with all that came before. */
const agentCeilingMin = 0.8;
const usualLoad = 0.8;
const usualAgentLoad = 1.5;
const pastSaturation = 1.4;

export const isAgentTrace = ({ ceiling }: Trace): boolean => ceiling >= agentCeilingMin;

export const loadOf = (load: Load, trace: Trace): number => {
  if (load === 'usual') return isAgentTrace(trace) ? usualAgentLoad : usualLoad;
  // At 1 / (1 - ceiling) prefill keeps every node busy even when every hit that the trace allows is made.
  return load === 'past' ? pastSaturation / (1 - trace.ceiling) : load;
};

export const nameOf = ({ trace, load, nodes, cells }: Scenario): string => {
  const told = typeof load === 'number' ? `load ${load}` : `${load} load ${loadOf(load, trace).toFixed(2)}`;
  return `${trace.name}, ${nodes} nodes${cells === 1 ? '' : ` in ${cells} cells`}, ${told}`;
};

export const scenariosOf = (options: SimOptions, traces: readonly Trace[]): readonly Scenario[] => {
  const { capacityBlocks, loads, nodes, cells } = options;
  return traces.flatMap((trace) =>
    loads.flatMap((load) =>
      nodes.flatMap((count) =>
        cells.map((parts) => ({ trace, load, nodes: count, cells: parts, capacityBlocks })),
      ),
    ),
  );
};

export const visit = (scenario: Scenario, policy: Policy, seed: number, options: SimOptions): Visit => {
  const { eventDelayMs, digestTokens } = options;
  const load = loadOf(scenario.load, scenario.trace);
  const figures = simulate({ ...scenario, load, policy, seed, eventDelayMs, digestTokens });
  return { scenario, policy: policy.name, seed, figures };
};

/** The mean of one figure over the seeds with which a policy ran in a scenario; NaN when it did not. */
export const meanOf = (
  visits: readonly Visit[],
  scenario: Scenario,
  policy: string,
  figure: keyof SimulationFigures,
): number =>
  mean(
    visits
      .filter((candidate) => candidate.scenario === scenario && candidate.policy === policy)
      .map(({ figures }) => figures[figure]),
  );
