/** `cgn nodes`: which hosts are linked, what they serve, and how busy they are. */
import { parseArgs } from 'node:util';
import { adminOptions, clientOf } from '../admin-client.ts';
import { wallMs } from '../clock.ts';
import { relativeTime, say, sayJson, table } from '../terminal.ts';
import { wrongArguments } from '../wrong-arguments.ts';

export const nodesHelp = `cgn nodes: the hosts that are linked to the edge

Usage
  cgn nodes [--edge URL] [--data-dir DIR] [--json]

  One line per replica: where it runs, its state, the requests it serves now, its models, and how well
  its cache is known: exact (its engine tells), approximate (inferred from what it was sent), blind.

Environment
  COGNITORA_ADMIN_KEY   the admin key, when it is not in the data directory
`;

interface NodesAnswer {
  readonly regions: readonly {
    readonly region: string;
    readonly nodes: readonly {
      readonly node: string;
      readonly name: string;
      readonly connectedAtMs: number;
      readonly replicas: readonly {
        readonly name: string;
        readonly state: string;
        readonly models: readonly string[];
        readonly live: number;
        readonly caches: readonly { readonly model: string; readonly trust: string }[];
      }[];
    }[];
  }[];
}

const rowsOf = ({ regions }: NodesAnswer): (string | number)[][] =>
  regions.flatMap(({ region, nodes }) =>
    nodes.flatMap(({ node, name, connectedAtMs, replicas }) =>
      replicas.map((replica) => [
        region,
        name,
        node,
        replica.name,
        replica.state,
        replica.live,
        replica.models.join(','),
        [...new Set(replica.caches.map(({ trust }) => trust))].join(','),
        relativeTime(connectedAtMs, wallMs()),
      ]),
    ),
  );

export const nodes = async (argv: readonly string[]): Promise<number> => {
  let values: ReturnType<typeof parseArgs<{ options: typeof adminOptions }>>['values'];
  try {
    values = parseArgs({
      args: [...argv],
      options: adminOptions,
      strict: true,
      allowPositionals: false,
    }).values;
  } catch (thrown) {
    throw wrongArguments(thrown, 'nodes', 'npm run cgn -- nodes --json');
  }
  if (values.help) {
    say(nodesHelp.trimEnd());
    return 0;
  }
  const answer = (await clientOf(values).call('GET', '/nodes')) as NodesAnswer;
  if (values.json) sayJson(answer);
  else {
    const rows = rowsOf(answer);
    const header = ['REGION', 'HOST', 'NODE', 'REPLICA', 'STATE', 'LIVE', 'MODELS', 'CACHE', 'LINKED'];
    say(
      rows.length === 0 ? 'No node is linked. "cgn keys join" makes a token for one.' : table(header, rows),
    );
  }
  return 0;
};
