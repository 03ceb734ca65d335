/** For tests: TCP ports of 127.0.0.1 that nobody listens on now, for sockets that can't tell which one they took. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** Two different ones: both are held until both are known. */
export async function freePorts(): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()] as const;
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  const [first, second] = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) {
    server.close();
    await once(server, 'close');
  }
  return [first ?? 0, second ?? 0];
}
