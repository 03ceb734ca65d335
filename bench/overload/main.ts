/**
 * `npm run bench:overload`: three times what the engines can take, for minutes. Does the useful work stay at its peak,
 * do those who are let in have their first token in time, does memory stay flat, and does a tenant keep its share
 * beside one that floods?
 *
 *   node bench/overload/main.ts [--seconds 300] [--warm 10000] [--engines 3] [--slots 4] [--layout L] [--save]
 */
import '../machine/exit-on-signal.ts';
import { join } from 'node:path';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { residentBytes } from '../machine/process-figures.ts';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import { readRunOptions } from '../report/options.ts';
import { beginReport } from '../report/result.ts';
import { table } from '../report/table.ts';
import { type EdgeUnderTest, startEdgeUnderTest } from '../systems/edge-under-test.ts';
import { type Program, startProgram, waitUntil } from '../systems/program.ts';
import type { EnginesAnswer, EnginesCommand } from './engines.ts';
import { figuresOf, floodTenant, goalsOf, goodput, type Run, type Sample, smallTenant } from './figures.ts';
import { ask, type Client, closedLoop, openLoop, type Target } from './load.ts';

const MiB = 1024 * 1024;
const method =
  'Production edge and agents, engines with fixed slots and unbounded queues in one process (they tell ' +
  'what runs and waits as vLLM does), all on this machine. First some thousands are refused, so that heaps ' +
  'have grown to their size. Peak: a closed loop of twice as many clients as slots. Overload: an open ' +
  'loop at three times the measured peak, of which one tenant sends three quarters and another one ' +
  'quarter, each more than its half; nothing is limited but the objective of the first token. ' +
  'Goodput: events of whole answers whose first event came within the objective, ' +
  'without the first and the last seconds. Memory: resident, once a second; growth over the second half.';

/** An answer takes 1.2 s. */
const msOf = { prefillMs: 200, stepMs: 50 };
const events = 20;
const model = 'slots';
/** Left out at both ends: the queue fills, and empties. */
const fillMs = 10_000;
const emptyMs = 5_000;
/** Answers of some seconds are left to count, and memory to compare. */
const secondsMin = 30;

const values = readRunOptions('npm run bench:overload --', method, {
  seconds: {
    ...{ kind: 'count', default: '300', min: secondsMin },
    about: 'of overload, of which the first ten and the last five are left out',
  },
  warm: { kind: 'count', default: '10000', about: 'requests that are refused before' },
  'peak-seconds': { kind: 'count', default: '20', about: 'for the measurement of the peak' },
  engines: { kind: 'count', default: '3', about: 'fakes' },
  slots: { kind: 'count', default: '4', about: 'of each' },
  'objective-ms': { kind: 'count', default: '4000', about: 'for the first token' },
  layout: { kind: ['one-object', 'object-per-node'], default: 'one-object', about: 'of the edge' },
  json: { kind: 'switch', about: 'the result as JSON' },
  save: { kind: 'switch', about: 'keep it under bench/results' },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const nowMs = (): number => monotonicUs() / 1e3;

interface Fleet {
  readonly edge: EdgeUnderTest;
  readonly agents: readonly Program[];
  readonly engines: WorkerProcess<EnginesCommand, EnginesAnswer>;
  readonly slots: number;
}

const startAgents = async (edge: EdgeUnderTest, urls: readonly string[]): Promise<Program[]> => {
  const token = await edge.joinToken(urls.length);
  const agentPath = join(import.meta.dirname, '../../node-agent/src/main.ts');
  const agents = urls.map((url, at) =>
    startProgram(
      process.execPath,
      [
        ...[agentPath, '--config', '/dev/null', '--edge', edge.url, '--name', `host${at}`],
        ...['--engine-url', url, '--profile', 'vllm', '--data-dir', join(edge.directory, `agent${at}`)],
      ],
      { COGNITORA_JOIN_TOKEN: token, COGNITORA_PARENT_PIPE: '1' },
    ),
  );
  await waitUntil("the agents' start", 30_000, async () => {
    const { regions } = await edge.admin('GET', '/admin/nodes');
    const [region] = regions as { nodes: { replicas: { state: string; load?: object }[] }[] }[];
    const replicas = region?.nodes.flatMap((node) => node.replicas) ?? [];
    const told = replicas.filter(({ state, load }) => state === 'ready' && load !== undefined);
    return told.length === urls.length;
  }).catch((thrown: Error) => {
    throw new Error(`${thrown.message}\n${agents.map((agent) => agent.tail()).join('\n')}`);
  });
  return agents;
};

const sampling = ({ edge, agents }: Fleet): { readonly samples: Sample[]; readonly stop: () => void } => {
  const samples: Sample[] = [];
  const startMs = nowMs();
  const timer = setInterval(() => {
    const agentBytes = agents.reduce((sum, { pid }) => sum + residentBytes(pid), 0);
    samples.push({
      atSeconds: (nowMs() - startMs) / 1_000,
      edgeMiB: residentBytes(edge.pid()) / MiB,
      agentsMiB: agentBytes / MiB,
    });
  }, 1_000);
  return { samples, stop: () => clearInterval(timer) };
};

const clientOf = async (edge: EdgeUnderTest, tenant: string): Promise<Client> => {
  const { key } = await edge.admin('POST', '/admin/keys', { name: tenant, tenant, scopes: ['chat'] });
  return { tenant, apiKey: String(key) };
};

const limit = (edge: EdgeUnderTest, limits: object) =>
  edge.admin('PUT', `/admin/limits/models/${model}`, limits);

const warmUp = async (edge: EdgeUnderTest, target: Target, client: Client): Promise<void> => {
  let left = Number(values.warm);
  say(`${left} requests, nearly all of them refused`);
  await limit(edge, { seatsPerReplica: 1, queueMax: 0 });
  const worker = async (): Promise<void> => {
    for (; left > 0; left -= 1) await ask({ ...target, events: 1 }, client);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
};

/** The most that the engines do, in events a second, in time or not. */
const measurePeak = async (slots: number, target: Target, client: Client): Promise<number> => {
  const seconds = Number(values['peak-seconds']);
  const startMs = nowMs();
  const outcomes = await closedLoop(target, client, { atOnce: 2 * slots, seconds });
  const fromMs = startMs + Math.min(fillMs, 250 * seconds);
  const peak = goodput(outcomes, Number.POSITIVE_INFINITY, { fromMs, toMs: startMs + seconds * 1_000 });
  say(`peak ${Math.round(peak)} events/s: ${(peak / events).toFixed(1)} requests/s`);
  return peak;
};

const measure = async (fleet: Fleet): Promise<{ run: Run; engineWaitingMax: number }> => {
  const { edge, engines, slots } = fleet;
  const [flood, small] = [await clientOf(edge, floodTenant), await clientOf(edge, smallTenant)];
  const target: Target = { port: edge.port, model, events };
  await warmUp(edge, target, flood);
  const objectiveMs = Number(values['objective-ms']);
  await limit(edge, { firstTokenMs: objectiveMs });
  const peak = await measurePeak(slots, target, flood);
  await delayMs(2_000);
  await engines.ask({ kind: 'look' });
  const seconds = Number(values.seconds);
  const { samples: memory, stop } = sampling(fleet);
  const startMs = nowMs();
  const capacity = peak / events;
  const outcomes = await Promise.all([
    openLoop(target, flood, { perSecond: 2.25 * capacity, seconds }),
    openLoop(target, small, { perSecond: 0.75 * capacity, seconds }),
  ]);
  stop();
  const { waitingMax } = await engines.ask({ kind: 'look' });
  await delayMs(1_000);
  const { running, waiting } = await engines.ask({ kind: 'look' });
  const window = { fromMs: startMs + fillMs, toMs: startMs + seconds * 1_000 - emptyMs };
  const run = { objectiveMs, seconds, peak, outcomes: outcomes.flat(), window, memory };
  return { run: { ...run, left: running + waiting }, engineWaitingMax: waitingMax };
};

const main = async (): Promise<void> => {
  const report = beginReport();
  const [count, slotsEach] = [Number(values.engines), Number(values.slots)];
  const layout = values.layout === 'object-per-node' ? 'object-per-node' : 'one-object';
  const engines = startWorkerProcess<EnginesCommand, EnginesAnswer>(join(import.meta.dirname, 'engines.ts'));
  const edge = await startEdgeUnderTest(layout);
  let agents: readonly Program[] = [];
  try {
    const { urls } = await engines.ask({ kind: 'start', count, slots: slotsEach, msOf });
    agents = await startAgents(edge, urls);
    say(`${count} engines with ${slotsEach} slots, ${layout}`);
    const { run, engineWaitingMax } = await measure({ edge, agents, engines, slots: count * slotsEach });
    const figures = figuresOf(run);
    const { seconds, objectiveMs, memory } = run;
    const rows = figures.tenants.map(({ tenant, sent, outcomes, firstEventMs: { p50, p99 } }) => [
      ...[tenant, sent, JSON.stringify(outcomes), Math.round(p50), Math.round(p99)],
    ]);
    say(table(['tenant', 'sent', 'outcomes', 'first event p50', 'p99'], rows));
    say(`at most ${engineWaitingMax} waited in one engine`);
    const setup = { layout, engines: count, slots: slotsEach, seconds, objectiveMs, engineWaitingMax };
    const goals = goalsOf(run, figures);
    report({ name: 'overload', method, figures: { ...setup, ...figures }, goals, raw: { memory } }, values);
    if (Object.values(goals).some(({ met }) => met === false)) process.exitCode = 1;
  } finally {
    for (const agent of agents) await agent.stop();
    await edge.stop();
    await engines.stop();
  }
};

await main();
