/** `cgn route`: why a request went where it went, and by which policy each model is decided. */
import { parseArgs } from 'node:util';
import { adminOptions, clientOf } from '../admin-client.ts';
import { wallMs } from '../clock.ts';
import { relativeTime, say, sayJson, table, UserError } from '../terminal.ts';
import { wrongArguments } from '../wrong-arguments.ts';

export const routeHelp = `cgn route: where requests go, and why

Usage
  cgn route why REQUEST_ID        the decision: who was considered, at which cost, and how it ended
  cgn route policies              each model's policy, and how full its prefix maps are
  cgn route use MODEL POLICY [--shadow POLICY]    decides MODEL by POLICY from now on
  cgn route reset MODEL           the default policy again

Every answer carries its request's id in the header x-request-id; the edge remembers the latest.
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

const parse = (argv: readonly string[]) => {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: true });
  } catch (thrown) {
    throw wrongArguments(thrown, 'route', 'npm run cgn -- route policies --json');
  }
};

export interface ReceiptAnswer {
  readonly requestId: string;
  readonly region: string;
  readonly model: string;
  readonly decidedAtMs: number;
  readonly policy: string;
  readonly node: string;
  readonly replica: string;
  readonly trust: string;
  readonly promptTokens: number;
  readonly expectedTokens: number;
  readonly candidates: number;
  readonly considered: readonly {
    readonly node: string;
    readonly replica: string;
    readonly trust: string;
    readonly cost: number;
    readonly cachedTokens: number;
    readonly live: number;
    readonly waitMs: number;
    readonly prefillMs: number;
  }[];
  readonly ended?: {
    readonly record?: {
      readonly totalMs: number;
      readonly firstByteMs?: number;
      readonly usage?: { readonly promptTokens: number; readonly cachedTokens?: number };
    };
  };
}

const endOf = ({ ended }: ReceiptAnswer): string => {
  if (ended === undefined) return 'It is still running.';
  const { record } = ended;
  if (record === undefined) return 'It ended before its agent could say how.';
  const { usage, firstByteMs, totalMs } = record;
  const cached = usage?.cachedTokens === undefined ? 'no word on its cache' : `${usage.cachedTokens} cached`;
  const tokens =
    usage === undefined
      ? 'The engine counted no tokens'
      : `The engine counted ${usage.promptTokens} prompt tokens, ${cached}`;
  const first = firstByteMs === undefined ? '' : `; first byte after ${firstByteMs} ms`;
  return `${tokens}${first}; over after ${totalMs} ms.`;
};

/** A receipt for people. */
export const receiptReport = (receipt: ReceiptAnswer, nowMs: number): string => {
  const rows = receipt.considered.map((candidate) => [
    candidate.node === receipt.node && candidate.replica === receipt.replica ? '*' : '',
    candidate.node,
    candidate.replica,
    candidate.cost,
    candidate.cachedTokens,
    candidate.trust,
    candidate.live,
    Math.round(candidate.waitMs),
    Math.round(candidate.prefillMs),
  ]);
  const header = ['', 'NODE', 'REPLICA', 'COST', 'CACHED', 'TRUST', 'LIVE', 'WAIT MS', 'PREFILL MS'];
  const { requestId, model, region, policy, candidates, promptTokens, trust } = receipt;
  const when = relativeTime(receipt.decidedAtMs, nowMs);
  const expected = Math.round(receipt.expectedTokens);
  return [
    `${requestId}  ${model}, region ${region}, ${when}\n`,
    `Decided by ${policy} among ${candidates}: about ${promptTokens} prompt tokens,`,
    `${expected} of them expected in the chosen cache (${trust}).\n`,
    `${table(header, rows)}\n`,
    endOf(receipt),
  ].join('\n');
};

interface PoliciesAnswer {
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

const policyRows = ({ regions }: PoliciesAnswer): (string | number)[][] =>
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

const why = async (values: Values, [requestId]: readonly string[]): Promise<void> => {
  if (requestId === undefined) throw new UserError('Name the request: cgn route why REQUEST_ID', 2);
  const receipt = (await clientOf(values).call(
    'GET',
    `/requests/${encodeURIComponent(requestId)}`,
  )) as ReceiptAnswer;
  if (values.json) sayJson(receipt);
  else say(receiptReport(receipt, wallMs()));
};

const list = async (values: Values): Promise<void> => {
  const answer = (await clientOf(values).call('GET', '/policies')) as PoliciesAnswer;
  if (values.json) {
    sayJson(answer);
    return;
  }
  const rows = policyRows(answer);
  const header = ['REGION', 'MODEL', 'POLICY', 'SHADOW', 'REPLICAS', 'CELLS', 'MAP FULL'];
  const shown = rows.length === 0 ? 'No model is served.' : table(header, rows);
  say(`${shown}\n\nPolicies: ${answer.policies.join(', ')}`);
};

const use = async (values: Values, [model, policy]: readonly string[]): Promise<void> => {
  if (model === undefined || policy === undefined) {
    throw new UserError('Name a model and a policy: cgn route use MODEL POLICY', 2);
  }
  await change(values, model, { policy, shadow: values.shadow });
};

const reset = async (values: Values, [model]: readonly string[]): Promise<void> => {
  if (model === undefined) throw new UserError('Name the model: cgn route reset MODEL', 2);
  await change(values, model, {});
};

const change = async (values: Values, model: string, body: object): Promise<void> => {
  const changed = await clientOf(values).call('PUT', `/policies/${encodeURIComponent(model)}`, body);
  if (values.json) sayJson(changed);
  else say(`${model} is decided so from now on. "cgn route policies" shows it.`);
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
