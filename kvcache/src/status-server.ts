/**
 * `/healthz` and `/metrics` of the daemon, on loopback. Only tells; one request a connection, of bounded time, and deaf
 * to names that are not this host's.
 */
import { createServer, type Server } from 'node:http';
import type { Listen } from '@cognitora/protocol/config/kinds';
import { isOwnName } from '@cognitora/protocol/host-names';
import { metricsContentType } from '@cognitora/protocol/metrics-page';

const connectionsMax = 32;
const requestMsMax = 5_000;

/** Resolves when it listens. */
export const startStatusServer = async (listen: Listen, metrics: () => string): Promise<Server> => {
  const server = createServer(
    { requestTimeout: requestMsMax, headersTimeout: requestMsMax },
    (request, response) => {
      const path = request.url?.split('?')[0];
      if (!isOwnName(request.headers.host)) {
        response.writeHead(403).end('Ask for this host by its address.\n');
      } else if (path === '/metrics') response.setHeader('content-type', metricsContentType).end(metrics());
      else if (path === '/healthz') response.end('ok\n');
      else response.writeHead(404).end('There are /healthz and /metrics.\n');
    },
  );
  server.maxConnections = connectionsMax;
  server.maxRequestsPerSocket = 1;
  server.setTimeout(requestMsMax, (socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen, resolve);
  });
  return server;
};
