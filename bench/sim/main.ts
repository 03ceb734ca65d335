/**
 * `npm run bench:sim`: request traces through the production directory, map and policies, against modelled engines.
 * Prints a table for each scenario; with `--json` one JSON object as the last line.
 *
 *   node bench/sim/main.ts --trace FILE --nodes 16 --policy predicted-latency --load 0.8 --seed 1 --json
 */
import { basename } from 'node:path';
import { defaultPolicy } from '../../edge/src/policy/policy.ts';
import { beginReport } from '../report/result.ts';
import { type Cell as TableCell, table } from '../report/table.ts';
import type { SimulationFigures } from './figures.ts';
import { goalsOf, oneCellOf } from './goals.ts';
import { parseOptions, type SimOptions, UsageError, usage } from './options.ts';
import { loadOf, nameOf, type Scenario, scenariosOf, type Visit, visit } from './scenarios.ts';
import { readTrace } from './trace.ts';
import { TraceError } from './trace-request.ts';

const method =
  'Each request of a trace goes through the production Directory.decide, is served by a modelled engine ' +
  '(serial prefill with a term for context, batched decoding, an LRU cache of blocks; see ' +
  'bench/sim/constants.ts), and is told to the directory as a link would: first byte, end, cached tokens; ' +
  'cache events come after the delay. Arrivals keep the trace’s gaps, stretched to the load: at 1, prefill ' +
  'without any hit keeps every node busy. Rates are learned from a stated prior. Ceiling: hit ratio in ' +
  'tokens of one infinite cache. TTFT from arrival to the end of prefill, without network. Balance: ' +
  'standard deviation over mean of the prompt tokens that nodes computed. Joules of all nodes until the ' +
  'last request is done; tokens per joule counts prompt and output. Same seed, same figures.';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const showScenario = (scenario: Scenario, visits: readonly Visit[]): void => {
  const hasSeeds = new Set(visits.map(({ seed }) => seed)).size > 1;
  const rows = visits.map(({ policy, seed, figures }): TableCell[] => [
    hasSeeds ? `${policy}, seed ${seed}` : policy,
    figures.hitRatio.toFixed(4),
    Number.isNaN(figures.ceilingShare) ? undefined : figures.ceilingShare.toFixed(4),
    figures.ttftMeanMs,
    figures.ttftP50Ms,
    figures.ttftP99Ms,
    figures.interTokenP99Ms,
    figures.balanceCv,
    figures.refused,
    Math.round(figures.joules),
    figures.tokensPerJoule,
    ...(scenario.cells > 1 ? [figures.cellImbalance] : []),
  ]);
  const head = [
    '',
    'hit ratio',
    'of ceiling',
    'TTFT mean ms',
    'p50',
    'p99',
    'inter-token p99 ms',
    'balance cv',
  ];
  const more = ['refused', 'J', 'tokens/J', ...(scenario.cells > 1 ? ['busiest cell'] : [])];
  say(
    `\n${nameOf(scenario)}, ${scenario.capacityBlocks} blocks; ceiling ${scenario.trace.ceiling.toFixed(4)}`,
  );
  say(table([...head, ...more], rows));
};

const runScenario = (scenario: Scenario, options: SimOptions): readonly Visit[] => {
  const visits = options.policies.flatMap((policy) =>
    options.seeds.map((seed) => visit(scenario, policy, seed, options)),
  );
  showScenario(scenario, visits);
  return visits;
};

const isSame = (left: Scenario, right: Scenario): boolean =>
  left.trace === right.trace &&
  left.load === right.load &&
  left.nodes === right.nodes &&
  left.cells === right.cells;

/** Several cells are judged beside a single one. */
const withComparisons = (asked: readonly Scenario[]): readonly Scenario[] => {
  const all = [...asked];
  for (const scenario of asked) {
    const single = oneCellOf(scenario);
    if (scenario.cells > 1 && !all.some((known) => isSame(known, single))) all.push(single);
  }
  return all;
};

/** Six decimals: results stay readable, and the same seed gives the same. */
const roundedFigures = (figures: SimulationFigures) =>
  Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Math.round(value * 1e6) / 1e6]));

const rowOf = ({ scenario, policy, seed, figures }: Visit) => ({
  trace: scenario.trace.name,
  nodes: scenario.nodes,
  cells: scenario.cells,
  capacityBlocks: scenario.capacityBlocks,
  load: loadOf(scenario.load, scenario.trace),
  policy,
  seed,
  ...roundedFigures(figures),
});

const main = (): void => {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    say(usage);
    return;
  }
  const options = parseOptions(args, process.env);
  const report = beginReport();
  const traces = options.traceFiles.map(readTrace);
  say(`traces: ${options.traceFiles.map((file) => basename(file)).join(', ')}`);
  const scenarios = withComparisons(scenariosOf(options, traces));
  const visits = scenarios.flatMap((scenario) => runScenario(scenario, options));
  // One figure under each name for who asks for one run; where many ran, it is the first of the default policy.
  const shown = visits.find(({ policy }) => policy === defaultPolicy.name) ?? visits[0];
  const rows = visits.map(rowOf);
  const figures = {
    ...(shown === undefined ? {} : rowOf(shown)),
    ...(rows.length > 1 ? { runs: rows } : {}),
  };
  const name = options.label === undefined ? 'sim' : `sim-${options.label}`;
  report({ name, method, figures, goals: goalsOf(visits), raw: [] }, options);
};

try {
  main();
} catch (thrown) {
  if (!(thrown instanceof UsageError || thrown instanceof TraceError)) throw thrown;
  process.stderr.write(`${thrown.message}\n`);
  process.exitCode = 2;
}
