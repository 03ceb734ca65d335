/**
 * `cgn keys`: API keys and join tokens of an edge. A secret is shown once, when it is made: alone on standard output,
 * for scripts.
 */
import { joinTokenUsesMax } from '@cognitora/protocol/limits';
import { adminOptions, clientOf } from '../admin-client.ts';
import { wallMs } from '../clock.ts';
import { parseDuration } from '../duration.ts';
import { relativeTime, say, sayJson, table, UserError, warn } from '../terminal.ts';
import { argumentsOf, wholeNumber } from '../wrong-arguments.ts';

export const keysHelp = `cgn keys: who may use the edge, and which hosts may join it

Usage
  cgn keys create --name NAME [--scopes chat,embeddings] [--tenant TENANT] [--expires 30d]
  cgn keys ls
  cgn keys revoke ID              works within 10 seconds
  cgn keys join [--uses 16] [--expires 24h]     a token with which hosts join ("cgn agent --help")
  cgn keys joins                  the join tokens
  cgn keys unjoin ID              revokes a join token; hosts that joined stay

What create and join make stands alone on standard output: TOKEN=$(cgn keys join)

Scopes: chat (completions and models), embeddings, admin. An expiry is a number with s, m, h or d.

Options
  --edge URL        the edge (default: the one "cgn up" left in the data directory)
  --data-dir DIR    where "cgn up" keeps its credentials (default: ~/.cognitora)
  --json            JSON for programs
  --help            this text

Environment
  COGNITORA_ADMIN_KEY   the admin key, when it is not in the data directory
`;

const options = {
  name: { type: 'string' },
  scopes: { type: 'string', default: 'chat,embeddings' },
  tenant: { type: 'string' },
  expires: { type: 'string' },
  uses: { type: 'string' },
  ...adminOptions,
} as const;

/** How many hosts a join token is for. */
export const parseUses = (text: string): number => wholeNumber(text, '--uses', 1, joinTokenUsesMax);

interface KeyRow {
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
}

interface JoinRow {
  readonly id: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly usesLeft: number;
  readonly revokedAtMs: number | null;
}

type Values = ReturnType<typeof parse>['values'];

const parse = (argv: readonly string[]) =>
  argumentsOf(argv, options, 'keys', 'npm run -s cgn -- keys ls --json');

const create = async (values: Values): Promise<void> => {
  if (values.name === undefined) throw new UserError('Name the key: --name laptop', 2);
  const made = (await clientOf(values).call('POST', '/keys', {
    name: values.name,
    scopes: values.scopes.split(',').filter((scope) => scope !== ''),
    tenant: values.tenant,
    expiresInSeconds: values.expires === undefined ? undefined : parseDuration(values.expires, '--expires'),
  })) as KeyRow & { readonly key: string };
  if (values.json) sayJson(made);
  else {
    say(made.key);
    warn(`\nKeep it: it is not shown again. Revoke it with "cgn keys revoke ${made.id}".`);
  }
};

const validity = (expiresAtMs: number | null, revokedAtMs: number | null): string => {
  const now = wallMs();
  if (revokedAtMs !== null) return `revoked ${relativeTime(revokedAtMs, now)}`;
  if (expiresAtMs === null) return 'no expiry';
  return `${expiresAtMs <= now ? 'expired' : 'expires'} ${relativeTime(expiresAtMs, now)}`;
};

const list = async (values: Values): Promise<void> => {
  const { keys } = (await clientOf(values).call('GET', '/keys')) as { readonly keys: readonly KeyRow[] };
  if (values.json) sayJson({ keys });
  else if (keys.length === 0) say('No keys yet: "cgn keys create --name NAME" makes one.');
  else {
    const rows = keys.map((key) => [
      key.id,
      key.name,
      key.tenant,
      key.scopes.join(','),
      relativeTime(key.createdAtMs, wallMs()),
      validity(key.expiresAtMs, key.revokedAtMs),
    ]);
    say(table(['ID', 'NAME', 'TENANT', 'SCOPES', 'CREATED', 'VALIDITY'], rows));
  }
};

/** What `cgn keys join` says beside the token; the command is to be pasted on the host. */
export const joinReport = (
  made: Pick<JoinRow, 'usesLeft' | 'expiresAtMs'> & { readonly joinToken: string },
  edge: string,
  nowMs: number,
): string => {
  const isHere = /^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(edge).hostname);
  const notice = `
That edge can be reached from this machine only. For other hosts put a proxy in front, start it with
--origin https://edge.example ("cgn up --help"), and write that URL behind --edge.`;
  return `
For ${made.usesLeft} host(s); expires ${relativeTime(made.expiresAtMs, nowMs)}. On the host:
  COGNITORA_JOIN_TOKEN=${made.joinToken} npm run cgn -- agent --edge ${edge} --engine-url http://127.0.0.1:8000 \\
    --profile vllm
(--profile says what the engine there is: vllm, sglang, llama-cpp, ...)
${isHere ? notice : ''}`.trimEnd();
};

const join = async (values: Values): Promise<void> => {
  const made = (await clientOf(values).call('POST', '/join-tokens', {
    uses: values.uses === undefined ? undefined : parseUses(values.uses),
    expiresInSeconds: values.expires === undefined ? undefined : parseDuration(values.expires, '--expires'),
  })) as JoinRow & { readonly joinToken: string };
  if (values.json) sayJson(made);
  else {
    say(made.joinToken);
    warn(joinReport(made, clientOf(values).url, wallMs()));
  }
};

const listJoins = async (values: Values): Promise<void> => {
  const answer = (await clientOf(values).call('GET', '/join-tokens')) as {
    readonly joinTokens: readonly JoinRow[];
  };
  if (values.json) sayJson(answer);
  else {
    const rows = answer.joinTokens.map((token) => [
      token.id,
      relativeTime(token.createdAtMs, wallMs()),
      token.usesLeft,
      validity(token.expiresAtMs, token.revokedAtMs),
    ]);
    say(table(['ID', 'CREATED', 'USES LEFT', 'VALIDITY'], rows));
  }
};

const revoke = async (
  values: Values,
  collection: 'keys' | 'join-tokens',
  id: string | undefined,
): Promise<void> => {
  if (id === undefined)
    throw new UserError('Name what to revoke: its ID from "cgn keys ls" or "cgn keys joins".', 2);
  const answer = await clientOf(values).call('DELETE', `/${collection}/${encodeURIComponent(id)}`);
  if (values.json) sayJson(answer);
  else
    say(
      `${id} is revoked${collection === 'keys' ? '; within 10 seconds no request with it is served' : ''}.`,
    );
};

export const keys = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = parse(argv);
  const [verb, id] = positionals;
  if (values.help || verb === undefined) {
    say(keysHelp.trimEnd());
    return values.help ? 0 : 2;
  }
  if (verb === 'create') await create(values);
  else if (verb === 'ls') await list(values);
  else if (verb === 'revoke') await revoke(values, 'keys', id);
  else if (verb === 'join') await join(values);
  else if (verb === 'joins') await listJoins(values);
  else if (verb === 'unjoin') await revoke(values, 'join-tokens', id);
  else throw new UserError(`There is no "cgn keys ${verb}". See "cgn keys --help".`, 2);
  return 0;
};
