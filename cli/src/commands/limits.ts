/** `cgn limits`: how much models and tenants may have at once, how long requests wait, and what is set of that. */
import { printable } from '@cognitora/protocol/printable';
import { type AdminClient, adminOptions, clientOf } from '../admin-client.ts';
import { type LimitsAnswer, limitsReport } from '../limits-report.ts';
import type { NodesAnswer } from '../node-report.ts';
import { say, sayJson, UserError } from '../terminal.ts';
import { argumentsOf } from '../wrong-arguments.ts';

export const limitsHelp = `cgn limits: how many requests are let in, who waits, and for how long

Usage
  cgn limits ls                       what is set, and how many run, wait and were refused
  cgn limits set model MODEL LIMIT... limits MODEL from now on, in all regions
  cgn limits set tenant TENANT LIMIT...
  cgn limits rm model MODEL           the defaults again
  cgn limits rm tenant TENANT

Limits of a model
  --concurrency N       requests at once (default: as many as its replicas have seats)
  --queue N             requests that wait for a seat (default: 512); 0: nobody waits
  --queue-seconds S     for how long each of them does (default: 30)
  --first-token-ms MS   who would have its first token later than this is refused (default: 120000)
  --seats N             requests that each replica has at once (default: learned, see below)

Limits of a tenant (a key's: cgn keys create --tenant)
  --concurrency N       requests at once, those that wait included (default: no limit)
  --weight W            its share beside other tenants that wait (default: 1)

"set" replaces what was set for that name. Engines queue without bound, so the edge sends each only as many
requests as it runs and a few ahead, and keeps the others in its own queue. It learns how many that is from
the engine's metrics; of an engine without, from its answers: twice what was seen to run ("guessed"). A
tenant's requests go by the header x-cognitora-priority, 0 to 9; between tenants tokens are shared by weight.
Who is refused gets 503 (the model's limit) or 429 (the tenant's), with Retry-After.

What "ls" counts as REFUSED
  queue_full            503: --queue requests waited already
  predicted_late        503: it would have waited beyond --queue-seconds, or its first token come after
                        --first-token-ms
  queue_time            503: it waited for --queue-seconds
  tenant_concurrency    429: its tenant had its --concurrency already
  tenant_share          429: the queue was full, and its tenant had more than its share of it
  deadline              504: its own deadline (x-request-timeout-ms) passed while it waited
  client_gone           its client left while it waited

Its last line is of retries: a request that fails before its first byte is tried elsewhere, a hundred at once,
and then one for every five requests; one that is turned down fails with 503, retry_budget_spent.

Options
  --edge URL        the edge (default: the one "cgn up" left in the data directory)
  --data-dir DIR    where "cgn up" keeps its credentials (default: ~/.cognitora)
  --json            JSON for programs
  --help            this text

Environment
  COGNITORA_ADMIN_KEY   the admin key, when it is not in the data directory
`;

const options = {
  concurrency: { type: 'string' },
  queue: { type: 'string' },
  'queue-seconds': { type: 'string' },
  'first-token-ms': { type: 'string' },
  seats: { type: 'string' },
  weight: { type: 'string' },
  ...adminOptions,
} as const;

/** A number below 0 is a wrong number, no option. */
const withNegatives = (argv: readonly string[]): readonly string[] =>
  argv.flatMap((word, at) => {
    if (/^-\d/.test(word) && /^--[a-z-]+$/.test(argv[at - 1] ?? '')) return [];
    const next = argv[at + 1] ?? '';
    return /^--[a-z-]+$/.test(word) && /^-\d/.test(next) ? `${word}=${next}` : word;
  });

const parse = (argv: readonly string[]) => {
  const example = 'npm run cgn -- limits set model qwen --queue 100';
  return argumentsOf(withNegatives(argv), options, 'limits', example);
};

type Values = ReturnType<typeof parse>['values'];
type Option = Exclude<keyof typeof options, keyof typeof adminOptions>;
type Kind = 'model' | 'tenant';

/** What the admin API calls each option, and how many of its units one is. */
const fields: Readonly<Record<Kind, Partial<Record<Option, readonly [field: string, units: number]>>>> = {
  model: {
    concurrency: ['concurrency', 1],
    queue: ['queueMax', 1],
    'queue-seconds': ['queueMsMax', 1_000],
    'first-token-ms': ['firstTokenMs', 1],
    seats: ['seatsPerReplica', 1],
  },
  tenant: { concurrency: ['concurrency', 1], weight: ['weight', 1] },
};

const limitOptions = Object.keys(options).filter(
  (name): name is Option => !Object.hasOwn(adminOptions, name),
);

/** The body of the change. The edge judges the numbers; here it is seen that they are some. */
export const limitsOf = (kind: Kind, values: Partial<Record<Option, string | undefined>>) => {
  const limits: Record<string, number> = {};
  for (const option of limitOptions) {
    const text = values[option];
    if (text === undefined) continue;
    const known = fields[kind][option];
    if (known === undefined) throw new UserError(`A ${kind} has no --${option}. See "cgn limits --help".`, 2);
    const [field, units] = known;
    if (!/^\d+(\.\d+)?$/.test(text)) throw new UserError(`--${option} takes a number, not "${text}".`, 2);
    limits[field] = units === 1 ? Number(text) : Math.round(Number(text) * units);
  }
  return limits;
};

/** The edge's words on limits, with the options' names and units in the place of its own. */
export const inOptions = (kind: Kind, message: string): string => {
  for (const option of limitOptions) {
    const [field = '', units = 1] = fields[kind][option] ?? [];
    const told = new RegExp(`^The limits: ${field} must be (.*)\\.$`).exec(message)?.[1];
    if (field === '' || told === undefined) continue;
    if (units === 1) return `--${option} must be ${told}.`;
    const scaled = told.replaceAll(/\d+/g, (number) => String(Number(number) / units));
    return `--${option} must be ${scaled.replace('a whole number', 'a number')}.`;
  }
  return message;
};

const shownLimits = (values: Partial<Record<Option, string | undefined>>): string =>
  limitOptions
    .flatMap((option) => (values[option] === undefined ? [] : `--${option} ${values[option]}`))
    .join(', ');

const targetOf = (names: readonly string[], form: string): readonly [Kind, string] => {
  const [kind, name = ''] = names;
  if (names.length === 2 && name !== '' && (kind === 'model' || kind === 'tenant')) return [kind, name];
  throw new UserError(`Write it so: cgn limits ${form}`, 2);
};

const pathOf = (kind: Kind, name: string): string => `/limits/${kind}s/${encodeURIComponent(name)}`;

const list = async (values: Values, names: readonly string[]): Promise<void> => {
  if (names.length > 0) throw new UserError('Write it so: cgn limits ls', 2);
  const client = clientOf(values);
  const answer = (await client.call('GET', '/limits')) as LimitsAnswer;
  if (values.json) sayJson(answer);
  else say(limitsReport(answer, (await client.call('GET', '/nodes')) as NodesAnswer));
};

const set = async (values: Values, names: readonly string[]): Promise<void> => {
  const [kind, name] = targetOf(names, 'set model MODEL --queue 100   (or: set tenant TENANT --weight 2)');
  const limits = limitsOf(kind, values);
  if (Object.keys(limits).length === 0) {
    throw new UserError(
      'Say which limit: "cgn limits --help" lists them. "cgn limits rm" takes all back.',
      2,
    );
  }
  const client = clientOf(values);
  const answer = await client.call('PUT', pathOf(kind, name), limits).catch((thrown: unknown) => {
    throw thrown instanceof UserError ? new UserError(inOptions(kind, thrown.message)) : thrown;
  });
  if (values.json) sayJson(answer);
  else {
    say(`${kind} ${printable(name)}: ${shownLimits(values)}.`);
    if (kind === 'model' && !(await isServed(client, name)))
      say(`No replica serves "${printable(name)}" now.`);
  }
};

const isServed = async (client: AdminClient, model: string): Promise<boolean> => {
  const { regions } = (await client.call('GET', '/nodes')) as NodesAnswer;
  const replicas = regions.flatMap(({ nodes }) => nodes.flatMap((node) => node.replicas));
  return replicas.some(({ models }) => models.includes(model));
};

const isSet = async (client: AdminClient, kind: Kind, name: string): Promise<boolean> => {
  const { regions } = (await client.call('GET', '/limits')) as LimitsAnswer;
  return regions.some(({ limits: { models, tenants } }) =>
    kind === 'model'
      ? models.some(({ model }) => model === name)
      : tenants.some(({ tenant }) => tenant === name),
  );
};

const remove = async (values: Values, names: readonly string[]): Promise<void> => {
  const [kind, name] = targetOf(names, 'rm model MODEL   (or: rm tenant TENANT)');
  const client = clientOf(values);
  const wasSet = await isSet(client, kind, name);
  const answer = await client.call('DELETE', pathOf(kind, name));
  if (values.json) sayJson(answer);
  else say(`${kind} ${printable(name)}: ${wasSet ? 'the defaults again' : 'nothing was set'}.`);
};

const actions = { ls: list, set, rm: remove } as const;

export const limits = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = parse(argv);
  if (values.help) {
    say(limitsHelp.trimEnd());
    return 0;
  }
  const [name = '', ...names] = positionals;
  if (!Object.hasOwn(actions, name)) {
    throw new UserError(
      `Say what: cgn limits ${Object.keys(actions).join(' | ')}. "cgn limits --help" says more.`,
      2,
    );
  }
  await actions[name as keyof typeof actions](values, names);
  return 0;
};
