/** 1 MiB from the daemon to a program of the same host: over Redis' protocol, and by the place in mapped memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { startProgram, waitUntil } from '../systems/program.ts';
import { openRedisClient, type RedisClient } from './redis-client.ts';
import { mebibyte, type RowResult } from './row.ts';

const daemonPath = join(import.meta.dirname, '../../kvcache/src/main.ts');
const startMsMax = 10_000;
const keys = 64;
const asks = 1_500;

/** Milliseconds of each answer. */
const timesOf = async (ask: (key: string) => Promise<void>): Promise<number[]> => {
  const times: number[] = [];
  for (let turn = -keys; turn < asks; turn += 1) {
    const beganMs = performance.now();
    await ask(`value:${Math.abs(turn) % keys}`);
    if (turn >= 0) times.push(performance.now() - beganMs);
  }
  return times;
};

const overRedis = async (client: RedisClient): Promise<number[]> => {
  for (let index = 0; index < keys; index += 1)
    await client.set(`value:${index}`, Buffer.alloc(mebibyte, index));
  return timesOf((key) => client.get(key, mebibyte));
};

export const localRow = async (): Promise<RowResult> => {
  const directory = mkdtempSync(join(tmpdir(), 'bench-kv-local-'));
  const socket = join(directory, 'redis.sock');
  const options = ['--disk', '0', '--ram', '256MiB', '--listen', socket, '--status', '127.0.0.1:0'];
  const daemon = startProgram(process.execPath, [daemonPath, ...options], {});
  try {
    await waitUntil(`kvcached (${daemon.tail()})`, startMsMax, async () =>
      daemon.tail().includes('"serving"'),
    );
    const client = await openRedisClient({ path: socket });
    const redisMs = await overRedis(client);
    client.close();
    const redis = summarize(redisMs);
    return {
      figures: { localRedisGetMs: redis },
      goals: {},
      raw: { localRedisGetMs: redisMs.map(rounded) },
      text: table(
        ['1 MiB to a local client, ms', 'p50', 'p90', 'p99'],
        [['Redis GET, Unix socket', redis.p50, redis.p90, redis.p99]],
      ),
    };
  } finally {
    await daemon.stop();
    rmSync(directory, { recursive: true, force: true });
  }
};
