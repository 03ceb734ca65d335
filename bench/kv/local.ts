/** 1 MiB from the daemon to a program of the same host: over Redis' protocol, over HTTP, and by its place in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { startProgram, waitUntil } from '../systems/program.ts';
import { openPlaceClient } from './place-client.ts';
import { openRedisClient } from './redis-client.ts';
import { mebibyte, type RowResult } from './row.ts';

const daemonPath = join(import.meta.dirname, '../../kvcache/src/main.ts');
const startMsMax = 10_000;
const ramMebibytes = 256;
const keys = 64;
const asks = 1_000;

const keyOf = (turn: number): string => `value:${turn % keys}`;

/** Milliseconds of each answer. */
const timesOf = async (ask: (turn: number) => Promise<void>): Promise<number[]> => {
  const times: number[] = [];
  for (let turn = 0; turn < asks + keys; turn += 1) {
    const beganMs = performance.now();
    await ask(turn);
    // Each key once unseen.
    if (turn >= keys) times.push(performance.now() - beganMs);
  }
  return times;
};

const redisTimes = async (path: string): Promise<number[]> => {
  const client = await openRedisClient({ path });
  for (let index = 0; index < keys; index += 1) {
    await client.set(keyOf(index), Buffer.alloc(mebibyte, index));
  }
  const times = await timesOf((turn) => client.get(keyOf(turn), mebibyte));
  client.close();
  return times;
};

const socketTimes = async (path: string) => {
  const client = openPlaceClient(path, ramMebibytes * mebibyte);
  const name = (turn: number): string => `bench:${keyOf(turn)}`;
  for (let index = 0; index < keys; index += 1) await client.put(name(index), Buffer.alloc(mebibyte, index));
  const into = Buffer.alloc(mebibyte);
  const isWhole = (turn: number, value: Buffer): void => {
    if (value.length !== mebibyte || value[mebibyte - 1] !== turn % keys) throw new Error('another value');
  };
  const http = await timesOf((turn) => client.get(name(turn), mebibyte));
  const httpPieces = await timesOf((turn) => client.getPieces(name(turn), mebibyte));
  const copied = await timesOf((turn) =>
    client.see(name(turn), (value) => {
      value.copy(into);
      isWhole(turn, into);
    }),
  );
  const seen = await timesOf((turn) => client.see(name(turn), (value) => isWhole(turn, value)));
  client.close();
  return { http, httpPieces, copied, seen };
};

export const localRow = async (): Promise<RowResult> => {
  const directory = mkdtempSync(join(tmpdir(), 'bench-kv-local-'));
  const [redis, socket] = [join(directory, 'redis.sock'), join(directory, 'kvcached.sock')];
  const sizes = ['--disk', '0', '--ram', `${ramMebibytes}MiB`];
  const faces = ['--listen', redis, '--status', '127.0.0.1:0', '--socket', socket];
  const daemon = startProgram(process.execPath, [daemonPath, ...sizes, ...faces], {});
  try {
    await waitUntil('kvcached to serve', startMsMax, async () => daemon.tail().includes('"serving"'));
    const redisGet = await redisTimes(redis);
    const { http, httpPieces, copied, seen } = await socketTimes(socket);
    const rows = { redisGet, http, httpPieces, placeCopied: copied, place: seen };
    const summaries = Object.entries(rows).map(([name, ms]) => [name, summarize(ms)] as const);
    const names: Readonly<Record<string, string>> = {
      redisGet: 'Redis GET, Unix socket',
      http: 'GET of the daemon, Unix socket',
      httpPieces: 'the same, read by node:http',
      placeCopied: 'its place, and a copy out of mapped memory',
      place: 'its place, read where it lies',
    };
    return {
      figures: { localMs: Object.fromEntries(summaries) },
      goals: {},
      raw: Object.fromEntries(Object.entries(rows).map(([name, ms]) => [name, ms.map(rounded)])),
      text: table(
        ['1 MiB to a local client, ms', 'p50', 'p90', 'p99', 'max'],
        summaries.map(([name, { p50, p90, p99, max }]) => [names[name], p50, p90, p99, max]),
      ),
    };
  } catch (thrown) {
    throw new Error(`the daemon said: ${daemon.tail()}`, { cause: thrown });
  } finally {
    await daemon.stop();
    rmSync(directory, { recursive: true, force: true });
  }
};
