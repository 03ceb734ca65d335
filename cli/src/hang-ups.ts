/**
 * Tells the edge which of its clients hung up, for as long as the edge runs: see `protocol/src/supervisor.ts`. A
 * connection that its client closed stands in the kernel's table in CLOSE_WAIT until workerd closes it, too. The table
 * is read only while a request waits on silence, and a fiftieth of one CPU's time goes into it. Where there
 * is no such table, nothing is told and workerd notices later.
 */
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  hangUpLookMs,
  hangUpPollMsMax,
  hangUpPollMsMin,
  hangUpsPerReportMax,
} from '@cognitora/protocol/limits';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { type HangUps, hangUpsPath, parseQuietClients, supervisorText } from '@cognitora/protocol/supervisor';
import { monotonicMs } from './clock.ts';

export interface HangUpOptions {
  readonly edgeUrl: string;
  /** Where the edge listens. */
  readonly host: string;
  readonly port: number;
  readonly fleetSecret: string;
}

/** Of the kernel's states of a connection: the other side closed, this one did not. */
const closeWait = '08';
/** Of one CPU's time, looking takes a fiftieth. */
const restPerLook = 49;

/** Bytes of an address as the kernel writes them: words of four, each in the order of a little-endian machine. */
const addressBytes = (hex: string): number[] => {
  const bytes: number[] = [];
  for (let word = 0; word < hex.length; word += 8) {
    for (let at = word + 6; at >= word; at -= 2) bytes.push(Number.parseInt(hex.slice(at, at + 2), 16));
  }
  return bytes;
};

/** As workerd writes a client's address. */
const clientOf = (address: string): string => {
  const [hex = '', port = ''] = address.split(':');
  const bytes = addressBytes(hex);
  const portText = String(Number.parseInt(port, 16));
  if (bytes.length === 4) return `${bytes.join('.')}:${portText}`;
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (mapped) return `[::ffff:${bytes.slice(12).join('.')}]:${portText}`;
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0)).toString(16),
  );
  // The URL parser abbreviates as the rules have it.
  return `${new URL(`http://[${groups.join(':')}]`).hostname}:${portText}`;
};

/** The clients of `port` that have closed their side, out of the text of /proc/net/tcp or tcp6. */
export const hungUpClients = (table: string, port: number): string[] => {
  const ours = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const found: string[] = [];
  for (const line of table.split('\n')) {
    // Most lines are of other connections, or of ones that are well.
    if (!line.includes(` ${closeWait} `)) continue;
    const [, local, remote, state] = line.trim().split(/\s+/);
    if (state === closeWait && remote !== undefined && local?.endsWith(ours)) found.push(clientOf(remote));
  }
  return found;
};

const readTable = (name: string): Promise<string> => readFile(`/proc/net/${name}`, 'latin1').catch(() => '');

const hungUpNow = async ({ host, port }: HangUpOptions): Promise<readonly string[]> => {
  // To walk a table costs milliseconds, however empty it is.
  const isIpv4 = /^[\d.]+$/.test(host);
  const tables = await Promise.all((isIpv4 ? ['tcp'] : ['tcp', 'tcp6']).map(readTable));
  return tables.flatMap((table) => hungUpClients(table, port)).slice(0, hangUpsPerReportMax);
};

/** Reports until it is stopped. Never throws: an edge that does not answer is asked again. */
export const reportHangUps = (options: HangUpOptions): { stop(): void } => {
  const stopped = new AbortController();
  const connection = new Agent({ keepAlive: true, maxSockets: 1 });
  const token = createHmac('sha256', options.fleetSecret).update(supervisorText).digest('base64url');
  const rest = (ms: number): Promise<void> => delay(ms, undefined, { signal: stopped.signal });
  /** Looks until somebody has hung up, or it is time to ask whether there is still reason to. */
  const look = async (): Promise<readonly string[]> => {
    for (const untilMs = monotonicMs() + hangUpLookMs; monotonicMs() < untilMs; ) {
      const before = process.cpuUsage();
      const hungUp = await hungUpNow(options);
      if (hungUp.length > 0) return hungUp;
      const { user, system } = process.cpuUsage(before);
      const dueMs = ((user + system) / 1000) * restPerLook;
      await rest(Math.min(Math.max(dueMs, hangUpPollMsMin), hangUpPollMsMax));
    }
    return [];
  };
  const report = (hangUps: HangUps): Promise<number> =>
    new Promise((accept) => {
      const body = JSON.stringify(hangUps);
      const headers = { authorization: `Bearer ${token}`, 'content-length': String(Buffer.byteLength(body)) };
      const outgoing = request(`${options.edgeUrl}${hangUpsPath}`, {
        method: 'POST',
        agent: connection,
        headers,
        signal: stopped.signal,
      });
      outgoing.on('error', () => accept(0));
      outgoing.on('response', (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (part: string) => {
          text += part;
        });
        incoming.on('error', () => accept(0));
        incoming.on('close', () => accept(quietIn(text)));
      });
      outgoing.end(body);
    });
  const run = async (): Promise<void> => {
    let hungUp: readonly string[] = [];
    while (!stopped.signal.aborted) {
      const quiet = await report({ hungUp });
      if (quiet === 0 || hungUp.length > 0) await rest(hangUpPollMsMin);
      hungUp = quiet === 0 ? [] : await look();
    }
  };
  run().catch(() => {});
  return {
    stop: () => {
      stopped.abort();
      connection.destroy();
    },
  };
};

const quietIn = (text: string): number => {
  try {
    return parseQuietClients(jsonRecordIn(text) ?? {}).quiet;
  } catch {
    return 0;
  }
};
