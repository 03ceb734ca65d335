/**
 * `npm run bench:overhead`: what Cognitora adds to an engine called directly, beside the floor of the
 * platform and, with `--peers`, other gateways. Every variant is started afresh in each round and the order
 * turns around between rounds; engine and load generator stay the same two processes throughout.
 *
 *   node bench/overhead/main.ts [--rounds 9] [--quick] [--peers] [--json] [--save] [--only floor,direct]
 */
import '../machine/exit-on-signal.ts';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { EngineAnswer, EngineCommand } from '../load/engine-messages.ts';
import type { LoadPlan, LoadResult } from '../load/generator-messages.ts';
import { startWorkerProcess } from '../machine/worker-process.ts';
import { beginReport } from '../report/result.ts';
import { median } from '../report/statistics.ts';
import { type Cell, table } from '../report/table.ts';
import { direct } from '../systems/direct.ts';
import { floor } from '../systems/floor.ts';
import { oneHop, twoHops } from '../systems/ours.ts';
import { portkey } from '../systems/portkey.ts';
import type { System } from '../systems/system.ts';
import { cpuOf, cpuRatios, differences, figuresOf, goalsOf, type Round } from './figures.ts';
import { type Bench, fullSizes, quickSizes, type Sizes, type Visit, visit } from './measure.ts';

const method =
  'Mock engine and load generator in a process each, raw sockets, every body byte checked. Streams: 16 ' +
  'events of 250 B, 20 ms apart, first requests of the connections spread over one stream’s length. Per ' +
  'round each variant is started afresh, warmed up and measured; rounds alternate the order. TTFT is from ' +
  'the written request to the first byte of SSE data; chunk delay from the engine’s write to the last ' +
  'byte of the event at the client; gap between two events of a stream. CPU from the scheduler’s counters ' +
  'of all threads: per request over closed-loop one-event requests at 64 connections, per chunk in a 1.5 ' +
  's window in which 64 streams of 100 events at 20 ms run. Added = variant less direct in the same ' +
  'round; figures are medians over rounds. The Portkey gateway is bound to 127.0.0.1 by a preloaded ' +
  'module that sets the host of net.Server.listen; nothing else is changed.';

const peers: readonly System[] = [portkey];

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string' },
  },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const chooseSystems = (): readonly System[] => {
  const all = [direct, floor, oneHop, twoHops, ...(values.peers ? peers : [])];
  const names = values.only?.split(',');
  return names === undefined ? all : all.filter(({ name }) => names.includes(name));
};

const cpuCell = (visited: Visit): string => {
  const told = (us: number | undefined): string => (us === undefined ? '-' : us.toFixed(0));
  const { cpuPerRequestUs, cpuPerChunkUs } = visited;
  const agent = `${told(cpuPerRequestUs.agent)} / ${told(cpuPerChunkUs.agent)}`;
  return `edge ${told(cpuPerRequestUs.edge)} / ${told(cpuPerChunkUs.edge)} us, agent ${agent} us`;
};

const runRounds = async (bench: Bench, systems: readonly System[], count: number): Promise<Round[]> => {
  const rounds: Round[] = [];
  for (let index = 0; index < count; index += 1) {
    const order = index % 2 === 0 ? systems : [...systems].reverse();
    const visits: Visit[] = [];
    for (const system of order) {
      const visited = await visit(bench, system);
      visits.push(visited);
      const ttft = visited.latency.map(({ ttftMs }) => ttftMs.p50.toFixed(2)).join(' / ');
      say(`round ${index + 1}  ${system.name.padEnd(14)} TTFT p50 ${ttft} ms  ${cpuCell(visited)}`);
    }
    rounds.push(visits);
  }
  return rounds;
};

const showTables = (rounds: readonly Round[], systems: readonly System[], sizes: Sizes): void => {
  const names = systems.map(({ name }) => name);
  const figures = figuresOf(rounds, names);
  const { streams } = sizes;
  const head = streams.flatMap((count) => [`TTFT +p50 ${count}`, `+p99 ${count}`, `chunk +p50 ${count}`]);
  const latencyRows = names.map((name): Cell[] => [
    name,
    ...streams.flatMap((count) => {
      const added = figures[name]?.added ?? {};
      return [`ttftMs p50 ${count}`, `ttftMs p99 ${count}`, `chunkDelayMs p50 ${count}`].map(
        (key) => added[key],
      );
    }),
  ]);
  say(`\nadded to the engine called directly, ms, medians over ${rounds.length} rounds`);
  say(table(['variant', ...head], latencyRows));
  const cpuRows = names.map((name): Cell[] => {
    const { cpuPerRequestUs, cpuPerChunkUs, requestsPerSecond } = figures[name] ?? {};
    const ratio = (figure: 'cpuPerRequestUs' | 'cpuPerChunkUs'): string =>
      cpuOf(rounds, name, figure, 'edge').length === 0
        ? '-'
        : `${median(cpuRatios(rounds, name, figure)).toFixed(2)} x`;
    return [
      name,
      cpuPerRequestUs?.edge,
      ratio('cpuPerRequestUs'),
      cpuPerRequestUs?.agent,
      cpuPerChunkUs?.edge,
      ratio('cpuPerChunkUs'),
      cpuPerChunkUs?.agent,
      requestsPerSecond,
    ];
  });
  say('\nCPU, us; x is against the floor');
  const cpuHead = ['edge/request', 'x', 'agent/request', 'edge/chunk', 'x', 'agent/chunk', 'requests/s'];
  say(table(['variant', ...cpuHead], cpuRows));
};

const main = async (): Promise<void> => {
  const report = beginReport();
  const sizes = values.quick ? quickSizes : fullSizes;
  const systems = chooseSystems();
  const load = join(import.meta.dirname, '../load');
  const engine = startWorkerProcess<EngineCommand, EngineAnswer>(join(load, 'mock-engine.ts'));
  const generator = startWorkerProcess<LoadPlan, LoadResult>(join(load, 'generator.ts'));
  try {
    const { port } = await engine.ask({ kind: 'listen' });
    const bench = { enginePort: port, sizes, load: generator.ask };
    const rounds = await runRounds(bench, systems, Number(values.rounds ?? (values.quick ? 1 : 9)));
    showTables(rounds, systems, sizes);
    const names = systems.map(({ name }) => name);
    const others = peers.map(({ name }) => name).filter((name) => names.includes(name));
    const question = {
      system: oneHop.name,
      base: 'floor',
      streams: 16,
      figure: 'ttftMs',
      share: 'p99',
    } as const;
    const figures = {
      ...figuresOf(rounds, names),
      rounds: rounds.length,
      p99OverFloorMs: differences(rounds, question),
    };
    report(
      { name: 'overhead', method, figures, goals: goalsOf(rounds, oneHop.name, others), raw: rounds },
      values,
    );
  } finally {
    await Promise.all([engine.stop(), generator.stop()]);
  }
};

await main();
