/**
 * The phases of the chaos run: what is done to the fleet while clients stream, and what they saw. Each returns what it
 * saw; verdicts are made in `report.ts`.
 */
import { join } from 'node:path';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import { seededRandom } from '../sim/random.ts';
import { waitUntil } from '../systems/program.ts';
import type { ClientPlan, StreamRecord } from './client-messages.ts';
import { type Fault, linkCuts, replicaKills } from './faults.ts';
import { type Fleet, fakeModel, type Strike } from './fleet.ts';
import { realModel } from './real-replica.ts';

export const phaseNames = ['A', 'B', 'C'] as const;
export type PhaseName = (typeof phaseNames)[number];

export interface ChaosPlan {
  /** At once, `realStreams` of them at real engines in phases A and B. */
  readonly streams: number;
  readonly realStreams: number;
  readonly seed: number;
  /** Of one phase, in which requests and faults begin. */
  readonly phaseMs: number;
  /** One of three replicas is killed this often; links and agents are harmed about twice as often. */
  readonly everyMs: number;
  readonly words: readonly [min: number, max: number];
}

export interface PhaseResult {
  readonly phase: PhaseName;
  readonly beganUs: number;
  readonly records: readonly StreamRecord[];
  /** Of real engines. */
  readonly real: readonly StreamRecord[];
  readonly strikes: readonly Strike[];
  readonly edgeKills: readonly EdgeKill[];
}

/** What an edge that was killed left behind, in milliseconds from its death. */
export interface EdgeKill {
  readonly streams: number;
  /** It was started again after this long. */
  readonly downMs: number;
  readonly clientsToldMs: number;
  readonly enginesIdleMs: number;
  /** All nodes linked, nothing carried, nothing reserved. */
  readonly edgeIdleMs: number;
}

type Clients = WorkerProcess<ClientPlan, readonly StreamRecord[]>;

/** More would wait for the clients' processes instead of the edge. */
const streamsPerProcess = 70;
const spreadMs = 1_500;
/** Of an answer: some seconds of a toy. */
const realTokens = [2_000, 3_000] as const;
const idleMsMax = 40_000;

interface LoadTerms extends Pick<ClientPlan, 'name' | 'againMs' | 'streams' | 'words' | 'isReal' | 'seed'> {
  readonly model: string;
}

const withClients = async <Result>(
  fleet: Fleet,
  terms: LoadTerms,
  work: (records: Promise<readonly StreamRecord[]>) => Promise<Result>,
): Promise<Result> => {
  const count = Math.ceil(terms.streams / streamsPerProcess);
  const path = join(import.meta.dirname, 'clients.ts');
  const onNote = (outcome: string): void => fleet.progress.ended(outcome);
  const processes: Clients[] = Array.from({ length: count }, () => startWorkerProcess(path, [], onNote));
  try {
    const answers = processes.map((clients, at) =>
      clients.ask({
        ...terms,
        ...{ baseUrl: `${fleet.edge.url}/v1`, apiKey: fleet.edge.apiKey, spreadMs },
        ...{ name: `${terms.name}-${at}`, seed: terms.seed + at * 1_000_003 },
        streams: Math.floor((terms.streams + at) / count),
      }),
    );
    const records = Promise.all(answers).then((lists) => lists.flat());
    // Where the work fails first, what it says counts.
    records.catch(() => {});
    return await work(records);
  } finally {
    await Promise.all(processes.map((clients) => clients.stop()));
  }
};

const underFaults = async (
  fleet: Fleet,
  plan: ChaosPlan,
  phase: 'A' | 'B',
  faults: readonly Fault[],
): Promise<PhaseResult> => {
  await fleet.ready();
  const beganUs = monotonicUs();
  const { seed, words, realStreams, phaseMs: againMs } = plan;
  const name = `chaos-${phase.toLowerCase()}`;
  const streams = plan.streams - realStreams;
  const fakes = { name, model: fakeModel, streams, seed, words, isReal: false, againMs };
  const reals = { ...fakes, name: `${name}-real`, model: realModel, streams: realStreams };
  return withClients(fleet, { ...reals, words: realTokens, isReal: true }, (real) =>
    withClients(fleet, fakes, async (records) => {
      const strikes: Strike[] = [];
      for (const fault of faults) strikes.push(await fleet.suffer(fault));
      return { phase, beganUs, records: await records, real: await real, strikes, edgeKills: [] };
    }),
  );
};

/** Kills the edge under all streams, once, and watches what is left. */
const killEdge = async (fleet: Fleet, plan: ChaosPlan, name: string, downMs: number) => {
  const isIdle = async (): Promise<boolean> => (await fleet.liveInEngines()) === 0;
  await fleet.ready();
  // None of these ends by itself.
  const words = [2_000, 2_000] as const;
  const { streams, seed } = plan;
  const terms = { name, model: fakeModel, streams, seed, words, isReal: false, againMs: 0 };
  return withClients(fleet, terms, async (records) => {
    const areAllLive = async (): Promise<boolean> => (await fleet.liveInEngines()) === plan.streams;
    await waitUntil('streams in all engines', idleMsMax, areAllLive);
    await fleet.edge.kill();
    fleet.progress.struck('edge killed');
    const killedUs = monotonicUs();
    const sinceKill = (): number => Math.round((monotonicUs() - killedUs) / 1e3);
    const told = records.then(sinceKill);
    const idle = waitUntil('rest in all engines', idleMsMax, isIdle).then(sinceKill);
    await delayMs(downMs);
    await fleet.edge.start();
    const enginesIdleMs = await idle;
    await waitUntil('rest at the edge', idleMsMax, async () => {
      const { streams, live, states } = await fleet.atEdge();
      return streams === 0 && live === 0 && states.length === fleet.hosts.length;
    });
    const edgeIdleMs = sinceKill();
    const kill: EdgeKill = {
      ...{ streams: plan.streams, downMs, clientsToldMs: await told, enginesIdleMs, edgeIdleMs },
    };
    return { kill, records: await records };
  });
};

/** An edge that comes back at once, and one that stays away for longer than its agents wait, in turn. */
const downMsInTurn = [500, 9_000] as const;

const linkFaults = [
  ...(['link cut', 'link silent', 'network parted', 'agent paused', 'agent killed'] as const),
  ...(['engine paused', 'edge paused'] as const),
];

const edgeKills = async (fleet: Fleet, plan: ChaosPlan): Promise<PhaseResult> => {
  const beganUs = monotonicUs();
  const kills: EdgeKill[] = [];
  const records: StreamRecord[] = [];
  do {
    const downMs = downMsInTurn[kills.length % downMsInTurn.length] ?? 0;
    const seen = await killEdge(fleet, plan, `chaos-c${kills.length}`, downMs);
    kills.push(seen.kill);
    records.push(...seen.records);
  } while (monotonicUs() - beganUs < plan.phaseMs * 1e3);
  return { phase: 'C', beganUs, records, real: [], strikes: [], edgeKills: kills };
};

export const runPhase = (fleet: Fleet, plan: ChaosPlan, phase: PhaseName): Promise<PhaseResult> => {
  const random = seededRandom(plan.seed + phaseNames.indexOf(phase));
  const room = { hosts: fleet.hosts.length, msMax: plan.phaseMs, random };
  if (phase === 'A') return underFaults(fleet, plan, phase, replicaKills(room, plan.everyMs));
  if (phase === 'B') {
    const kinds = linkFaults.filter((kind) => kind !== 'network parted' || fleet.hasNetworks);
    return underFaults(fleet, plan, phase, linkCuts(room, kinds, plan.everyMs / 2));
  }
  return edgeKills(fleet, plan);
};
