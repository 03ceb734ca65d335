/**
 * The hosts of an edge as tables for people: one line a replica, one for each host that is away, and one a GPU. What
 * nobody knows is "-", never 0. Pure.
 */
import type { GpuReport } from '@cognitora/protocol/telemetry';
import { gpuCells, gpuHeader, loadCells, loadHeader } from './figures.ts';
import { relativeTime, table } from './terminal.ts';

/** What `GET /admin/nodes` answers. */
export interface NodesAnswer {
  readonly regions: readonly {
    readonly region: string;
    readonly nodes: readonly {
      readonly node: string;
      readonly name: string;
      readonly connectedAtMs: number;
      readonly cordoned: boolean;
      readonly replicas: readonly {
        readonly name: string;
        readonly state: string;
        readonly role: string;
        /** Of one that failed. */
        readonly why?: string;
        /** The edge leaves it alone, since its latest requests failed. */
        readonly failing?: boolean;
        readonly models: readonly string[];
        readonly live: number;
        readonly load?: {
          readonly running?: number;
          readonly waiting?: number;
          readonly kvPermille?: number;
        };
        readonly caches: readonly { readonly model: string; readonly trust: string }[];
      }[];
      readonly gpus: readonly (GpuReport & { readonly replicas: readonly string[] })[];
      /** Of one with a KV daemon: which others that reaches. */
      readonly kv?: { readonly reach: readonly unknown[] };
    }[];
  }[];
  readonly away: readonly {
    readonly node: string;
    readonly name: string;
    readonly cordonedAtMs: number | null;
  }[];
}

/** Hosts' names by their ids. */
export const namesIn = ({ regions, away }: NodesAnswer): ReadonlyMap<string, string> =>
  new Map([...regions.flatMap(({ nodes }) => nodes), ...away].map(({ node, name }) => [node, name]));

type Replica = NodesAnswer['regions'][number]['nodes'][number]['replicas'][number];

/** And what keeps requests from it. */
const stateOf = ({ state, role, failing = false }: Replica, isCordoned: boolean): string =>
  [
    ...[state, ...(role === 'both' ? [] : [role])],
    ...[...(failing ? ['failing'] : []), ...(isCordoned ? ['cordoned'] : [])],
  ].join(',');

const linkedRows = ({ regions }: NodesAnswer, nowMs: number): (string | number)[][] =>
  regions.flatMap(({ region, nodes }) =>
    nodes.flatMap(({ node, name, connectedAtMs, cordoned, replicas, kv }) =>
      replicas.map((replica) => [
        region,
        name,
        node,
        replica.name,
        stateOf(replica, cordoned),
        replica.live,
        ...loadCells(replica.load, replica.load?.kvPermille && replica.load.kvPermille / 1_000),
        replica.models.join(',') || '-',
        [...new Set(replica.caches.map(({ trust }) => trust))].join(',') || '-',
        kv?.reach.length ?? '-',
        relativeTime(connectedAtMs, nowMs),
        replica.why ?? '',
      ]),
    ),
  );

const header = [
  ...[
    'REGION',
    'HOST',
    'NODE',
    'REPLICA',
    'STATE',
    'LIVE',
    ...loadHeader,
    'MODELS',
    'CACHE',
    'PEERS',
    'LINKED',
    'WHY',
  ],
];

/** Each GPU once, however many replicas share it. */
const gpuRows = ({ regions }: NodesAnswer): (string | number)[][] =>
  regions.flatMap(({ nodes }) =>
    nodes.flatMap(({ node, name, gpus }) =>
      gpus.map((gpu) => [name, node, ...gpuCells(gpu), gpu.replicas.join(',') || '-']),
    ),
  );

export const nodesReport = (answer: NodesAnswer, nowMs: number): string => {
  const away = answer.away.map(({ node, name, cordonedAtMs }) => [
    ...['-', name, node, '-', cordonedAtMs === null ? 'away' : 'away,cordoned'],
    ...['-', '-', '-', '-', '-', '-', '-', '-', ''],
  ]);
  const rows = [...linkedRows(answer, nowMs), ...away];
  if (rows.length === 0) return 'No node has joined. "cgn keys join" makes a token for one.';
  // Where nothing has failed, and no KV is shared, there is nothing to say of it.
  const told = header.map((title, at) => {
    if (title === 'WHY') return rows.some((row) => row[at] !== '');
    return title !== 'PEERS' || rows.some((row) => row[at] !== '-');
  });
  const shown = (row: readonly (string | number)[]) => row.filter((_, at) => told[at]);
  const nodes = table(
    header.filter((_, at) => told[at]),
    rows.map(shown),
  );
  const gpus = gpuRows(answer);
  return gpus.length === 0 ? nodes : `${nodes}\n\n${table(['HOST', 'NODE', ...gpuHeader, 'REPLICAS'], gpus)}`;
};
