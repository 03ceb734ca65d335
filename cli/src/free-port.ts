/**
 * A TCP port of 127.0.0.1 that nobody listens on now. Another process may take it before it is used, but only one that
 * asks for this very port: it is none of those that systems give to whoever takes any.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Linux gives ports from 32,768 on to whoever takes any, macOS from 49,152 on. */
const portMin = 16_384;
const portMax = 32_767;
/** With half of them taken the chance to find none is one in 2^64. */
const triesMax = 64;

const isFree = (port: number): Promise<boolean> =>
  new Promise((accept) => {
    const server = createServer();
    server.once('error', () => accept(false));
    server.listen(port, '127.0.0.1', () => server.close(() => accept(true)));
  });

export const freePort = async (): Promise<number> => {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const port = randomInt(portMin, portMax + 1);
    if (await isFree(port)) return port;
  }
  throw new Error(`No port of 127.0.0.1 from ${portMin} to ${portMax} is free.`);
};
