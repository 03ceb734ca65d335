/**
 * `npm run bench:kv-events`: the agent's memory after ten million events of a cache, and how long an event takes from
 * an engine's socket to the edge.
 *
 *   node bench/kv-events/main.ts [--quick] [--json] [--save]
 *
 * `--quick` takes less than 30 s on a quiet machine and shows that all of it runs; its memory is far from full.
 */
import '../machine/exit-on-signal.ts';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { digestsOf } from '@cognitora/node-agent/truth/kv-ledger';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import { delayMs } from '../machine/clock.ts';
import { cpuUs } from '../machine/process-figures.ts';
import { startWorkerProcess } from '../machine/worker-process.ts';
import { beginReport, below } from '../report/result.ts';
import { rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import type { AgentCommand } from './agent.ts';
import { ListeningEdge, terms } from './edge.ts';
import type { EngineAnswer, EngineCommand, Mark } from './engine.ts';
import type { MemoryAnswer, MemoryRun } from './memory.ts';
import { bodyOf, marked } from './prompts.ts';

const method =
  'Memory: a fresh process reads a generated stream (maps in MessagePack; prompts of 64 blocks of 16 ' +
  'random tokens, 8 blocks an event, one event for each removed block) in sequence, follows its ' +
  'blocks, confirms the digests of every fourth prompt and tells them to a link that listens to ' +
  'nothing; the engine holds 400,000 blocks, more than are followed. The most resident memory of the whole ' +
  'process (maxRSS), which makes the stream too. With pages of one token: prompts of 1,024 tokens, 128 an ' +
  'event, time of reading and following alone. Delay: three processes, a ZeroMQ publisher that is ' +
  'asked for templates and tokens over HTTP, the agent out of its own parts (engine, truth, link), ' +
  'and an edge on a WebSocket in the process of the bench. Messages every 5 ms, 10,000 events/s; ' +
  'every 20 ms one of 64 known prompts goes, or comes back; from before the message is sent until the ' +
  'edge has read the delta with its first digest. CPU: of the whole process over the wall time, 1 is ' +
  'one core.';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
});
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
const workerOf = <Command, Answer>(name: string) =>
  startWorkerProcess<Command, Answer>(join(import.meta.dirname, name));

/**
 * What note 6 states for one replica whose events are followed, with all of Node. Its room above what runs reached is
 * V8's, which lets the heap swing by 280 MiB before it collects.
 */
const memoryMiBMax = 768;
const eventsPerSecond = 10_000;

const memoryOf = async (run: MemoryRun): Promise<MemoryAnswer> => {
  const worker = workerOf<MemoryRun, MemoryAnswer>('memory.ts');
  try {
    return await worker.ask(run);
  } finally {
    await worker.stop();
  }
};

/** The first digest of each prompt that is marked. */
const firstDigests = ({ feed }: ListeningEdge): readonly bigint[] => {
  if (feed === undefined) throw new Error('the agent opened no feed');
  const { profile, model } = feed;
  const chain = {
    root: rootKey({ salt: terms.salt, model, profile }),
    profile,
    blockBytes: 256,
    blocksMax: 64,
  };
  return Array.from({ length: marked }, (_, prompt) => {
    const { digests } = prefixChain({ path: '/v1/chat/completions', body: bodyOf(prompt) }, chain);
    return digestsOf(digests)[0] ?? 0n;
  });
};

/** Milliseconds from each mark to what the edge first heard of it; undefined: never. */
const delaysOf = (edge: ListeningEdge, marks: readonly Mark[]): readonly (number | undefined)[] => {
  const digests = firstDigests(edge);
  return marks.map(({ prompt, isHeld, us }) => {
    const heard = edge.heard.find(
      (one) => one.us >= us && one.isHeld === isHeld && one.digest === digests[prompt],
    );
    return heard === undefined ? undefined : (heard.us - us) / 1_000;
  });
};

const delayRun = async (seconds: number) => {
  const edge = new ListeningEdge();
  const engine = workerOf<EngineCommand, EngineAnswer>('engine.ts');
  const agent = workerOf<AgentCommand, true>('agent.ts');
  try {
    const { url, events } = await engine.ask({ do: 'start' });
    await agent.ask({ do: 'start', engine: url, events, edge: edge.url });
    await engine.ask({ do: 'store' });
    // How large blocks are the first events say.
    await delayMs(500);
    await agent.ask({ do: 'show' });
    await delayMs(500);
    const cpuBeforeUs = cpuUs(agent.pid);
    const played = await engine.ask({ do: 'play', seconds, eventsPerSecond });
    const cpuShare = (cpuUs(agent.pid) - cpuBeforeUs) / 1e6 / played.seconds;
    await delayMs(1_000);
    const delays = delaysOf(edge, played.marks);
    const found = delays.filter((ms) => ms !== undefined);
    return {
      delays: found,
      lost: delays.length - found.length,
      eventsPerSecond: played.published / played.seconds,
      deltasPerSecond: edge.deltas / played.seconds,
      agentCpu: cpuShare,
    };
  } finally {
    edge.close();
    await Promise.all([engine.stop(), agent.stop()]);
  }
};

const report = beginReport();
const [total, pagesTotal] = values.quick ? [40_000, 500] : [10_000_000, 1_000_000];
const full = { capacity: 400_000, blockTokens: 16, blocksPerPrompt: 64, blocksPerEvent: 8 };
const memory = await memoryOf({ stream: full, events: total, sampleEvery: total / 20, learnsEvery: 4 });
const rows = memory.samples.map(({ events, rssMiB, heapMiB }) => [
  events.toLocaleString('en'),
  rssMiB.toFixed(0),
  heapMiB.toFixed(0),
]);
say(table(['events', 'resident MiB', 'heap MiB'], rows));

const small = { capacity: 400_000, blockTokens: 1, blocksPerPrompt: 1_024, blocksPerEvent: 128 };
const pages = await memoryOf({
  ...{ stream: small, events: pagesTotal, sampleEvery: pagesTotal / 10, learnsEvery: 4 },
});
const delay = await delayRun(values.quick ? 3 : 30);

const delayMsOf = summarize(delay.delays);
const figures = {
  events: total,
  rssMiBMax: rounded(memory.rssMiBMax),
  usPerEvent: rounded(memory.followedUs / total),
  onePageTokens: pages.tokens,
  onePageUsPerToken: rounded(pages.followedUs / pages.tokens),
  onePageRssMiBMax: rounded(pages.rssMiBMax),
  delayMs: delayMsOf,
  delayLost: delay.lost,
  delayEventsPerSecond: rounded(delay.eventsPerSecond),
  delayAgentCpu: rounded(delay.agentCpu),
};
say(`\n${JSON.stringify(figures, undefined, 1)}`);
report(
  {
    name: 'kv-events',
    method,
    figures,
    goals: {
      memory: below(
        `resident < ${memoryMiBMax} MiB`,
        Math.max(memory.rssMiBMax, pages.rssMiBMax),
        memoryMiBMax,
      ),
      delay: below(
        'p99 < 500 ms at 10,000 events/s, none lost',
        delay.lost > 0 ? Number.NaN : delayMsOf.p99,
        500,
      ),
    },
    raw: { memory: memory.samples, pages: pages.samples, delaysMs: delay.delays.map(rounded) },
  },
  values,
);
