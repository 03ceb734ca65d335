/**
 * `npm run bench:bring-up`: how long a person waits after `npm start` on an installed tree until the first token of the
 * printed `curl` is there, and which part takes how long.
 *
 *   node bench/bring-up/main.ts [--rounds 5] [--json] [--save]
 */
import '../machine/exit-on-signal.ts';
import { parseArgs } from 'node:util';
import { beginReport, below } from '../report/result.ts';
import { median, rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { type Start, stageNames, startOnce } from './start.ts';

const method =
  '`npm start` in the repository, installed by npm ci, with an empty data directory and a free port: the ' +
  'edge, one agent and the engine with the toy model. Its output is read as a person reads it; the curl it ' +
  'prints is sent as printed. Time from the spawn of npm to the first delta with content, the probes that ' +
  'cgn itself makes included. Rounds one after another, each stopped as by Ctrl-C; files are in the page ' +
  'cache from the second round on.';

const goalSeconds = 10;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
  },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const report = beginReport();
const starts: Start[] = [];
for (let round = 1; round <= Number(values.rounds); round += 1) {
  const start = await startOnce();
  starts.push(start);
  say(`round ${round}  first token after ${start['first token']?.toFixed(2)} s`);
}
const secondsOf = (stage: string): number[] =>
  starts.map((start) => start[stage]).filter((value): value is number => value !== undefined);
const rows = stageNames.map((stage) => {
  const seconds = secondsOf(stage);
  return [stage, rounded(median(seconds)), rounded(Math.min(...seconds)), rounded(Math.max(...seconds))];
});
say(`\nseconds after npm start, over ${starts.length} rounds`);
say(table(['stage', 'median', 'least', 'most'], rows));
const firstTokens = secondsOf('first token');
report(
  {
    name: 'bring-up',
    method,
    figures: {
      rounds: starts.length,
      firstTokenSeconds: summarize(firstTokens),
      medianSecondsTo: Object.fromEntries(
        stageNames.map((stage) => [stage, rounded(median(secondsOf(stage)))]),
      ),
    },
    goals: {
      firstTokenAfterStart: below(
        `first token < ${goalSeconds} s after npm start on an installed tree, median of ${starts.length}`,
        median(firstTokens),
        goalSeconds,
      ),
    },
    raw: starts,
  },
  values,
);
