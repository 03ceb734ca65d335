/** `cgn route`: why a request went where it went, and by which policy each model is decided. */
import { printable } from '@cognitora/protocol/printable';
import { adminOptions, clientOf } from '../admin-client.ts';
import { wallMs } from '../clock.ts';
import { type NodesAnswer, namesIn } from '../node-report.ts';
import { type RequestAnswer, requestReport } from '../receipt-report.ts';
import { say, sayJson, table, UserError } from '../terminal.ts';
import { argumentsOf } from '../wrong-arguments.ts';

export const routeHelp = `cgn route: where requests go, and why

Usage
  cgn route why REQUEST_ID        each decision: who was considered, at which cost, and how it ended
  cgn route policies              each model's policy, and how full its prefix maps are
  cgn route use MODEL POLICY [--shadow POLICY]    decides MODEL by POLICY from now on
  cgn route reset MODEL           the default policy again

Policies
  predicted-latency   the default: soonest to the first token, and what the work costs others
  weighted            shares of cached prefix, idleness, power and capacity
  least-loaded        fewest live requests
  round-robin         each in turn
  random              by lot

Every answer carries its request's id in the header x-request-id; the edge remembers the latest. A client may
use an id many times, and a request may be tried in several regions: all decisions are shown, oldest first.
With --shadow a second policy decides beside the first; only where it differs is counted.

Options
  --edge URL        the edge (default: the one "cgn up" left in the data directory)
  --data-dir DIR    where "cgn up" keeps its credentials (default: ~/.cognitora)
  --json            JSON for programs
  --help            this text

Environment
  COGNITORA_ADMIN_KEY   the admin key, when it is not in the data directory
`;

const options = {
  shadow: { type: 'string' },
  ...adminOptions,
} as const;

type Values = ReturnType<typeof parse>['values'];

const parse = (argv: readonly string[]) =>
  argumentsOf(argv, options, 'route', 'npm run -s cgn -- route policies --json');

export interface PoliciesAnswer {
  readonly policies: readonly string[];
  readonly regions: readonly {
    readonly region: string;
    readonly models: readonly {
      readonly model: string;
      readonly policy: string;
      readonly shadow?: { readonly policy: string; readonly decisions: number; readonly differences: number };
      readonly cells: readonly {
        readonly replicas: number;
        readonly mapEntries: number;
        readonly mapEntriesMax: number;
      }[];
    }[];
  }[];
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

export const policyRows = ({ regions }: PoliciesAnswer): (string | number)[][] =>
  regions.flatMap(({ region, models }) =>
    models.map(({ model, policy, shadow, cells }) => {
      const entriesMax = sum(cells.map((cell) => cell.mapEntriesMax));
      const full =
        entriesMax === 0
          ? '-'
          : `${((100 * sum(cells.map((cell) => cell.mapEntries))) / entriesMax).toFixed(1)} %`;
      const beside =
        shadow === undefined ? '-' : `${shadow.policy}: ${shadow.differences} of ${shadow.decisions} differ`;
      return [region, model, policy, beside, sum(cells.map((cell) => cell.replicas)), cells.length, full];
    }),
  );

/** Exactly so many names, and none of them empty. */
const namesFor = (names: readonly string[], count: number, form: string): readonly string[] => {
  if (names.length === count && !names.includes('')) return names;
  throw new UserError(`Write it so: cgn route ${form}`, 2);
};

const why = async (values: Values, names: readonly string[]): Promise<void> => {
  const [requestId = ''] = namesFor(names, 1, 'why REQUEST_ID');
  const path = `/requests/${encodeURIComponent(requestId)}`;
  const answer = (await clientOf(values).call('GET', path)) as RequestAnswer;
  if (values.json) {
    sayJson(answer);
    return;
  }
  const isAnyFetch = answer.decisions.some((each) => each.outcome === 'placed' && each.kvFrom !== undefined);
  const nodes = isAnyFetch ? ((await clientOf(values).call('GET', '/nodes')) as NodesAnswer) : undefined;
  say(requestReport(answer, wallMs(), nodes && namesIn(nodes)));
};

const list = async (values: Values, names: readonly string[]): Promise<void> => {
  namesFor(names, 0, 'policies');
  const answer = (await clientOf(values).call('GET', '/policies')) as PoliciesAnswer;
  if (values.json) {
    sayJson(answer);
    return;
  }
  const rows = policyRows(answer);
  const header = ['REGION', 'MODEL', 'POLICY', 'SHADOW', 'REPLICAS', 'CELLS', 'MAP FULL'];
  const shown = rows.length === 0 ? 'No model is served, and no policy is set.' : table(header, rows);
  say(`${shown}\n\nPolicies: ${answer.policies.join(', ')}`);
};

const use = async (values: Values, names: readonly string[]): Promise<void> => {
  const [model = '', policy] = namesFor(names, 2, 'use MODEL POLICY [--shadow POLICY]');
  await change(values, model, { policy, shadow: values.shadow }, changeReport);
};

const reset = async (values: Values, names: readonly string[]): Promise<void> => {
  const [model = ''] = namesFor(names, 1, 'reset MODEL');
  await change(values, model, {}, resetReport);
};

export interface ChangeAnswer {
  readonly model: string;
  /** By which it is decided now. */
  readonly policy: string;
  readonly shadow: string | null;
  /** Where somebody serves the model now. */
  readonly servedIn: readonly string[];
  /** What is odd about the change. */
  readonly note?: string;
}

const unserved = ({ servedIn }: ChangeAnswer): string =>
  servedIn.length > 0 ? '' : ' Nobody serves it now: is the name right?';

export const changeReport = (answer: ChangeAnswer): string => {
  const { model, policy, shadow } = answer;
  const beside = shadow === null ? '' : `, shadow ${shadow}`;
  return `${printable(model)}: ${policy}${beside}.${unserved(answer)}`;
};

export const resetReport = (answer: ChangeAnswer): string =>
  `${printable(answer.model)}: ${answer.policy}, the default again.${unserved(answer)}`;

const change = async (
  values: Values,
  model: string,
  body: object,
  report: (answer: ChangeAnswer) => string,
): Promise<void> => {
  const path = `/policies/${encodeURIComponent(model)}`;
  const changed = (await clientOf(values).call('PUT', path, body)) as ChangeAnswer;
  if (values.json) sayJson(changed);
  else say(report(changed));
};

const actions = { why, policies: list, use, reset } as const;

export const route = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = parse(argv);
  if (values.help) {
    say(routeHelp.trimEnd());
    return 0;
  }
  const [name = '', ...names] = positionals;
  if (!Object.hasOwn(actions, name)) {
    throw new UserError(
      `Say what: cgn route ${Object.keys(actions).join(' | ')}. "cgn route --help" says more.`,
      2,
    );
  }
  await actions[name as keyof typeof actions](values, names);
  return 0;
};
