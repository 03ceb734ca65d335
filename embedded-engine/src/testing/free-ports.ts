/**
 * For tests: TCP ports of 127.0.0.1 that nobody listens on now, for sockets that can't tell which one they took. Below
 * the ports that Linux gives to outgoing connections (32,768 and up): any program's connection may take one of those
 * meanwhile, even that of a subscriber which dials before the engine binds.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

const portMin = 20_000;
const portMax = 32_000;
const triesMax = 50;

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
};

/** Two different ones. */
export async function freePorts(): Promise<readonly [number, number]> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const first = randomInt(portMin, portMax);
    if ((await isFree(first)) && (await isFree(first + 1))) return [first, first + 1];
  }
  throw new Error(`no two free ports between ${portMin} and ${portMax}`);
}
