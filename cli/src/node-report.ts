/** The hosts of an edge as a table for people: one line a replica, and one for each host that is away. Pure. */
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
        readonly models: readonly string[];
        readonly live: number;
        readonly caches: readonly { readonly model: string; readonly trust: string }[];
      }[];
    }[];
  }[];
  readonly away: readonly {
    readonly node: string;
    readonly name: string;
    readonly cordonedAtMs: number | null;
  }[];
}

const stateOf = (state: string, isCordoned: boolean, role = 'both'): string =>
  [state, ...(role === 'both' ? [] : [role]), ...(isCordoned ? ['cordoned'] : [])].join(',');

const linkedRows = ({ regions }: NodesAnswer, nowMs: number): (string | number)[][] =>
  regions.flatMap(({ region, nodes }) =>
    nodes.flatMap(({ node, name, connectedAtMs, cordoned, replicas }) =>
      replicas.map((replica) => [
        region,
        name,
        node,
        replica.name,
        stateOf(replica.state, cordoned, replica.role),
        replica.live,
        replica.models.join(','),
        [...new Set(replica.caches.map(({ trust }) => trust))].join(','),
        relativeTime(connectedAtMs, nowMs),
      ]),
    ),
  );

export const nodesReport = (answer: NodesAnswer, nowMs: number): string => {
  const away = answer.away.map(({ node, name, cordonedAtMs }) => [
    ...['-', name, node, '-', stateOf('away', cordonedAtMs !== null), '-', '-', '-', '-'],
  ]);
  const rows = [...linkedRows(answer, nowMs), ...away];
  if (rows.length === 0) return 'No node has joined. "cgn keys join" makes a token for one.';
  return table(['REGION', 'HOST', 'NODE', 'REPLICA', 'STATE', 'LIVE', 'MODELS', 'CACHE', 'LINKED'], rows);
};
