/** `cgn kv`: what this host's kvcached holds; to keep values, let them go, and see what is wrong. */

import { homedir } from 'node:os';
import {
  type KvKey,
  kvDaemonPaths,
  kvEscaped,
  kvKeysPerRequestMax,
  kvValuePath,
} from '@cognitora/protocol/kv-daemon';
import {
  parseKvChanged,
  parseKvExists,
  parseKvKeysPage,
  parseKvPeers,
  parseKvStat,
} from '@cognitora/protocol/kv-daemon-bodies';
import { KvClient, kvSocketOf, refusal, usualKvDirectories } from '../kv-client.ts';
import { kvFindings } from '../kv-doctor.ts';
import { shownKey, typedKey } from '../kv-keys.ts';
import { keysReport, statReport } from '../kv-report.ts';
import { say, sayJson, UserError, warn } from '../terminal.ts';
import { argumentsOf, wholeNumber } from '../wrong-arguments.ts';
import { findingReport } from './doctor.ts';

const limitDefault = 100;
const limitMax = 1_000_000;

export const kvHelp = `cgn kv: what this host's kvcached holds

Usage
  cgn kv [ls] [PREFIX] [--limit N]   its keys: size, where they lie, whether they are pinned, their end
  cgn kv stat                        how full it is, what it was asked for, its peers, its namespaces
  cgn kv pin KEY ...                 they stay in memory whatever needs room, until unpin, rm or their end
  cgn kv unpin KEY ...
  cgn kv rm KEY ...                  they are gone from memory and disk, and computed again where asked for
  cgn kv doctor [--node NODE]        is it well? writes and reads a value here and with each peer that it
                                     reaches, looks at memory and disk, and says in which field two hosts
                                     differ that should share a model's KV

A key is NAMESPACE:NAME. A namespace is n and 16 hex, the hash of what must be equal on two hosts that share
(model, dtype, layout, ...; "cgn kv stat" lists them), or db0, db1, ... for a Redis database without such
fields. Bytes that a terminal does not show stand as %XX, and are typed so. "--prefix P" in place of keys
means all that begin so: cgn kv rm --prefix db0:

At most three quarters of memory can be pinned. Status 1: a key was not there, or the doctor found something.

Options
  --prefix P        of pin, unpin and rm: all keys that begin so
  --limit N         of ls: so many keys (default ${limitDefault})
  --node NODE       of doctor: this peer alone
  --socket PATH     where kvcached answers (default: COGNITORA_KV_SOCKET, else kvcached.sock in its data
                    directory)
  --data-dir DIR    its data directory (default: COGNITORA_KV_DATA_DIR, else
                    ${usualKvDirectories().join(' or ').replaceAll(homedir(), '~')})
  --json            JSON for programs; "key" has one character a byte, "typed" is what pin, unpin and rm take
  --help            this text
`;

const options = {
  prefix: { type: 'string' },
  limit: { type: 'string' },
  node: { type: 'string' },
  socket: { type: 'string' },
  'data-dir': { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

type Values = ReturnType<typeof parse>['values'];

const parse = (argv: readonly string[]) => argumentsOf(argv, options, 'kv', 'npm run -s cgn -- kv ls --json');

/** Keys that begin so, page by page, until there are no more or so many are found. */
async function* keysOf(client: KvClient, prefix: string, max: number): AsyncGenerator<readonly KvKey[]> {
  let left = max;
  let cursor = 0;
  do {
    const count = Math.min(left, kvKeysPerRequestMax);
    const query = `?prefix=${kvEscaped(prefix)}&cursor=${cursor}&count=${count}`;
    const page = await client.read({ path: kvDaemonPaths.keys + query }, parseKvKeysPage);
    yield page.keys;
    left -= page.keys.length;
    cursor = page.cursor ?? 0;
  } while (cursor !== 0 && left > 0);
}

const limitOf = (text: string | undefined): number =>
  text === undefined ? limitDefault : wholeNumber(text, '--limit', 1, limitMax);

const list = async (client: KvClient, values: Values, [prefix = '', ...more]: readonly string[]) => {
  if (more.length > 0) throw new UserError('Name one prefix: cgn kv ls db0:', 2);
  const limit = limitOf(values.limit);
  const found: KvKey[] = [];
  // One more than is shown, to know whether there are more.
  for await (const keys of keysOf(client, typedKey(prefix), limit + 1)) found.push(...keys);
  const keys = found.slice(0, limit);
  const hasMore = found.length > limit;
  if (values.json) sayJson({ keys: keys.map((each) => ({ ...each, typed: shownKey(each.key) })), hasMore });
  else if (keys.length === 0) say(prefix === '' ? 'It holds nothing.' : `No key begins with ${prefix}.`);
  else say(`${keysReport(keys)}${hasMore ? `\n\nThere are more: --limit, or a longer PREFIX.` : ''}`);
  return 0;
};

const stat = async (client: KvClient, values: Values): Promise<number> => {
  const told = await client.read({ path: kvDaemonPaths.stat }, parseKvStat);
  const answer = await client.ask({ path: kvDaemonPaths.peers });
  const peers = answer.status === 200 ? client.parsed(answer, parseKvPeers) : undefined;
  if (values.json) sayJson({ ...told, ...(peers === undefined ? {} : { peers }) });
  else say(statReport(told, peers));
  return 0;
};

/** Those that are named, or all that begin with the prefix, in pages. */
async function* chosen(
  client: KvClient,
  { prefix }: Values,
  typed: readonly string[],
): AsyncGenerator<readonly string[]> {
  if (prefix !== undefined && typed.length > 0) throw new UserError('Say keys or --prefix, not both.', 2);
  if (prefix === undefined && typed.length === 0) {
    throw new UserError('Name a key, or --prefix with what they begin with. "cgn kv ls" lists them.', 2);
  }
  if (prefix === '') throw new UserError('--prefix is empty: name the namespace at least, such as db0:', 2);
  if (prefix === undefined) {
    const keys = typed.map(typedKey);
    for (let at = 0; at < keys.length; at += kvKeysPerRequestMax)
      yield keys.slice(at, at + kvKeysPerRequestMax);
    return;
  }
  for await (const page of keysOf(client, typedKey(prefix), Number.MAX_SAFE_INTEGER))
    yield page.map(({ key }) => key);
}

/** Of pin, unpin and rm: how many were changed, and which were not there. */
interface Outcome {
  readonly changed: number;
  readonly absent: readonly string[];
}

const tell = ({ changed, absent }: Outcome, json: boolean, done: string): number => {
  if (json) sayJson({ changed, absent });
  else {
    say(`${changed} ${changed === 1 ? 'value' : 'values'} ${done}.`);
    if (absent.length > 0) warn(`Not there: ${absent.slice(0, 10).map(shownKey).join(', ')}`);
    if (absent.some((key) => !key.includes(':'))) warn('A key is NAMESPACE:NAME, such as db0:hello.');
  }
  return absent.length > 0 ? 1 : 0;
};

const pinning =
  (pinned: boolean) =>
  async (client: KvClient, values: Values, typed: readonly string[]): Promise<number> => {
    let changed = 0;
    const absent: string[] = [];
    for await (const keys of chosen(client, values, typed)) {
      if (keys.length === 0) continue;
      const exists = { method: 'POST', path: kvDaemonPaths.exists, body: { keys } } as const;
      const { tiers } = await client.read(exists, parseKvExists);
      absent.push(...keys.filter((_, at) => tiers[at] === null));
      const pin = { method: 'POST', path: kvDaemonPaths.pin, body: { keys, pinned } } as const;
      changed += (await client.read(pin, parseKvChanged)).changed;
    }
    return tell({ changed, absent }, values.json, pinned ? 'pinned' : 'unpinned');
  };

const remove = async (client: KvClient, values: Values, typed: readonly string[]): Promise<number> => {
  let changed = 0;
  const absent: string[] = [];
  for await (const keys of chosen(client, values, typed)) {
    for (const key of keys) {
      const answer = await client.ask({ method: 'DELETE', path: kvValuePath(key) });
      if (answer.status === 204) changed += 1;
      else if (answer.status === 404) absent.push(key);
      else throw refusal(answer);
    }
  }
  // What begins so and went meanwhile is nobody's mistake.
  return tell({ changed, absent: values.prefix === undefined ? absent : [] }, values.json, 'removed');
};

const doctor = async (client: KvClient, { json, node }: Values): Promise<number> => {
  let failed = 0;
  const findings = [];
  for await (const finding of kvFindings(client, node)) {
    if (finding.outcome === 'failed') failed += 1;
    findings.push(finding);
    if (!json) say(findingReport(finding));
  }
  if (json) sayJson({ ok: failed === 0, checks: findings });
  else say(failed === 0 ? '\nNothing stands in the way.' : `\n${failed} failed.`);
  return failed === 0 ? 0 : 1;
};

const actions = { ls: list, stat, pin: pinning(true), unpin: pinning(false), rm: remove, doctor } as const;

/** Which option is for which verbs alone. */
const only = {
  prefix: ['pin', 'unpin', 'rm'],
  limit: ['ls'],
  node: ['doctor'],
} as const satisfies Readonly<Record<string, readonly (keyof typeof actions)[]>>;

export const kv = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = parse(argv);
  const [verb = 'ls', ...rest] = positionals;
  if (values.help) {
    say(kvHelp.trimEnd());
    return 0;
  }
  if (!Object.hasOwn(actions, verb)) {
    const verbs = Object.keys(actions).join(' | ');
    throw new UserError(`Say what: cgn kv ${verbs}. "cgn kv --help" says more.`, 2);
  }
  for (const [option, verbs] of Object.entries(only)) {
    if (values[option as keyof typeof only] !== undefined && !verbs.some((each) => each === verb)) {
      const hint = option === 'prefix' && verb === 'ls' ? ' Of ls: cgn kv ls PREFIX.' : '';
      throw new UserError(`--${option} is for "cgn kv ${verbs.join('" and "cgn kv ')}".${hint}`, 2);
    }
  }
  if ((verb === 'stat' || verb === 'doctor') && rest.length > 0) {
    throw new UserError(`"cgn kv ${verb}" takes no keys. "cgn kv --help" says more.`, 2);
  }
  const client = new KvClient(kvSocketOf(values, process.env));
  return actions[verb as keyof typeof actions](client, values, rest);
};
