/**
 * What `cgn kvcached` is told, out of argv: parsed once, complained about in words that say what is possible. The
 * password comes from a file or the environment, never from argv.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { kvDaemonSocketName } from '@cognitora/protocol/kv-daemon';
import type { MirrorPlace } from './faces/directory/mirror.ts';
import { valueBytesMax } from './store.ts';

export interface DaemonOptions {
  readonly ramBytesMax: number;
  readonly ssd: { readonly directory: string; readonly bytesMax: number } | undefined;
  readonly resp: Address;
  readonly status: Address;
  readonly password: string | undefined;
  /** Where programs of this user ask; undefined without a data directory. */
  readonly socket: string | undefined;
  readonly namespacesPath: string | undefined;
  /** Directories that engines offload to. */
  readonly mirrors: readonly MirrorPlace[];
}

export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** Completes with what is possible. */
export class OptionError extends Error {}

export const help = `cgn kvcached: keeps KV blocks of this host's engines in memory and on its disk

Usage
  cgn kvcached --data-dir DIR [--ram 4GiB] [--disk 64GiB] [--listen 127.0.0.1:6379]

  --data-dir DIR     where the disk's segments lie; the same directory finds them again
  --ram SIZE         memory for values, at least 64MiB (default 1GiB)
  --disk SIZE        disk for values, at least 1GiB; 0 for none (default 16GiB)
  --listen ADDRESS   where Redis clients connect: HOST:PORT or a Unix socket's path (127.0.0.1:6379)
  --status ADDRESS   /metrics and /healthz over HTTP (default 127.0.0.1:6380)
  --socket PATH      where "cgn kv" and the agent ask (default kvcached.sock in the data directory)
  --password-file F  what clients must give (AUTH); or COGNITORA_KV_PASSWORD; needed beyond loopback

Engines store into it unpatched: LMCache with remote_url "redis://127.0.0.1:6379", or its multi-process
"resp" adapter. Values from 1 byte to 64 MiB; a full store evicts, and never grows beyond its sizes.
`;

const units: Readonly<Record<string, number>> = {
  '': 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const ramBytesMin = 64 * 2 ** 20;
const diskBytesMin = 2 ** 30;

const sizeOf = (option: string, text: string, bytesMin: number): number => {
  const [, digits = '', unit = ''] = /^(\d{1,12}(?:\.\d{1,3})?)\s?(KiB|MiB|GiB|TiB|)$/.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (units[unit] ?? Number.NaN));
  if (digits !== '' && Number.isSafeInteger(bytes) && bytes >= bytesMin) return bytes;
  const least = bytesMin >= 2 ** 30 ? `${bytesMin / 2 ** 30}GiB` : `${bytesMin / 2 ** 20}MiB`;
  throw new OptionError(`${option} must be a size such as 4GiB, at least ${least}; it is "${text}"`);
};

const addressOf = (option: string, text: string): Address => {
  if (text.includes('/')) return { path: text };
  const at = text.lastIndexOf(':');
  const host = text.slice(0, Math.max(0, at)).replace(/^\[|\]$/g, '');
  const port = /^\d{1,5}$/.test(text.slice(at + 1)) ? Number(text.slice(at + 1)) : Number.NaN;
  if ((isIP(host) !== 0 || host === 'localhost') && port <= 65_535) return { host, port };
  throw new OptionError(
    `${option} must be HOST:PORT with an IP address, or the path of a socket; it is "${text}"`,
  );
};

const isLocal = (address: Address): boolean =>
  'path' in address ||
  address.host === 'localhost' ||
  address.host.startsWith('127.') ||
  address.host === '::1';

const passwordOf = (file: string | undefined, environment: NodeJS.ProcessEnv): string | undefined => {
  const given = environment.COGNITORA_KV_PASSWORD;
  if (file === undefined) return given === '' ? undefined : given;
  try {
    const password = readFileSync(file, 'utf8').trim();
    if (password !== '') return password;
  } catch (thrown) {
    throw new OptionError(
      `the password file cannot be read: ${thrown instanceof Error ? thrown.message : ''}`,
    );
  }
  throw new OptionError(`the password file ${file} is empty`);
};

/** Undefined: help is asked for. Throws `OptionError`. */
export const parseOptions = (
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
): DaemonOptions | undefined => {
  const text = { type: 'string' } as const;
  const names = {
    'data-dir': text,
    ram: text,
    disk: text,
    listen: text,
    status: text,
    socket: text,
    'password-file': text,
  };
  const { values } = (() => {
    try {
      return parseArgs({ args: [...argv], options: { ...names, help: { type: 'boolean', short: 'h' } } });
    } catch (thrown) {
      throw new OptionError(thrown instanceof Error ? thrown.message : String(thrown));
    }
  })();
  if (values.help === true) return undefined;
  const bytesMax = values.disk === '0' ? 0 : sizeOf('--disk', values.disk ?? '16GiB', diskBytesMin);
  const directory = values['data-dir'];
  if (directory === undefined && bytesMax > 0) {
    throw new OptionError(
      '--data-dir is missing: name the directory for values on the disk, or say --disk 0',
    );
  }
  const resp = addressOf('--listen', values.listen ?? '127.0.0.1:6379');
  const status = addressOf('--status', values.status ?? '127.0.0.1:6380');
  const password = passwordOf(values['password-file'], environment);
  if (!isLocal(resp) && password === undefined) {
    throw new OptionError(
      '--listen beyond loopback needs --password-file: anyone there could read every prompt',
    );
  }
  if (!isLocal(status)) throw new OptionError('--status must be on loopback');
  const ssd =
    bytesMax === 0 || directory === undefined
      ? undefined
      : { directory: join(directory, 'segments'), bytesMax };
  return {
    ramBytesMax: Math.max(valueBytesMax, sizeOf('--ram', values.ram ?? '1GiB', ramBytesMin)),
    ssd,
    resp,
    status,
    password,
    socket: values.socket ?? (directory === undefined ? undefined : join(directory, kvDaemonSocketName)),
    namespacesPath: directory === undefined ? undefined : join(directory, 'namespaces.json'),
    mirrors: [],
  };
};
