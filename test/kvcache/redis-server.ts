/** A real Redis server on a free port, which keeps nothing, for what must be answered as it answers. */
import { onTestFinished } from 'vitest';
import { redisCli, redisServer } from '../../bench/kv/redis-programs.ts';
import { startProgram, waitUntil } from '../../bench/systems/program.ts';
import { freePort } from '../../cli/src/free-port.ts';

/** Its port; with this password, where one is given. Ends with the test. */
export const startRedisServer = async (password?: string): Promise<number> => {
  const port = await freePort();
  const [program, ...args] = redisServer(port);
  const more = password === undefined ? [] : ['--requirepass', password];
  const running = startProgram(program, [...args, ...more], {});
  onTestFinished(() => running.stop());
  const isThere = async () => /^(PONG|NOAUTH .*)$/.test(await redisCli(port, 'PING'));
  await waitUntil('redis-server to serve', 10_000, isThere);
  return port;
};
