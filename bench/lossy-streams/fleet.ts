/**
 * The two ends of the lossy link: the edge and its clients at one, agents and engines at the other. Starts and ends
 * them; measures nothing by itself.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { EngineAnswer, EngineCommand } from '../load/engine-messages.ts';
import type { LoadPlan, LoadResult } from '../load/generator-messages.ts';
import { type LinkEnd, type LossyLink, openLossyLink, wideArea } from '../lossy-link/link.ts';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import { type Program, startProgram, waitUntil } from '../systems/program.ts';
import type {
  BodiesAnswer,
  BodiesCommand,
  EdgeAnswer,
  EdgeCommand,
  GuestAnswer,
  GuestCommand,
  Target,
} from './messages.ts';

/** The most that a run puts side by side. */
const agentsMax = 4;
const readyMsMax = 30_000;
const agentPath = join(import.meta.dirname, '../../node-agent/src/main.ts');

export interface LossyFleet {
  readonly link: LossyLink;
  readonly target: Target;
  readonly generator: WorkerProcess<LoadPlan, LoadResult>;
  readonly guests: WorkerProcess<GuestCommand, GuestAnswer>;
  /** One more agent on the far host, with a link of its own. */
  addAgent(): Promise<void>;
  stop(): Promise<void>;
}

const setting = '/proc/sys/net/ipv4/tcp_congestion_control';

const inside = ({ enter }: LinkEnd, ...words: string[]): string => {
  const [program = '', ...rest] = [...enter, ...words];
  return execFileSync(program, rest, { encoding: 'utf8' }).trim();
};

/** What the kernel makes of loss where nobody chose. Throws where the system allows no such link. */
export const controlOfMachine = async (): Promise<string> => {
  const link = await openLossyLink({ shape: wideArea({ rttMs: 1, lossShare: 0 }), seed: 1 });
  try {
    return inside(link.ends[0], 'cat', setting);
  } finally {
    await link.stop();
  }
};

export interface LossyPath {
  readonly rttMs: number;
  readonly lossShare: number;
  /** Of both ends' TCP. */
  readonly control: string;
}

export const startLossyFleet = async ({ control, ...path }: LossyPath): Promise<LossyFleet> => {
  const link = await openLossyLink({ shape: wideArea(path), seed: 17 });
  for (const end of link.ends) inside(end, 'sh', '-c', `echo ${control} > ${setting}`);
  const [near, far] = link.ends;
  const at = <Command, Answer>(end: typeof near, ...file: string[]): WorkerProcess<Command, Answer> =>
    startWorkerProcess(join(import.meta.dirname, ...file), end.enter);
  const edgeSide = at<EdgeCommand, EdgeAnswer>(near, 'edge-side.ts');
  const generator = at<LoadPlan, LoadResult>(near, '../load/generator.ts');
  const guests = at<GuestCommand, GuestAnswer>(near, 'guests.ts');
  const engine = at<EngineCommand, EngineAnswer>(far, '../load/mock-engine.ts');
  const bodies = at<BodiesCommand, BodiesAnswer>(far, 'bodies-engine.ts');
  const agents: Program[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all([...agents, generator, guests, engine, bodies].map((one) => one.stop()));
    await edgeSide.ask({ kind: 'stop' }).catch(() => {});
    await edgeSide.stop();
    await link.stop();
  };
  try {
    const edge = await edgeSide.ask({ kind: 'start', host: near.host, hosts: agentsMax });
    const [{ port: eventsPort }, { port: bodiesPort }] = await Promise.all([
      engine.ask({ kind: 'listen' }),
      bodies.ask('listen'),
    ]);
    const addAgent = async (): Promise<void> => {
      const name = `far-${agents.length}`;
      const [program = '', ...words] = [...far.enter, process.execPath, agentPath];
      const engines = [`http://127.0.0.1:${eventsPort}/bench`, `http://127.0.0.1:${bodiesPort}`];
      const agent = startProgram(
        program,
        [
          ...[...words, '--config', '/dev/null', '--edge', edge.url, '--name', name],
          ...engines.flatMap((url) => ['--engine-url', url]),
          ...['--data-dir', join(edge.directory, name)],
        ],
        { COGNITORA_JOIN_TOKEN: edge.joinToken, COGNITORA_PARENT_PIPE: '1' },
      );
      agents.push(agent);
      const isReady = async (): Promise<boolean> =>
        (await edgeSide.ask({ kind: 'ready' })).ready === agents.length;
      await waitUntil(`readiness of ${name}`, readyMsMax, isReady).catch((thrown: Error) => {
        throw new Error(`${thrown.message}\n${agent.tail()}`);
      });
    };
    await addAgent();
    const target = { host: near.host, port: edge.port, apiKey: edge.apiKey };
    return { link, target, generator, guests, addAgent, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
};
