/**
 * The agent's own HTTP server, for this host: `/healthz`, `/metrics`, `/status`. Only tells; nothing can be changed
 * through it. Bounded in connections and time, and deaf to names that are not this host's (a page in a browser may have
 * its own name resolve to loopback).
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type StatusAnswer, statusPaths } from '@cognitora/protocol/agent-status';
import type { Listen } from '@cognitora/protocol/config/kinds';
import { isOwnName } from '@cognitora/protocol/host-names';
import { metricsContentType } from '@cognitora/protocol/metrics-page';
import { healthOf } from './health.ts';
import { metricsText } from './metrics.ts';

/** A scraper, a load balancer and some people. */
const connectionsMax = 32;
/** A request here is one line, and its answer a page: a connection that is silent for longer is nobody's. */
const requestMsMax = 5_000;
/** Of one connection with all that it does: one that trickles, or reads slowly, gives its place up. */
export const connectionMsMax = 10_000;
const headerBytesMax = 8 * 1024;

export interface StatusServer {
  readonly url: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const words = (status: number, text: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  text: `${text}\n`,
});

const answers: Readonly<Record<string, (status: StatusAnswer) => Answer>> = {
  [statusPaths.health]: (status) => {
    const { isHealthy, says } = healthOf(status);
    return words(isHealthy ? 200 : 503, says);
  },
  [statusPaths.metrics]: (status) => ({ status: 200, type: metricsContentType, text: metricsText(status) }),
  [statusPaths.status]: (status) => ({
    status: 200,
    type: 'application/json',
    text: `${JSON.stringify(status)}\n`,
  }),
};

const answerTo = ({ method, url = '', headers }: IncomingMessage, status: () => StatusAnswer): Answer => {
  const answer = answers[url.split('?')[0] ?? ''];
  if (!isOwnName(headers.host)) return words(403, 'Ask for this host by its address.');
  if (answer === undefined) return words(404, `There are ${Object.values(statusPaths).join(', ')}.`);
  if (method !== 'GET' && method !== 'HEAD') return words(405, 'Only GET.');
  return answer(status());
};

const listening = (server: Server, { host, port }: Listen): Promise<AddressInfo> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve(server.address() as AddressInfo);
    });
  });

/** Rejects when the port is taken. */
export const serveStatus = async (listen: Listen, status: () => StatusAnswer): Promise<StatusServer> => {
  const server = createServer(
    { requestTimeout: requestMsMax, headersTimeout: requestMsMax, maxHeaderSize: headerBytesMax },
    (request: IncomingMessage, response: ServerResponse) => {
      const { status: code, type, text } = answerTo(request, status);
      // Whoever asks again dials again, so that no place is held between two questions.
      const headers = { 'content-type': type, 'cache-control': 'no-store', connection: 'close' };
      response.writeHead(code, headers);
      response.end(request.method === 'HEAD' ? undefined : text);
      request.resume();
    },
  );
  server.maxConnections = connectionsMax;
  server.timeout = requestMsMax;
  server.on('connection', (socket) => {
    const over = setTimeout(() => socket.destroy(), connectionMsMax);
    socket.once('close', () => clearTimeout(over));
  });
  const { address, family, port } = await listening(server, listen);
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
