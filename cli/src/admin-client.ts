/** The edge's admin API, as the commands call it. Errors of the edge become `UserError`s with the edge's own words. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isRecord } from '@cognitora/protocol/shape';
import { loadCredentials } from './credentials.ts';
import { shellWord } from './shell-word.ts';
import { UserError } from './terminal.ts';

export const defaultDataDirectory = (): string => join(homedir(), '.cognitora');

/** The option that every other command needs, where it is not the default. */
export const dataOption = (dataDirectory: string): string =>
  dataDirectory === defaultDataDirectory() ? '' : ` --data-dir ${shellWord(dataDirectory)}`;

const callMsMax = 10_000;

export class AdminClient {
  readonly url: string;
  readonly #key: string;
  readonly #keySource: string;

  /** `keySource` is where the key is from, for who has to look there. */
  constructor(url: string, key: string, keySource: string) {
    this.url = url;
    this.#key = key;
    this.#keySource = keySource;
  }

  /** Calls `/admin<path>`; throws a `UserError` unless the edge agrees. */
  async call(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const { status, value } = await this.request(method, `/admin${path}`, this.#key, body);
    if (status < 400) return value;
    if (status === 401) {
      const fix = 'Name its --data-dir, or set COGNITORA_ADMIN_KEY.';
      throw new UserError(
        `The edge at ${this.url} does not know the admin key in ${this.#keySource}. ${fix}`,
      );
    }
    const error = isRecord(value) && isRecord(value.error) ? String(value.error.message) : `status ${status}`;
    throw new UserError(error);
  }

  async request(
    method: string,
    path: string,
    key: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly value: unknown }> {
    const init: RequestInit = {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(callMsMax),
    };
    if (body !== undefined) init.body = JSON.stringify(body);
    let answer: Response;
    try {
      answer = await fetch(this.url + path, init);
    } catch {
      throw new UserError(
        `The edge at ${this.url} does not answer. Is it running? "cgn up" starts one here.`,
      );
    }
    return { status: answer.status, value: await answer.json().catch(() => undefined) };
  }
}

/** What every command that talks to an edge takes. */
export const adminOptions = {
  edge: { type: 'string' },
  'data-dir': { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** The edge a command talks to: the one its options name, or the one that `cgn up` left in the data directory. */
export const clientOf = (values: {
  readonly edge?: string | undefined;
  readonly 'data-dir'?: string | undefined;
}): AdminClient => {
  const directory = values['data-dir'] ?? defaultDataDirectory();
  const known = loadCredentials(directory);
  const url = values.edge ?? known?.url;
  const given = process.env.COGNITORA_ADMIN_KEY;
  const key = given ?? known?.adminKey;
  if (url === undefined)
    throw new UserError('Name the edge: --edge https://edge.example, or start one: "cgn up".', 2);
  if (key === undefined) throw new UserError('Give the admin key in COGNITORA_ADMIN_KEY.', 2);
  return new AdminClient(
    url.replace(/\/+$/, ''),
    key,
    given === undefined ? directory : 'COGNITORA_ADMIN_KEY',
  );
};
