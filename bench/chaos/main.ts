/**
 * `npm run chaos`: real processes under live streams of the official SDK, while engines, links, agents and the edge are
 * killed, cut, paused and silenced. Does every stream end right, or is its client told the truth?
 *
 *   node bench/chaos/main.ts [--minutes 5] [--phase A|B|C|AB|...] [--streams 200] [--seed 1] [--layout one-object]
 *                            [--logs DIRECTORY] [--json] [--save]
 *
 * Phases share the minutes. Ends with status 1 when a stream was wrong, lost text or hung, or a goal was missed.
 */
import '../machine/exit-on-signal.ts';
import { mkdirSync } from 'node:fs';
import { readRunOptions } from '../report/options.ts';
import { beginReport } from '../report/result.ts';
import { type Fleet, startFleet, whyNoNetworks } from './fleet.ts';
import { type ChaosPlan, type PhaseName, type PhaseResult, phaseNames, runPhase } from './phases.ts';
import { examineReal } from './real-streams.ts';
import { figuresOf, goalsOf, tellPhases } from './report.ts';

const method =
  'One production edge (workerd); three hosts, each with a production agent, a fake engine (vLLM’s ' +
  'bytes, 4 words/s, each word a function of the prompt and of all text before it) and a real one ' +
  '(llama.cpp, the toy model), in a network namespace of its own where the system allows that; a TCP ' +
  'relay between each agent and the edge; clients in processes of their own with the official SDK and ' +
  'no retries. Answers of 40 to 100 words; chats and raw completions, a third ends at its token limit, ' +
  'half ask for usage; one stream in 50 is a raw completion of 2,000 to 3,000 tokens at a real engine. ' +
  'A: the engines of one host are killed every 10 s and started again after 1 to 3 s. B: links are ' +
  'reset or silent, networks parted, agents, both engines of a host or the edge stopped (SIGSTOP), agents ' +
  'killed, one after the other every few seconds, some for longer than the lease. C: workerd is killed ' +
  'under all streams and started again after 0.5 or 9 s. Right: just the undisturbed text, its finish ' +
  'reason and [DONE]. Hung: 45 s without a chunk. Pauses: the longest between two chunks of a stream. A ' +
  'continuation by a real engine is held against what the engines were asked and said (a recorder in ' +
  'front of each), and twelve are asked for again directly.';

const values = readRunOptions('npm run chaos --', method, {
  minutes: { kind: 'number', default: '5', min: 0.1, about: 'of all phases together' },
  phase: { kind: ['A', 'B', 'C', 'AB', 'AC', 'BC', 'ABC'], about: 'only these' },
  streams: { kind: 'count', default: '200', min: 1, about: 'at once' },
  seed: { kind: 'count', default: '1', about: 'of the faults and the prompts' },
  layout: { kind: ['one-object', 'object-per-node'], default: 'one-object', about: 'of the edge' },
  logs: { kind: 'text', about: 'a directory for the agents’ output' },
  json: { kind: 'switch', about: 'the result as JSON' },
  save: { kind: 'switch', about: 'keep it under bench/results' },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const toldMax = 8;
const progressMs = 10_000;

interface Decision {
  readonly occasion?: string;
  readonly outcome: string;
  readonly code?: string;
  readonly earlier: readonly { readonly node?: string; readonly code: string }[];
}

const shownDecision = ({ occasion = '', outcome, code = '', earlier }: Decision): string => {
  const before = earlier.map((one) => `${one.node ?? '-'}:${one.code}`).join(' ');
  return `    ${occasion} ${outcome} ${code} after ${before}`;
};

/** The way of some that did not end right, as their engines saw it. */
const tellFailures = async (
  { edge, trails }: Fleet,
  { records, real, beganUs }: PhaseResult,
): Promise<void> => {
  const failed = [...records, ...real].filter(({ outcome }) => outcome !== 'right');
  for (const { requestId, outcome, message = '', words } of failed.slice(-toldMax)) {
    say(`  ${requestId} ${outcome} after ${words} words: ${trails.tell(requestId, beganUs)}; ${message}`);
    // The edge remembers the latest.
    const known = await edge.admin('GET', `/admin/requests/${requestId}`).catch(() => undefined);
    for (const decision of (known?.decisions ?? []) as readonly Decision[]) say(shownDecision(decision));
  }
};

const main = async (): Promise<void> => {
  const report = beginReport();
  const asked = phaseNames.filter((name) => values.phase === undefined || values.phase.includes(name));
  if (values.logs !== undefined) mkdirSync(values.logs, { recursive: true });
  const plan: ChaosPlan = {
    streams: Number(values.streams),
    realStreams: Math.ceil(Number(values.streams) / 50),
    seed: Number(values.seed),
    phaseMs: (Number(values.minutes) * 60e3) / asked.length,
    everyMs: 10_000,
    words: [40, 100],
  };
  const layout = values.layout === 'object-per-node' ? 'object-per-node' : 'one-object';
  const noNetworks = await whyNoNetworks();
  if (noNetworks !== undefined) say(`no networks of our own, so none is parted: ${noNetworks}`);
  const hasNetworks = noNetworks === undefined;
  const fleet = await startFleet({
    layout,
    hosts: 3,
    wordMs: 250,
    hasReal: true,
    hasNetworks,
    logs: values.logs,
  });
  try {
    const phases = [];
    for (const phase of asked) {
      say(`phase ${phase}: ${plan.streams} streams for ${Math.round(plan.phaseMs / 1e3)} s`);
      const before = await fleet.continued();
      const stop = fleet.progress.every(progressMs, async (line) => {
        const continued = Math.max(0, (await fleet.continued()) - before);
        say(`${phase} ${line}, ${continued} continued`);
      });
      const result = await runPhase(fleet, plan, phase as PhaseName).finally(stop);
      const real = result.real.length > 0 ? await examineReal(fleet, result.real) : undefined;
      phases.push([result, figuresOf(result, (id) => fleet.trails.travelOf(id), real)] as const);
      if (phase !== 'C') await tellFailures(fleet, result);
    }
    say(`\n${tellPhases(phases)}`);
    const figures = Object.fromEntries(
      phases.map(([{ phase, edgeKills }, seen]) => [phase, { ...seen, edgeKills }]),
    );
    const raw = phases.map(([{ phase, records, real, strikes, beganUs }]) => ({
      ...{ phase, beganUs, strikes },
      notRight: [...records, ...real]
        .filter(({ outcome, oddities }) => outcome !== 'right' || oddities.length > 0)
        .slice(0, 200),
    }));
    const goals = goalsOf(phases);
    report(
      { name: `chaos-${layout}`, method, figures: { ...plan, layout, phases: figures }, goals, raw },
      values,
    );
    if (Object.values(goals).some(({ met }) => met === false)) process.exitCode = 1;
  } finally {
    await fleet.stop();
  }
};

await main();
