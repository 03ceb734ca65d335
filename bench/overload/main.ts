/**
 * `npm run bench:overload`: three times what the engines can take, for minutes. Does the useful work stay at its peak,
 * do those who are let in have their first token in time, does memory stay flat, and does a tenant keep its share beside
 * one that floods?
 *
 *   node bench/overload/main.ts [--seconds 300] [--warm 10000] [--engines 3] [--slots 4] [--layout one-object] [--save]
 */
import '../machine/exit-on-signal.ts';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { residentBytes } from '../machine/process-figures.ts';
import { startWorkerProcess } from '../machine/worker-process.ts';
import { beginReport, type Goal } from '../report/result.ts';
import { rounded, slope, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { type EdgeUnderTest, startEdgeUnderTest } from '../systems/edge-under-test.ts';
import { type Program, startProgram, waitUntil } from '../systems/program.ts';
import type { EnginesAnswer, EnginesCommand } from './engines.ts';
import { ask, type Client, closedLoop, type Outcome, openLoop, type Target } from './load.ts';

const MiB = 1024 * 1024;
const method =
  'Production edge and agents, engines with fixed slots and unbounded queues in one process (they tell what runs and ' +
  'waits as vLLM does), all on this machine. Peak: a closed loop of twice as many clients as slots. Overload: an open ' +
  'loop at three times the measured peak, of which one tenant sends three quarters and another one quarter, each more ' +
  'than its half; nothing is limited but the objective of the first token, seats are learned. Goodput: events of ' +
  'whole answers whose first event came within the objective, from their send, by when they ended, without the first ' +
  'and the last seconds. Before it all some thousands are refused, so that heaps have grown to their size. Memory: resident, once a second; growth over the second half.';

/** An answer takes 1.2 s. */
const msOf = { prefillMs: 200, stepMs: 50 };
const events = 20;
const model = 'slots';
/** Left out at both ends: the queue fills, and empties. */
const edgeSeconds = 10;
const growthMiBPerMinuteMax = 4;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '300' },
    warm: { type: 'string', default: '10000' },
    'peak-seconds': { type: 'string', default: '20' },
    engines: { type: 'string', default: '3' },
    slots: { type: 'string', default: '4' },
    'objective-ms': { type: 'string', default: '4000' },
    layout: { type: 'string', default: 'one-object' },
  },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

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
    return (
      replicas.filter(({ state, load }) => state === 'ready' && load !== undefined).length === urls.length
    );
  }).catch((thrown: Error) => {
    throw new Error(`${thrown.message}\n${agents.map((agent) => agent.tail()).join('\n')}`);
  });
  return agents;
};

const isGood = ({ isWhole, firstEventMs }: Outcome, objectiveMs: number): boolean =>
  isWhole && firstEventMs !== undefined && firstEventMs <= objectiveMs;

/** Events a second of what ended well within the time that counts. */
const goodput = (outcomes: readonly Outcome[], objectiveMs: number, fromMs: number, toMs: number): number => {
  let sum = 0;
  for (const outcome of outcomes) {
    const { endedMs } = outcome;
    if (endedMs >= fromMs && endedMs < toMs && isGood(outcome, objectiveMs)) sum += outcome.events;
  }
  return (1_000 * sum) / (toMs - fromMs);
};

interface Sample {
  readonly atSeconds: number;
  readonly edgeMiB: number;
  readonly agentsMiB: number;
}

const sampling = (edge: EdgeUnderTest, agents: readonly Program[]) => {
  const samples: Sample[] = [];
  const startUs = monotonicUs();
  const timer = setInterval(() => {
    const agentBytes = agents.reduce((sum, { pid }) => sum + residentBytes(pid), 0);
    samples.push({
      atSeconds: (monotonicUs() - startUs) / 1e6,
      edgeMiB: residentBytes(edge.pid()) / MiB,
      agentsMiB: agentBytes / MiB,
    });
  }, 1_000);
  return { samples, stop: () => clearInterval(timer) };
};

const growth = (samples: readonly Sample[], of: (sample: Sample) => number): number => {
  const half = samples.slice(Math.floor(samples.length / 2));
  return rounded(slope(half.map((sample) => ({ x: sample.atSeconds / 60, y: of(sample) }))));
};

const warmUp = async (target: Target, client: Client, requests: number): Promise<void> => {
  let left = requests;
  const worker = async (): Promise<void> => {
    for (; left > 0; left -= 1) await ask({ ...target, events: 1 }, client);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
};

const codesOf = (outcomes: readonly Outcome[]): Record<string, number> => {
  const codes: Record<string, number> = {};
  for (const { status, code, isWhole } of outcomes) {
    const name = isWhole ? 'whole' : `${status} ${code ?? 'broken'}`;
    codes[name] = (codes[name] ?? 0) + 1;
  }
  return codes;
};

const goal = (text: string, value: number | string, met: boolean): Goal => ({ goal: text, value, met });

const main = async (): Promise<void> => {
  const report = beginReport();
  const [seconds, count, slots] = [values.seconds, values.engines, values.slots].map(Number) as [
    ...[number, number, number],
  ];
  const objectiveMs = Number(values['objective-ms']);
  const layout = values.layout === 'object-per-node' ? 'object-per-node' : 'one-object';
  const engines = startWorkerProcess<EnginesCommand, EnginesAnswer>(join(import.meta.dirname, 'engines.ts'));
  const edge = await startEdgeUnderTest(layout);
  let agents: readonly Program[] = [];
  try {
    const { urls } = await engines.ask({ kind: 'start', count, slots, msOf });
    agents = await startAgents(edge, urls);
    const limit = (limits: object) => edge.admin('PUT', `/admin/limits/models/${model}`, limits);
    const clientOf = async (tenant: string): Promise<Client> => {
      const { key } = await edge.admin('POST', '/admin/keys', { name: tenant, tenant, scopes: ['chat'] });
      return { tenant, apiKey: String(key) };
    };
    const [flood, small] = [await clientOf('flood'), await clientOf('small')];
    const target: Target = { port: edge.port, model, events };
    const warm = Number(values.warm);
    say(`${warm} requests, nearly all of them refused, until the edge's heap is as large as it gets`);
    await limit({ seatsPerReplica: 1, queueMax: 0 });
    await warmUp(target, flood, warm);
    await limit({ firstTokenMs: objectiveMs });
    const peakSeconds = Number(values['peak-seconds']);
    say(`${count} engines with ${slots} slots, ${layout}; peak for ${peakSeconds} s`);
    const fromMs = monotonicUs() / 1e3;
    const peakOutcomes = await closedLoop(target, flood, { atOnce: 2 * count * slots, seconds: peakSeconds });
    const skipMs = 1_000 * Math.min(edgeSeconds, peakSeconds / 4);
    const peakToMs = fromMs + peakSeconds * 1_000;
    // Whether in time or not: the most that the engines do.
    const peak = goodput(peakOutcomes, Number.POSITIVE_INFINITY, fromMs + skipMs, peakToMs);
    const capacity = peak / events;
    say(`peak ${Math.round(peak)} events/s: ${rounded(capacity)} requests/s`);
    await delayMs(2_000);
    await engines.ask({ kind: 'look' });
    const memory = sampling(edge, agents);
    const startMs = monotonicUs() / 1e3;
    const load = loadavg()[0] ?? Number.NaN;
    const outcomes = (
      await Promise.all([
        openLoop(target, flood, { perSecond: 2.25 * capacity, seconds }),
        openLoop(target, small, { perSecond: 0.75 * capacity, seconds }),
      ])
    ).flat();
    memory.stop();
    const { waitingMax } = await engines.ask({ kind: 'look' });
    await delayMs(1_000);
    const after = await engines.ask({ kind: 'look' });
    const window = [startMs + edgeSeconds * 1_000, startMs + (seconds - edgeSeconds / 2) * 1_000] as const;
    const of = (tenant: string): readonly Outcome[] => outcomes.filter((one) => one.tenant === tenant);
    const good = goodput(outcomes, objectiveMs, ...window);
    const smallShare = goodput(of('small'), objectiveMs, ...window) / good;
    const firstEvents = summarize(outcomes.flatMap(({ firstEventMs }) => firstEventMs ?? []));
    const growths = {
      edge: growth(memory.samples, ({ edgeMiB }) => edgeMiB),
      agents: growth(memory.samples, ({ agentsMiB }) => agentsMiB),
    };
    const tenants = ['flood', 'small'].map((tenant) => {
      const own = of(tenant);
      const first = summarize(own.flatMap(({ firstEventMs }) => firstEventMs ?? []));
      return { tenant, sent: own.length, outcomes: codesOf(own), firstEventMs: first };
    });
    say(
      table(
        ['tenant', 'sent', 'outcomes', 'first event p50', 'p99'],
        tenants.map(({ tenant, sent, outcomes: codes, firstEventMs: { p50, p99 } }) => [
          ...[tenant, sent, JSON.stringify(codes), Math.round(p50), Math.round(p99)],
        ]),
      ),
    );
    const retryAfter = summarize(outcomes.flatMap(({ retryAfterSeconds }) => retryAfterSeconds ?? []));
    const growthMax = Math.max(growths.edge, growths.agents);
    const goals = {
      goodput: goal(
        'goodput at 3 x capacity is 90 % of the peak or more',
        rounded(good / peak),
        good >= 0.9 * peak,
      ),
      firstToken: goal(
        `p99 first event of those let in within ${objectiveMs} ms`,
        firstEvents.p99,
        firstEvents.p99 <= objectiveMs,
      ),
      memory: goal(
        `workerd and agents grow by less than ${growthMiBPerMinuteMax} MiB a minute`,
        `${growths.edge} and ${growths.agents}`,
        growthMax < growthMiBPerMinuteMax,
      ),
      share: goal(
        'the smaller tenant keeps its half within 10 %',
        rounded(smallShare),
        Math.abs(smallShare - 0.5) <= 0.05,
      ),
      nothingLeft: goal(
        'nothing is left in the engines a second after the last answer',
        after.running + after.waiting,
        after.running + after.waiting === 0,
      ),
    };
    const figures = {
      ...{ layout, engines: count, slots, seconds, objectiveMs, loadAverageBefore: load },
      ...{ peakEventsPerSecond: rounded(peak), goodEventsPerSecond: rounded(good), smallShare },
      ...{ firstEventMs: firstEvents, engineWaitingMax: waitingMax, retryAfterSeconds: retryAfter, tenants },
      memoryGrowthMiBPerMinute: growths,
      memoryPeakMiB: {
        edge: Math.round(Math.max(...memory.samples.map(({ edgeMiB }) => edgeMiB))),
        agents: Math.round(Math.max(...memory.samples.map(({ agentsMiB }) => agentsMiB))),
      },
    };
    say(`at most ${waitingMax} waited in one engine; Retry-After ${retryAfter.p50} s (p50)`);
    report({ name: 'overload', method, figures, goals, raw: { memory: memory.samples } }, values);
  } finally {
    for (const agent of agents) await agent.stop();
    await edge.stop();
    await engines.stop();
  }
};

await main();
