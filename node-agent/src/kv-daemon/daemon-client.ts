/**
 * This host's KV daemon over its Unix socket: values, which of them are there, namespaces, and the lines of the fleet.
 * One question, one answer, each bounded in time and bytes; decides nothing and keeps nothing.
 */
import type { Duplex } from 'node:stream';
import type { NodeId } from '@cognitora/protocol/ids';
import {
  kvDaemonPaths,
  kvFetchMsMax,
  kvFleetUpgrade,
  kvKeysPerRequestMax,
  kvValuePath,
  type NamespaceFields,
} from '@cognitora/protocol/kv-daemon';
import {
  kvErrorIn,
  parseKvExists,
  parseKvKeysPage,
  parseKvNamespace,
} from '@cognitora/protocol/kv-daemon-bodies';
import { Pool } from 'undici';
import { readBounded } from '../engines/engine.ts';

/** A part that is fetched, those ahead of it, and small questions beside them. */
const connectionsMax = 8;
/** A daemon on this host that says nothing for so long says nothing more. */
const localMsMax = 10_000;
/** A page of keys, or what is there of as many: as JSON. */
const answerBytesMax = 16 * 1024 * 1024;
/** Of one value that an agent stores. */
export const valueBytesMax = 16 * 1024 * 1024;
const keysPerPage = 1_000;

export interface ValueOptions {
  /** Where it is fetched from when it is not here. */
  readonly node?: NodeId | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface KeysPage {
  readonly keys: readonly string[];
  /** Of the next page; absent: there is none. */
  readonly cursor?: number;
}

/** What this host's agent asks of its daemon. All reject when it does not answer, or says no. */
export interface KvDaemon {
  /** Undefined: it is not there. */
  value(key: string, options?: ValueOptions): Promise<Buffer | undefined>;
  put(key: string, value: Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
  /** Whether each of them is here, in memory or on the disk. */
  exists(keys: readonly string[]): Promise<readonly boolean[]>;
  /** Some of those that begin so. */
  keys(prefix: string, cursor?: number): Promise<KeysPage>;
  namespace(fields: NamespaceFields): Promise<string>;
}

interface Asked {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: Uint8Array | string;
  readonly msMax?: number;
  readonly signal?: AbortSignal | undefined;
}

interface Answered {
  readonly status: number;
  readonly bytes: Uint8Array;
}

export class KvDaemonClient implements KvDaemon {
  readonly #pool: Pool;

  constructor(socketPath: string) {
    this.#pool = new Pool('http://localhost', { socketPath, connections: connectionsMax, pipelining: 1 });
  }

  async value(key: string, { node, signal }: ValueOptions = {}): Promise<Buffer | undefined> {
    const path = kvValuePath(key) + (node === undefined ? '' : `?node=${node}`);
    const msMax = node === undefined ? localMsMax : kvFetchMsMax;
    const answer = await this.#ask({ method: 'GET', path, msMax, signal });
    if (answer.status === 404) return undefined;
    const { buffer, byteOffset, length } = accepted(answer).bytes;
    return Buffer.from(buffer, byteOffset, length);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    accepted(await this.#ask({ method: 'PUT', path: kvValuePath(key), body: value }));
  }

  async remove(key: string): Promise<void> {
    const answer = await this.#ask({ method: 'DELETE', path: kvValuePath(key) });
    if (answer.status !== 404) accepted(answer);
  }

  async exists(keys: readonly string[]): Promise<readonly boolean[]> {
    const there: boolean[] = [];
    for (let from = 0; from < keys.length; from += kvKeysPerRequestMax) {
      const asked = keys.slice(from, from + kvKeysPerRequestMax);
      const { tiers } = parseKvExists(await this.#json('POST', kvDaemonPaths.exists, { keys: asked }));
      if (tiers.length !== asked.length) throw new Error('kvcached tells of other keys than were asked for');
      there.push(...tiers.map((tier) => tier !== null));
    }
    return there;
  }

  async keys(prefix: string, cursor = 0): Promise<KeysPage> {
    const query = new URLSearchParams({ prefix, cursor: String(cursor), count: String(keysPerPage) });
    const page = parseKvKeysPage(await this.#json('GET', `${kvDaemonPaths.keys}?${query}`));
    return { ...page, keys: page.keys.map(({ key }) => key) };
  }

  async namespace(fields: NamespaceFields): Promise<string> {
    return parseKvNamespace(await this.#json('PUT', kvDaemonPaths.namespaces, { fields }));
  }

  /** The lines of the fleet, both ways, until either side ends them. */
  async fleet(): Promise<Duplex> {
    const signal = AbortSignal.timeout(localMsMax);
    const { socket } = await this.#pool.upgrade({
      path: kvDaemonPaths.fleet,
      method: 'GET',
      protocol: kvFleetUpgrade,
      signal,
    });
    return socket;
  }

  async #json(method: 'GET' | 'PUT' | 'POST', path: string, asked?: object): Promise<Uint8Array> {
    const body = asked === undefined ? {} : { body: JSON.stringify(asked) };
    return accepted(await this.#ask({ method, path, ...body })).bytes;
  }

  async #ask({ method, path, body, msMax = localMsMax, signal }: Asked): Promise<Answered> {
    const deadline = AbortSignal.timeout(msMax);
    const answer = await this.#pool.request({
      ...{ method, path },
      ...(body === undefined ? {} : { body }),
      ...(typeof body === 'string' ? { headers: { 'content-type': 'application/json' } } : {}),
      signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
    });
    return { status: answer.statusCode, bytes: await readBounded(answer.body, answerBytesMax) };
  }
}

const accepted = (answer: Answered): Answered => {
  if (answer.status < 300) return answer;
  throw new Error(`kvcached answered ${answer.status}: ${kvErrorIn(answer.bytes)?.message ?? 'no reason'}`);
};
