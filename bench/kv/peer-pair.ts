/** Two fresh processes as two hosts of a fleet, and what one fetches from the other, measured from outside. */
import { join } from 'node:path';
import type { PeerTransport } from '@cognitora/protocol/kv-daemon';
import { fleetCaOf } from '../../edge/src/kv/fleet-ca.ts';
import { cpuUs } from '../machine/process-figures.ts';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import type { PeerAnswer, PeerCommand } from './peer-worker.ts';

/** Where the two stand. */
export interface Place {
  readonly host: string;
  readonly enter: readonly string[];
}

export const loopback: readonly [Place, Place] = [
  { host: '127.0.0.1', enter: [] },
  { host: '127.0.0.1', enter: [] },
];

export interface PairPlan {
  readonly warm: number;
  /** One after the other. */
  readonly single: { readonly fetchesMax: number; readonly msMax: number };
  /** Eight at a time. */
  readonly parallelMs: number;
  /** Bytes that the path carried so far, with headers and what was sent again. */
  readonly carriedBytes?: () => Promise<number>;
}

export interface PairFigures {
  readonly transport: PeerTransport;
  readonly singleMs: readonly number[];
  /** Of values. */
  readonly parallelMegabytesPerSecond: number;
  /** What the path carried for that; undefined: nobody counted it. */
  readonly carriedMegabytesPerSecond: number | undefined;
  /** Of asker and holder together, while eight were fetched at a time. */
  readonly cpuSecondsPerGigabyte: number;
}

export const streams = 8;
/** What the holder has; fetched in turn, each time anew. */
const values = 64;
const phaseMsMax = 60_000;

type Host = WorkerProcess<PeerCommand, PeerAnswer>;

const startHost = ({ enter }: Place): Host =>
  startWorkerProcess<PeerCommand, PeerAnswer>(join(import.meta.dirname, 'peer-worker.ts'), enter);

/** One is certified, the other knows whom to expect. */
const meet = async (asker: Host, holder: Host, transport: PeerTransport, host: string): Promise<void> => {
  const ca = await fleetCaOf('a fleet of this bench, for a few seconds');
  const nowMs = Date.now();
  const identities = await Promise.all([asker.ask({ do: 'identify' }), holder.ask({ do: 'identify' })]);
  const [asking, holding] = identities.map(({ identity }) => identity);
  if (asking === undefined || holding === undefined) throw new Error('a host has no identity');
  const common = { ca: ca.certificate, transport, host };
  const { port } = await holder.ask({
    ...common,
    certificate: await ca.issue(holding.node, holding.publicKey, nowMs),
    ...{ do: 'hold', values, peer: asking },
  });
  const certificate = await ca.issue(asking.node, asking.publicKey, nowMs);
  await asker.ask({ ...common, certificate, do: 'dial', port, peer: holding });
};

export const measurePair = async (
  transport: PeerTransport,
  [from, to]: readonly [Place, Place],
  { warm, single, parallelMs, carriedBytes }: PairPlan,
): Promise<PairFigures> => {
  const [asker, holder] = [startHost(from), startHost(to)];
  try {
    await meet(asker, holder, transport, to.host);
    const always = { do: 'fetch', values, msMax: phaseMsMax, isCutOff: false } as const;
    await asker.ask({ ...always, atOnce: 1, fetchesMax: warm });
    const { ms } = await asker.ask({ ...always, atOnce: 1, ...single });
    const eight = { ...always, atOnce: streams, fetchesMax: Number.MAX_SAFE_INTEGER };
    // Connections are made, and windows opened.
    await asker.ask({ ...eight, msMax: parallelMs / 4 });
    const isCutOff = carriedBytes !== undefined;
    const carriedBefore = await carriedBytes?.();
    const cpuBeforeUs = cpuUs(asker.pid) + cpuUs(holder.pid);
    const { bytes, totalMs } = await asker.ask({ ...eight, isCutOff, msMax: parallelMs });
    const carriedAfter = await carriedBytes?.();
    const cpuSeconds = (cpuUs(asker.pid) + cpuUs(holder.pid) - cpuBeforeUs) / 1e6;
    return {
      transport,
      singleMs: ms,
      parallelMegabytesPerSecond: bytes / 1e3 / totalMs,
      carriedMegabytesPerSecond:
        carriedBefore === undefined || carriedAfter === undefined
          ? undefined
          : (carriedAfter - carriedBefore) / 1e3 / totalMs,
      cpuSecondsPerGigabyte: cpuSeconds / (bytes / 1e9),
    };
  } finally {
    await Promise.all([asker.stop(), holder.stop()]);
  }
};
