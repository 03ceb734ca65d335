/**
 * This host's kvcached, asked over its Unix socket: where it is, one request at a time, each bounded in time and bytes,
 * and what a person can do where it does not answer.
 */
import { statSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '@cognitora/protocol/errors';
import { kvDaemonSocketName } from '@cognitora/protocol/kv-daemon';
import { kvErrorIn } from '@cognitora/protocol/kv-daemon-bodies';
import { UserError } from './terminal.ts';

/** A probe of all peers may take as long as a fetch may. */
const answerMsMax = 30_000;
/** Of one value at most, and far above a page of keys. */
const answerBytesMax = 65 * 2 ** 20;

/** Where one lives unless it is told otherwise, and where the service of docs/cognitora-kvcached.service does. */
export const usualKvDirectories = (): readonly string[] => [
  join(homedir(), '.cognitora', 'kvcached'),
  '/var/lib/cognitora/kvcached',
];

export interface KvPlaceOptions {
  readonly socket?: string | undefined;
  readonly 'data-dir'?: string | undefined;
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';

/** There, as far as this user can see. */
const mayBeThere = (path: string): boolean => {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
};

/** The socket that is named, else that of the data directory that is, else the first usual one that is there. */
export const kvSocketOf = (options: KvPlaceOptions, environment: NodeJS.ProcessEnv): string => {
  const named =
    options.socket ?? (options['data-dir'] === undefined ? environment.COGNITORA_KV_SOCKET : undefined);
  if (named) return named;
  const directory = options['data-dir'] ?? (environment.COGNITORA_KV_DATA_DIR || undefined);
  if (directory !== undefined) return join(directory, kvDaemonSocketName);
  const usual = usualKvDirectories().map((each) => join(each, kvDaemonSocketName));
  const found = usual.find(mayBeThere);
  if (found !== undefined) return found;
  throw new UserError(
    `No kvcached runs on this host: there is no socket at ${usual.join(' or ')}. Start one with ` +
      '"cgn kvcached", or name its --data-dir or --socket.',
  );
};

export interface KvAnswer {
  readonly status: number;
  readonly tier: string | undefined;
  readonly body: Buffer;
}

export interface KvAsked {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: Buffer | object;
}

/** What is wrong with reaching it, with the fix. */
const unreached = (socket: string, thrown: unknown): UserError => {
  switch (codeOf(thrown)) {
    case 'ENOENT':
      return new UserError(
        `No kvcached runs there: there is no socket ${socket}. Start one with "cgn kvcached", or name ` +
          'its --data-dir or --socket.',
      );
    case 'ECONNREFUSED':
      return new UserError(`Nobody answers on ${socket}: kvcached has ended; start it: cgn kvcached.`);
    case 'EACCES':
    case 'EPERM':
      return new UserError(
        `${socket} may not be opened: ask as the user who runs kvcached, or as root: ` +
          'sudo env PATH=$PATH cgn kv ...',
      );
    default:
      return new UserError(
        `kvcached does not answer on ${socket}: ${thrown instanceof Error ? thrown.message : thrown}.`,
      );
  }
};

/** One connection, which holds what it leases. */
export class KvClient {
  readonly socket: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(socket: string) {
    this.socket = socket;
  }

  /** Whatever it answers. Throws `UserError` where nobody does. */
  ask({ method = 'GET', path, body }: KvAsked): Promise<KvAnswer> {
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    return new Promise((accept, reject) => {
      const failed = (thrown: unknown): void => reject(unreached(this.socket, thrown));
      const headers = bytes === undefined ? {} : { 'content-length': bytes.length };
      const options = { socketPath: this.socket, agent: this.#agent, method, path, headers };
      const sent = request({ ...options, timeout: answerMsMax }, (response) => {
        const pieces: Buffer[] = [];
        let length = 0;
        response.on('data', (piece: Buffer) => {
          length += piece.length;
          if (length > answerBytesMax) response.destroy(new Error('its answer is too long'));
          else pieces.push(piece);
        });
        response.once('error', failed);
        response.once('end', () => {
          const tier = response.headers['x-tier']?.toString();
          accept({ status: response.statusCode ?? 0, tier, body: Buffer.concat(pieces) });
        });
      });
      sent.once('timeout', () => sent.destroy(new Error(`it is silent for ${answerMsMax / 1_000} s`)));
      sent.once('error', failed);
      sent.end(bytes);
    });
  }

  /** What it answers, read; its own words where it says no. */
  async read<Value>(asked: KvAsked, parse: (body: Uint8Array) => Value): Promise<Value> {
    const answer = await this.ask(asked);
    if (answer.status !== 200) throw refusal(answer);
    return this.parsed(answer, parse);
  }

  parsed<Value>({ body }: KvAnswer, parse: (body: Uint8Array) => Value): Value {
    try {
      return parse(body);
    } catch (thrown) {
      const why = messageOf(thrown);
      throw new UserError(`What answers on ${this.socket} is no kvcached of this version: ${why}`);
    }
  }
}

/** What it said no with, as it says it. */
export const refusal = ({ status, body }: KvAnswer): UserError =>
  new UserError(kvErrorIn(body)?.message ?? `kvcached answered ${status} without a word.`);
