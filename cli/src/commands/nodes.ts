/** `cgn nodes`: which hosts there are and how busy they are; and to keep new requests from one, empty it, remove it. */
import { setTimeout as pause } from 'node:timers/promises';
import { adminOptions, clientOf } from '../admin-client.ts';
import { monotonicMs, wallMs } from '../clock.ts';
import { untilDrained } from '../drain.ts';
import { parseDuration } from '../duration.ts';
import { type NodesAnswer, nodesReport } from '../node-report.ts';
import { Progress, say, sayJson, UserError, warn } from '../terminal.ts';
import { argumentsOf } from '../wrong-arguments.ts';

export const nodesHelp = `cgn nodes: the hosts of the edge

Usage
  cgn nodes [ls]             one line per replica, and per host that joined and is not linked now
  cgn nodes cordon NODE      it gets no new requests, until uncordon; what runs goes on, caches stay known
  cgn nodes uncordon NODE
  cgn nodes drain NODE [--timeout 5m]    cordons it and waits until it serves nothing; status 1 if it does not
  cgn nodes rm NODE [--force]            takes its enrolment back; refused while it serves requests

NODE is an id, its beginning, or a host's name, if it is the only one. A cordon outlives restarts of the edge,
of the agent and of the host. A host that was removed joins again with a token made since ("cgn keys join").

STATE is the engine's, then what keeps requests from it: a role other than both, a cordon, or that it failed
its latest requests (failing: the edge tries it now and then). WHY is the agent's word on one that failed.
LIVE are the requests it serves for this edge; RUN, WAIT and KV what its engine says of all its requests and
its memory. CACHE is how well its cache is known: exact (its engine tells), approximate (inferred from what it
was sent), blind. PEERS is how many other hosts its kvcached reaches, where hosts share KV. What nobody knows
is "-".

Options
  --timeout 5m      how long to wait: a number with s, m, h or d
  --force           removes a node that serves requests: they fail
  --edge URL        the edge (default: the one "cgn up" left in the data directory)
  --data-dir DIR    where "cgn up" keeps its credentials (default: ~/.cognitora)
  --json            JSON for programs
  --help            this text

Environment
  COGNITORA_ADMIN_KEY   the admin key, when it is not in the data directory
`;

const options = {
  timeout: { type: 'string' },
  force: { type: 'boolean', default: false },
  ...adminOptions,
} as const;

type Values = ReturnType<typeof parse>['values'];

const parse = (argv: readonly string[]) =>
  argumentsOf(argv, options, 'nodes', 'npm run -s cgn -- nodes --json');

/** One node as the edge's routes for it answer. */
interface NodeStatus {
  readonly node: string;
  readonly name: string;
  readonly linked: boolean;
  readonly live: number;
}

const pathOf = (reference: string): string => `/nodes/${encodeURIComponent(reference)}`;

const shown = ({ name, node }: NodeStatus): string => `${name} (${node})`;

const requests = (live: number): string => (live === 1 ? '1 request' : `${live} requests`);

const list = async (values: Values): Promise<number> => {
  const answer = (await clientOf(values).call('GET', '/nodes')) as NodesAnswer;
  if (values.json) sayJson(answer);
  else say(nodesReport(answer, wallMs()));
  return 0;
};

const cordon = async (values: Values, reference: string): Promise<number> => {
  const status = (await clientOf(values).call('PUT', `${pathOf(reference)}/cordon`)) as NodeStatus;
  if (values.json) sayJson(status);
  else say(`${shown(status)} is cordoned: it serves ${requests(status.live)} and gets no new ones.`);
  return 0;
};

const uncordon = async (values: Values, reference: string): Promise<number> => {
  const status = (await clientOf(values).call('DELETE', `${pathOf(reference)}/cordon`)) as NodeStatus;
  if (values.json) sayJson(status);
  else say(`${shown(status)} may get requests again${status.linked ? '' : ' once it is linked'}.`);
  return 0;
};

const drain = async (values: Values, reference: string): Promise<number> => {
  const timeout = values.timeout ?? '5m';
  const msMax = parseDuration(timeout, '--timeout') * 1_000;
  const client = clientOf(values);
  const status = (await client.call('PUT', `${pathOf(reference)}/cordon`)) as NodeStatus;
  const progress = new Progress(values.json || !process.stderr.isTTY);
  const live = await untilDrained({
    look: async () => ((await client.call('GET', pathOf(status.node))) as NodeStatus).live,
    ...{ msMax, nowMs: monotonicMs, pause },
    tell: (left, leftMs) =>
      progress.update('drain', `${requests(left)} on ${status.name}, ${Math.ceil(leftMs / 1_000)} s left`),
  });
  progress.done();
  if (values.json) sayJson({ node: status.node, name: status.name, drained: live === 0, live });
  else if (live === 0) say(`${shown(status)} is drained and stays cordoned.`);
  else
    warn(
      `${shown(status)} still serves ${requests(live)} after ${timeout}. It stays cordoned: drain it again.`,
    );
  return live === 0 ? 0 : 1;
};

const remove = async (values: Values, reference: string): Promise<number> => {
  const path = `${pathOf(reference)}${values.force ? '?force=true' : ''}`;
  const answer = (await clientOf(values).call('DELETE', path)) as { readonly removed: string; name: string };
  if (values.json) sayJson(answer);
  else say(`${answer.name} (${answer.removed}) is removed: it needs a new token to join again.`);
  return 0;
};

const actions = { cordon, uncordon, drain, rm: remove } as const;

export const nodes = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = parse(argv);
  const [verb = 'ls', reference, ...more] = positionals;
  if (values.help) {
    say(nodesHelp.trimEnd());
    return 0;
  }
  for (const [option, only] of [
    ['timeout', 'drain'],
    ['force', 'rm'],
  ] as const) {
    if (values[option] && verb !== only) throw new UserError(`--${option} is for "cgn nodes ${only}".`, 2);
  }
  if (verb === 'ls' && reference === undefined) return list(values);
  if (!Object.hasOwn(actions, verb)) {
    const verbs = ['ls', ...Object.keys(actions)].join(' | ');
    throw new UserError(`Say what: cgn nodes ${verbs}. "cgn nodes --help" says more.`, 2);
  }
  if (reference === undefined || more.length > 0) {
    throw new UserError(`Name one node: cgn nodes ${verb} NODE. "cgn nodes" lists them.`, 2);
  }
  return actions[verb as keyof typeof actions](values, reference);
};
