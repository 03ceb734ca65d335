/**
 * Free ports of loopback for the engines of this host: found by listening for a moment, and given to one engine only.
 * Another program may take one before the engine does; then the engine ends, and finds others.
 */
import { createServer, type Server } from 'node:net';
import { portTriesMax } from './limits.ts';

const host = '127.0.0.1';

/** Undefined: somebody listens there. Port 0 lets the operating system choose. */
const listening = (port: number): Promise<Server | undefined> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => resolve(server));
  });

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};

const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

/** The first of `count` free ports in a row, from `from` on or where the system likes; undefined: one was taken. */
const freeRow = async (count: number, from = 0): Promise<number | undefined> => {
  const servers: Server[] = [];
  let first: number | undefined = from;
  while (servers.length < count && first !== undefined) {
    const next: number = first === 0 ? 0 : first + servers.length;
    const server: Server | undefined = next > 65_535 ? undefined : await listening(next);
    if (server === undefined) first = undefined;
    else {
      servers.push(server);
      if (first === 0) first = portOf(server);
    }
  }
  await Promise.all(servers.map(close));
  return first;
};

export class PortAllocator {
  readonly #given = new Set<number>();

  /** The first of `count` ports in a row; those that it had `before`, unless somebody has taken them meanwhile. */
  async row(count: number, before?: number): Promise<number> {
    if (before !== undefined) {
      if ((await freeRow(count, before)) !== undefined) return before;
      for (let at = 0; at < count; at += 1) this.#given.delete(before + at);
    }
    for (let tries = 0; tries < portTriesMax; tries += 1) {
      const first = await freeRow(count);
      if (first === undefined) continue;
      const ports = Array.from({ length: count }, (_, at) => first + at);
      if (ports.some((port) => this.#given.has(port))) continue;
      for (const port of ports) this.#given.add(port);
      return first;
    }
    throw new Error(`No ${count} free ports in a row were found on ${host}.`);
  }
}
