/**
 * The fleet of the scale bench: one production edge, agents in at most four processes, one mock engine, one
 * load generator. Starts and ends them, and waits for links. Measures nothing by itself.
 */
import { join } from 'node:path';
import type { EngineAnswer, EngineCommand } from '../load/engine-messages.ts';
import type { LoadPlan, LoadResult } from '../load/generator-messages.ts';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import { type EdgeUnderTest, startEdgeUnderTest } from '../systems/edge-under-test.ts';
import type { AgentsAnswer, AgentsCommand } from './agents-messages.ts';

const agentProcessesMax = 4;
/** A cell holds at most 64 replicas of one model, so the fleet serves as many models as that takes. */
const replicasPerModel = 50;
const linkedMsMax = 120_000;

export interface Fleet {
  readonly links: number;
  readonly edge: EdgeUnderTest;
  readonly generator: WorkerProcess<LoadPlan, LoadResult>;
  /** Processes by what they are, for CPU figures. */
  readonly pids: () => Readonly<Record<string, readonly number[]>>;
  readonly models: readonly string[];
  /** Agents that were welcomed after this moment, as times. */
  joinedSince(us: number): Promise<readonly number[]>;
  /** Cuts every link at the agents' side; returns how many sockets that were. */
  cut(): Promise<number>;
  stop(): Promise<void>;
}

type AgentsProcess = WorkerProcess<AgentsCommand, AgentsAnswer>;

const startAgents = async (
  edge: EdgeUnderTest,
  enginePort: number,
  links: number,
  models: readonly string[],
) => {
  const count = Math.min(agentProcessesMax, links);
  const path = join(import.meta.dirname, 'agents.ts');
  const processes: AgentsProcess[] = Array.from({ length: count }, () => startWorkerProcess(path));
  const joinToken = await edge.joinToken(links);
  const share = Math.ceil(links / count);
  await Promise.all(
    processes.map((agents, index) =>
      agents.ask({
        kind: 'start',
        edgeUrl: edge.url,
        joinToken,
        directory: join(edge.directory, 'agents'),
        engineUrl: `http://127.0.0.1:${enginePort}`,
        models,
        firstIndex: index * share,
        count: Math.min(share, links - index * share),
      }),
    ),
  );
  return processes;
};

const statuses = (processes: readonly AgentsProcess[]): Promise<readonly AgentsAnswer[]> =>
  Promise.all(processes.map((agents) => agents.ask({ kind: 'status' })));

const waitForLinks = async (processes: readonly AgentsProcess[], links: number): Promise<void> => {
  const deadlineUs = monotonicUs() + linkedMsMax * 1e3;
  for (;;) {
    const answers = await statuses(processes);
    const linked = answers.reduce((sum, answer) => sum + answer.linked, 0);
    if (linked >= links) return;
    const fatal = answers.flatMap((answer) => answer.fatal);
    if (fatal.length > 0 || monotonicUs() > deadlineUs) {
      throw new Error(`${linked} of ${links} agents have a link. ${fatal.join('; ')}`);
    }
    await delayMs(200);
  }
};

export const startFleet = async (links: number): Promise<Fleet> => {
  const load = join(import.meta.dirname, '../load');
  const engine = startWorkerProcess<EngineCommand, EngineAnswer>(join(load, 'mock-engine.ts'));
  const generator = startWorkerProcess<LoadPlan, LoadResult>(join(load, 'generator.ts'));
  const { port } = await engine.ask({ kind: 'listen' });
  const edge = await startEdgeUnderTest('one-object');
  const models = Array.from({ length: Math.ceil(links / replicasPerModel) }, (_, index) => `m${index}`);
  const agents = await startAgents(edge, port, links, models);
  await waitForLinks(agents, links);
  return {
    links,
    edge,
    generator,
    models,
    pids: () => ({
      edge: [edge.pid()],
      agents: agents.map(({ pid }) => pid),
      'mock engine': [engine.pid],
      'load generator': [generator.pid],
    }),
    joinedSince: async (us) =>
      (await statuses(agents)).flatMap(({ joinedUs }) => joinedUs.filter((joined) => joined > us)),
    cut: async () => {
      const answers = await Promise.all(agents.map((process) => process.ask({ kind: 'cut' })));
      return answers.reduce((sum, { cutSockets }) => sum + cutSockets, 0);
    },
    stop: async () => {
      await Promise.all([...agents, engine, generator].map((process) => process.stop()));
      await edge.stop();
    },
  };
};
