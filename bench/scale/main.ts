/**
 * `npm run bench:scale`: a thousand links and a thousand streams on one workerd. Is anything lost or
 * repeated, is memory bounded and flat, where is the ceiling, and how long until the links are back when all
 * are cut at once?
 *
 *   node bench/scale/main.ts [--links 1000] [--seconds 120] [--quick] [--json] [--save]
 */
import '../machine/exit-on-signal.ts';
import { parseArgs } from 'node:util';
import { delayMs } from '../machine/clock.ts';
import { beginReport, type Goal } from '../report/result.ts';
import { rounded } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { startFleet } from './fleet.ts';
import { growthBytesPerMinuteMax, judgeMemory, type MemorySample, residentBytesMax } from './memory.ts';
import { ceiling, isSustained, type Recovery, recovery, type Steady, steady } from './phases.ts';

const MiB = 1024 * 1024;

const method =
  'One production edge (layout one-object), production agents in at most 4 processes, one mock engine, ' +
  'one load generator, all on this machine. One stream per link, 250 B events, numbered and tagged with ' +
  'their stream; every byte is checked. Resident memory of workerd once a second. Ceiling: the rate of ' +
  'all streams is raised until less than 95 % of the offered chunks come out, or their delay passes 1 s ' +
  'at p99; the other processes share the cores. Recovery: every socket destroyed at the agents’ side ' +
  'without a closing frame, then workerd killed and started again on the same state; time from the cut to ' +
  'the WELCOME of 99 % of the agents.';

/** 4 chunks a second for the steady run; the ceiling goes on from there. */
const steadyIntervalMs = 250;
const ceilingIntervalsMs = [200, 160, 125, 100, 80, 64, 50, 40, 32, 25, 20];
const recoveryMsGoal = 15_000;
/** Longer than the goal, so that a miss still has a figure. */
const recoveryMsMax = 45_000;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    links: { type: 'string' },
    seconds: { type: 'string' },
  },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const mib = (sample: MemorySample | undefined): number => Math.round((sample?.bytes ?? Number.NaN) / MiB);

const stepRow = (step: Steady) => [
  String(step.offeredPerSecond),
  step.deliveredPerSecond,
  step.chunkDelayMs.p50,
  step.chunkDelayMs.p99,
  ...['edge', 'agents', 'mock engine', 'load generator'].map((kind) => step.cores[kind]),
  isSustained(step) ? 'yes' : 'no',
];
const stepHead = [
  'offered/s',
  'delivered/s',
  'delay p50',
  'p99 ms',
  ...['edge cores', 'agents', 'engine', 'generator'],
  'sustained',
];

const recoveryGoal = (what: string, seen: Recovery): Goal => ({
  goal: `99 % of ${seen.links} links leased again within 15 s after ${what}`,
  value: seen.ms99 === undefined ? `${seen.back} back after ${recoveryMsMax} ms` : `${seen.ms99} ms`,
  met: seen.ms99 !== undefined && seen.ms99 <= recoveryMsGoal && seen.linksAtEdge >= 0.99 * seen.links,
});

const goalsOf = (steadyRun: Steady, cut: Recovery, restart: Recovery): Readonly<Record<string, Goal>> => {
  const bytesMax = residentBytesMax(cut.links, steadyRun.streams);
  const memory = judgeMemory(steadyRun.memory, bytesMax, steadyRun.firstEndSeconds);
  const { growthBytesPerMinute } = memory;
  const lost = steadyRun.failures.length;
  return {
    nothingLostOrRepeated: {
      goal: 'every byte of every stream arrived once and in order',
      value: lost === 0 ? `${steadyRun.events} events right` : (steadyRun.failures[0] ?? ''),
      met: lost === 0,
    },
    memoryBounded: {
      goal: `workerd stays below ${Math.round(bytesMax / MiB)} MiB`,
      value: `peak ${Math.round(memory.peakBytes / MiB)} MiB`,
      met: memory.isBounded,
    },
    memoryFlat: {
      goal: `grows by less than ${growthBytesPerMinuteMax / MiB} MiB in the last minute that all streams run`,
      value:
        growthBytesPerMinute === undefined
          ? 'the run was too short'
          : `${rounded(growthBytesPerMinute / MiB)} MiB a minute`,
      met: memory.isFlat ?? null,
    },
    leasedAfterCut: recoveryGoal('all sockets were cut', cut),
    leasedAfterRestart: recoveryGoal('workerd was killed and restarted', restart),
  };
};

const main = async (): Promise<void> => {
  const report = beginReport();
  const links = Number(values.links ?? (values.quick ? 100 : 1_000));
  const seconds = Number(values.seconds ?? (values.quick ? 10 : 120));
  say(`starting ${links} agents`);
  const fleet = await startFleet(links);
  try {
    say(`all linked; ${links} streams at ${1e3 / steadyIntervalMs} chunks/s for ${seconds} s`);
    const steadyRun = await steady(fleet, { streams: links, intervalMs: steadyIntervalMs, seconds });
    const [first, last] = [steadyRun.memory[0], steadyRun.memory.at(-1)];
    say(`workerd: ${mib(first)} MiB with idle links, ${mib(last)} MiB at the end`);
    say(
      `${steadyRun.events} events, ${steadyRun.failures.length} failures\n\nthe rate raised to the ceiling`,
    );
    for (const failure of steadyRun.failures.slice(0, 5)) say(`  ${failure}`);
    const stepSeconds = values.quick ? 6 : 12;
    const intervals = values.quick ? ceilingIntervalsMs.slice(3, 5) : ceilingIntervalsMs;
    const steps = await ceiling(fleet, intervals, stepSeconds, (step) =>
      say(`  ${step.offeredPerSecond}/s: ${isSustained(step) ? 'sustained' : 'not sustained'}`),
    );
    say(table(stepHead, [steadyRun, ...steps].map(stepRow)));
    const sustained = [steadyRun, ...steps].filter(isSustained).at(-1);
    await delayMs(2_000);
    const cut = await recovery(fleet, async () => void (await fleet.cut()), recoveryMsMax);
    say(`\nall sockets cut: half back after ${cut.ms50} ms, 99 % after ${cut.ms99 ?? '-'} ms`);
    const restart = await recovery(fleet, fleet.edge.restart, recoveryMsMax);
    say(`workerd killed: half back after ${restart.ms50} ms, 99 % after ${restart.ms99 ?? '-'} ms`);
    const after = await steady(fleet, { streams: links, intervalMs: steadyIntervalMs, seconds: 6 });
    say(`afterwards: ${after.events} events, ${after.failures.length} failures`);
    const goals = goalsOf(steadyRun, cut, restart);
    const { memory, ...steadyFigures } = steadyRun;
    const figures = {
      links,
      seconds,
      steady: steadyFigures,
      peakMiB: Math.max(...memory.map(mib)),
      ceilingChunksPerSecond: sustained?.deliveredPerSecond ?? 0,
      recovery: { cut, restart },
      afterRecovery: { events: after.events, failures: after.failures.length },
    };
    report({ name: 'scale', method, figures, goals, raw: { memory, steps } }, values);
  } finally {
    await fleet.stop();
  }
};

await main();
