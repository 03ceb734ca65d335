/**
 * `npm run sim`: many runs of the whole system on virtual time, each from a seed, with faults; a seed that fails
 * replays to the last event.
 *
 *   npm run sim -- --seeds 10000 --from 0     runs these, tells which fail
 *   npm run sim -- --seed 17                  runs one and prints its plan and its trace
 *   npm run sim -- --mutations                plants known bugs, one after the other: each has to be found
 */
import { readRunOptions } from '../../bench/report/options.ts';
import { catches, mutations } from './mutations.ts';
import { loadPrograms, type Programs } from './programs.ts';
import { type Ran, runSeed } from './run-seed.ts';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** Between two lines that tell how far it is. */
const progressMs = 10_000;
/** Of one run's violations so many are shown. */
const shownMax = 6;

const tellFailure = ({ seed, plan, violations, traceHash }: Ran): void => {
  const faults = plan.faults.map(({ kind }) => kind).join(', ') || 'no fault';
  say(`seed ${seed} fails (${plan.layout}; ${faults}; trace ${traceHash}): npm run sim -- --seed ${seed}`);
  for (const violation of violations.slice(0, shownMax)) say(`  ${violation}`);
  if (violations.length > shownMax) say(`  and ${violations.length - shownMax} more`);
};

const runOne = async (programs: Programs, seed: number): Promise<boolean> => {
  const ran = await runSeed(seed, programs, { isTraceKept: true });
  for (const line of ran.trace) say(line);
  say(JSON.stringify(ran.plan, null, 1));
  say(`outcomes ${JSON.stringify(ran.outcomes)}, ${ran.events} events, trace ${ran.traceHash}`);
  if (ran.violations.length > 0) tellFailure(ran);
  return ran.violations.length === 0;
};

const runMany = async (programs: Programs, from: number, seeds: number): Promise<boolean> => {
  const startedMs = performance.now();
  let toldMs = startedMs;
  const failed: number[] = [];
  const sums: Record<string, number> = {};
  for (let seed = from; seed < from + seeds; seed += 1) {
    const ran = await runSeed(seed, programs);
    for (const [outcome, count] of Object.entries(ran.outcomes)) sums[outcome] = (sums[outcome] ?? 0) + count;
    if (ran.violations.length > 0) {
      failed.push(seed);
      tellFailure(ran);
    }
    const nowMs = performance.now();
    if (nowMs - toldMs < progressMs && seed + 1 < from + seeds) continue;
    toldMs = nowMs;
    const perSeed = ((nowMs - startedMs) / (seed - from + 1)).toFixed(0);
    say(
      `${seed - from + 1} of ${seeds} seeds, ${perSeed} ms each, ${failed.length} failed ${JSON.stringify(sums)}`,
    );
  }
  if (failed.length > 0) say(`failed: ${failed.join(' ')}`);
  return failed.length === 0;
};

const runMutations = async (seeds: number): Promise<boolean> => {
  let areAllCaught = true;
  for (const mutation of mutations) {
    const caught = await catches(mutation, seeds);
    areAllCaught &&= caught !== undefined;
    say(
      caught === undefined
        ? `NOT FOUND  ${mutation.name}, in ${seeds} seeds`
        : `found      ${mutation.name}, by seed ${caught.seed}: ${caught.violation}`,
    );
  }
  return areAllCaught;
};

const values = readRunOptions(
  'npm run sim --',
  'The whole edge and whole agents in one process, on virtual time, with faults drawn from a seed. Checked at each\n' +
    'step: a request ends once, no byte is lost, repeated or reordered, no work for who must get none, nothing left.',
  {
    seeds: {
      kind: 'count',
      default: '200',
      min: 1,
      about: 'how many seeds are run, or tried for each planted bug',
    },
    from: { kind: 'count', default: '0', about: 'the first of them' },
    seed: { kind: 'count', about: 'run this one alone, and print its plan and its trace' },
    mutations: { kind: 'switch', about: 'plant known bugs, one after the other: each has to be found' },
  },
);
const isGood = values.mutations
  ? await runMutations(Number(values.seeds))
  : values.seed === undefined
    ? await runMany(await loadPrograms(), Number(values.from), Number(values.seeds))
    : await runOne(await loadPrograms(), Number(values.seed));
process.exitCode = isGood ? 0 : 1;
