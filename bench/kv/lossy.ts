/**
 * 1 MiB from a peer over a path that delays and loses: TLS and QUIC in turn over equal links, so that where QUIC wins
 * is known. What TCP makes of loss is the kernel's congestion control: TLS is measured by the machine's own and by
 * Reno, which every kernel allows; CUBIC is not much better on short paths. QUIC's is its library's, without a name.
 */
import { execFileSync } from 'node:child_process';
import { type PeerTransport, peerTransports } from '@cognitora/protocol/kv-daemon';
import { type LinkEnd, openLossyLink, wideArea } from '../lossy-link/link.ts';
import { rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { measurePair, type PairFigures, streams } from './peer-pair.ts';
import type { RowResult } from './row.ts';

const paths = [
  { rttMs: 20, lossShare: 0 },
  { rttMs: 20, lossShare: 0.001 },
  { rttMs: 20, lossShare: 0.01 },
  { rttMs: 20, lossShare: 0.02 },
  { rttMs: 80, lossShare: 0.005 },
] as const;
const plan = { warm: 2, single: { fetchesMax: 80, msMax: 5_000 }, parallelMs: 3_000 };
const setting = '/proc/sys/net/ipv4/tcp_congestion_control';
const lossBased = 'reno';

const inside = ({ enter }: LinkEnd, ...words: string[]): string => {
  const [program = '', ...rest] = [...enter, ...words];
  return execFileSync(program, rest, { encoding: 'utf8' }).trim();
};

interface Case {
  readonly transport: PeerTransport;
  /** Undefined: not TCP. */
  readonly control: string | undefined;
}

const casesFor = (ofMachine: string): readonly Case[] =>
  peerTransports.flatMap((transport): readonly Case[] => {
    if (transport === 'quic') return [{ transport, control: undefined }];
    return [...new Set([ofMachine, lossBased])].map((control) => ({ transport, control }));
  });

interface Run extends PairFigures {
  readonly path: (typeof paths)[number];
  readonly control: string | undefined;
  readonly packets: { readonly delivered: number; readonly lost: number; readonly dropped: number };
  readonly unwantedDrops: number;
}

/** On a link of its own, that nobody else's packets are on. */
const measure = async (path: (typeof paths)[number], { transport, control }: Case): Promise<Run> => {
  const link = await openLossyLink({ shape: wideArea(path), seed: 11 });
  try {
    const [from, to] = link.ends;
    for (const end of link.ends)
      if (control !== undefined) inside(end, 'sh', '-c', `echo ${control} > ${setting}`);
    const carriedBytes = async (): Promise<number> => (await link.counts())[1].deliveredBytes;
    const figures = await measurePair(transport, [from, to], { ...plan, carriedBytes });
    const { delivered, lost, dropped } = (await link.counts())[1];
    const unwantedDrops = from.unwantedDrops() + to.unwantedDrops();
    return { ...figures, path, control, packets: { delivered, lost, dropped }, unwantedDrops };
  } finally {
    await link.stop();
  }
};

const nameOf = ({ transport, control }: { transport: string; control: string | undefined }): string =>
  control === undefined ? transport : `${transport}, ${control}`;

/** Undefined: the system allows no such link. */
const controlOfMachine = async (): Promise<string | Error> => {
  try {
    const link = await openLossyLink({ shape: wideArea(paths[0]), seed: 1 });
    const control = inside(link.ends[0], 'cat', setting);
    await link.stop();
    return control;
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error(String(thrown));
  }
};

export const lossyRow = async (): Promise<RowResult> => {
  const control = await controlOfMachine();
  if (control instanceof Error) {
    const goal = 'the loss at which QUIC beats TLS is known';
    const goals = { lossKnown: { goal, value: control.message, met: null } };
    return { figures: {}, goals, raw: [], text: `no lossy link here: ${control.message}` };
  }
  const runs: Run[] = [];
  for (const [index, path] of paths.entries()) {
    const cases = casesFor(control);
    for (const one of index % 2 === 0 ? cases : cases.toReversed()) runs.push(await measure(path, one));
  }
  const figures = runs.map(({ path, singleMs, ...run }) => ({
    ...{ ...path, name: nameOf(run), ms: summarize(singleMs) },
    megabytesPerSecond: rounded(run.parallelMegabytesPerSecond),
    carriedMegabytesPerSecond: rounded(run.carriedMegabytesPerSecond ?? Number.NaN),
    cpuSecondsPerGigabyte: rounded(run.cpuSecondsPerGigabyte),
    ...{ packets: run.packets, unwantedDrops: run.unwantedDrops },
  }));
  const verdicts = paths.map((path) => {
    const own = figures.filter(
      ({ rttMs, lossShare }) => rttMs === path.rttMs && lossShare === path.lossShare,
    );
    const quic = own.find(({ name }) => name === 'quic')?.ms.p50 ?? Number.NaN;
    const beaten = own.filter(({ ms }) => ms.p50 > quic).map(({ name }) => name);
    return `${path.rttMs} ms ${100 * path.lossShare} %: QUIC beats ${beaten.join(' and ') || 'none'}`;
  });
  return {
    figures: { lossy: figures },
    goals: {
      lossKnown: {
        goal: 'the RTT and loss at which QUIC beats TLS (p50 of 1 MiB) are shown',
        value: verdicts.join('; '),
        met: runs.every(({ unwantedDrops }) => unwantedDrops === 0),
      },
    },
    raw: runs.map((run) => ({ ...run, singleMs: run.singleMs.map(rounded) })),
    text: table(
      [
        '1 MiB from a peer over a link',
        'fetches',
        'p50 ms',
        'p90',
        'max',
        `MB/s, ${streams} at once`,
        'carried',
        'CPU s/GB',
      ],
      figures.map(({ rttMs, lossShare, name, ms, ...of }) => [
        `${rttMs} ms, ${100 * lossShare} % lost: ${name}`,
        ...[ms.count, ms.p50, ms.p90, ms.max],
        ...[of.megabytesPerSecond, of.carriedMegabytesPerSecond, of.cpuSecondsPerGigabyte],
      ]),
    ),
  };
};
