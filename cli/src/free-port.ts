/**
 * A TCP port of 127.0.0.1 that nobody listens on now. Another process may take it before it is used: rare,
 * and loud.
 */
import { createServer } from 'node:net';

export const freePort = (): Promise<number> =>
  new Promise((accept, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => accept(port));
    });
  });
