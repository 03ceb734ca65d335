/** 1 MiB from a peer on loopback: TLS and QUIC in turn, each time in fresh processes. */
import { peerTransports } from '@cognitora/protocol/kv-daemon';
import { below } from '../report/result.ts';
import { median, rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { loopback, measurePair, type PairFigures, streams } from './peer-pair.ts';
import type { RowResult } from './row.ts';

const plan = { warm: 40, single: { fetchesMax: 400, msMax: 10_000 }, parallelMs: 2_000 };
const rounds = 3;

export const peersRow = async (): Promise<RowResult> => {
  const runs: PairFigures[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? peerTransports : peerTransports.toReversed();
    for (const transport of order) runs.push(await measurePair(transport, loopback, plan));
  }
  const figures = peerTransports.map((transport) => {
    const own = runs.filter((run) => run.transport === transport);
    return {
      transport,
      ms: summarize(own.flatMap(({ singleMs }) => singleMs)),
      // A process that others pushed aside for a moment owns the p99 of all: the middle one of the rounds does not.
      p99MsOfRounds: own.map(({ singleMs }) => summarize(singleMs).p99),
      megabytesPerSecond: rounded(
        median(own.map(({ parallelMegabytesPerSecond }) => parallelMegabytesPerSecond)),
      ),
      cpuSecondsPerGigabyte: rounded(median(own.map(({ cpuSecondsPerGigabyte }) => cpuSecondsPerGigabyte))),
    };
  });
  const ofTransport = (name: string) => {
    const found = figures.find(({ transport }) => transport === name);
    return { p50: found?.ms.p50 ?? Number.NaN, p99: median(found?.p99MsOfRounds ?? []) };
  };
  const [tls, quic] = [ofTransport('tls'), ofTransport('quic')];
  return {
    figures: { peers: figures },
    goals: {
      tlsP50: below('1 MiB from a peer on loopback over TLS: p50 < 4 ms', tls.p50, 4),
      tlsP99: below('the same: p99 < 12 ms', tls.p99, 12),
      quicP50: below('1 MiB from a peer on loopback over QUIC: p50 < 12 ms', quic.p50, 12),
    },
    raw: runs.map((run) => ({ ...run, singleMs: run.singleMs.map(rounded) })),
    text: table(
      ['1 MiB from a peer, loopback', 'p50 ms', 'p90', 'p99', `MB/s, ${streams} at once`, 'CPU s/GB'],
      figures.map(({ transport, ms, p99MsOfRounds, ...of }) => [
        transport,
        ms.p50,
        ms.p90,
        median(p99MsOfRounds),
        of.megabytesPerSecond,
        of.cpuSecondsPerGigabyte,
      ]),
    ),
  };
};
