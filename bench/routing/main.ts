/**
 * `npm run bench:routing`: what one routing decision costs, stage by stage, in Node and inside workerd, over prompt
 * lengths, replicas and blocks in the map. Each cell is built in a fresh process; the order of runtimes turns around
 * between rounds.
 *
 *   node bench/routing/main.ts [--rounds 3] [--quick] [--json] [--save] [--only node,workerd]
 */
import '../machine/exit-on-signal.ts';
import { parseArgs } from 'node:util';
import { beginReport } from '../report/result.ts';
import { type Cell as TableCell, table } from '../report/table.ts';
import {
  type CellSize,
  figureOf,
  goalsOf,
  nameOf,
  nameOfSize,
  type Question,
  upkeepOf,
  type Visit,
} from './figures.ts';
import { inNode, openWorkerd, type Runtime } from './runtimes.ts';
import { stages } from './stages.ts';

const method =
  'A cell is filled with conversations of up to 512 blocks, 64 at a time; they begin with one of 48 ' +
  'system prompts of 16 to 96 blocks and grow by turns of 4 to 40 blocks; after 2 % of the turns a ' +
  'second replica holds all so far, a quarter of those on the host tier; budget 32 MiB. Scattered: ' +
  'every block arrives on its own, in no order. 64 tokens a block. Mixed prompts: 15 % unknown, 15 % ' +
  'known whole, the others up to a random block; whole prompts: known to the last block. Digest: from ' +
  'the parsed chat request, 256 bytes of text a block, a quarter of the messages two-byte strings. ' +
  'Match: PrefixMap.match over 512 prompts in turn. Decision: digest, match, cost of every replica by ' +
  'the default policy, choice, booking, prediction and what the receipt shows of the candidates, through ' +
  'PromptDigests and Directory as a request does, over 128 prompts in turn; after ' +
  'each, the request 32 decisions before ends and its prediction is taken back, which is timed in ' +
  'workerd only. 4,000 calls of warm-up. In Node a sample is one call; workerd ticks in whole ms, so ' +
  'there a sample is the mean of as many calls as take 20 ms, and its p99 is one of such means. ' +
  'Quickest: p99 over prompts of the quickest call of each. Fresh process per cell, order of runtimes ' +
  'turned around between rounds, medians over rounds. Adding is timed with the making of the digests.';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string' },
  },
});

const promptTokens = [2048, 8192, 32_768];
const sizes: readonly CellSize[] = [
  ...[100_000, 1_000_000].flatMap((blocks) =>
    [8, 64].map((replicas) => ({ replicas, blocks, isScattered: false })),
  ),
  { replicas: 64, blocks: 1_000_000, isScattered: true },
];
/** What goals are about: conversations that arrive in turns, and what a match costs at worst. */
const largest = [false, true].map((isScattered) => ({
  ...{ replicas: 64, blocks: 1_000_000, isScattered, promptTokens: 32_768 },
}));

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const runRounds = async (runtimes: readonly Runtime[], rounds: number, samples: number): Promise<Visit[]> => {
  const visits: Visit[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const size of sizes) {
      for (const runtime of round % 2 === 0 ? runtimes : [...runtimes].reverse()) {
        const cell = await runtime.measure({ ...size, seed: round + 1, promptTokens, samples });
        visits.push({ runtime: runtime.name, size, cell });
        const told = cell.rows
          .filter((row) => row.workload === 'whole' && row.promptTokens === 32_768)
          .map(({ stage, us }) => `${stage} ${us.p50.toFixed(1)}`)
          .join(', ');
        say(`round ${round + 1}  ${runtime.name.padEnd(8)} ${nameOfSize(size)}  p50 us at 32 k: ${told}`);
      }
    }
  }
  return visits;
};

const questionsOf = (runtime: string): Question[] =>
  stages.flatMap(({ name: stage, workloads }) =>
    workloads.flatMap((workload) =>
      sizes.flatMap((size) =>
        promptTokens.map((tokens) => ({ runtime, stage, workload, promptTokens: tokens, ...size })),
      ),
    ),
  );

const showTables = (visits: readonly Visit[], runtimes: readonly string[]): void => {
  const cellOf = (question: Question): string => {
    const { p50Us, p99Us, quickestP99Us } = figureOf(visits, question);
    const quickest = Number.isNaN(quickestP99Us) ? '' : ` / ${quickestP99Us.toFixed(1)}`;
    return `${p50Us.toFixed(1)} / ${p99Us.toFixed(1)}${quickest}`;
  };
  const head = promptTokens.flatMap((tokens) => runtimes.map((runtime) => `${tokens / 1024}k ${runtime}`));
  for (const { name: stage, workloads } of stages) {
    for (const workload of workloads) {
      const rows = sizes.map((size): TableCell[] => [
        nameOfSize(size),
        ...promptTokens.flatMap((tokens) =>
          runtimes.map((runtime) => cellOf({ runtime, stage, workload, promptTokens: tokens, ...size })),
        ),
      ]);
      say(`\n${stage}, ${workload} prompts, p50 / p99 / p99 of the quickest, us`);
      say(table(['replicas x blocks', ...head], rows));
    }
  }
  say('\nthe map beside it');
  const upkeepHead = ['B/block', 'add ns/block', 'add to full ns/block', 'sweep ms'];
  const rows = runtimes.flatMap((runtime) =>
    sizes.map((size): TableCell[] => {
      const upkeep = upkeepOf(visits, runtime, size);
      const { bytesPerBlock, addNsPerBlock, addToFullNsPerBlock, sweepMs } = upkeep;
      return [`${runtime} ${nameOfSize(size)}`, bytesPerBlock, addNsPerBlock, addToFullNsPerBlock, sweepMs];
    }),
  );
  say(table(['', ...upkeepHead], rows));
};

const main = async (): Promise<void> => {
  const report = beginReport();
  const workerd = openWorkerd();
  try {
    const asked = values.only?.split(',');
    const runtimes = [inNode, workerd].filter(({ name }) => asked?.includes(name) ?? true);
    const names = runtimes.map(({ name }) => name);
    const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
    const visits = await runRounds(runtimes, rounds, values.quick ? 1000 : 5000);
    showTables(visits, names);
    const times = names
      .flatMap(questionsOf)
      .map((question) => [nameOf(question), figureOf(visits, question)]);
    const upkeep = names.flatMap((runtime) =>
      sizes.map((size) => [`${runtime} ${nameOfSize(size)}`, upkeepOf(visits, runtime, size)]),
    );
    const figures = { rounds, us: Object.fromEntries(times), upkeep: Object.fromEntries(upkeep) };
    report({ name: 'routing', method, figures, goals: goalsOf(visits, names, largest), raw: visits }, values);
  } finally {
    workerd.close();
  }
};

await main();
