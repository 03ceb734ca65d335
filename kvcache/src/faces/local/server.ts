/**
 * The daemon's socket for programs of this user: `cgn kv`, the agent, and whoever maps the memory. HTTP/1.1 over a Unix
 * socket of mode 0600, which is its only lock. Bounded in connections, in requests ahead of their answers, in bytes and
 * in time. Routes are `routes.ts`'s.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { kvDaemonPaths, kvFleetUpgrade } from '@cognitora/protocol/kv-daemon';
import { KeyWalks } from '../../key-walks.ts';
import { Call } from './call.ts';
import { LocalError, localErrorOf } from './error.ts';
import { FleetLines } from './fleet-lines.ts';
import { Leases } from './leases.ts';
import { type RouteContext, route } from './routes.ts';
import { listenOnSocketFile } from './socket-file.ts';

/** Of programs of one user on one host. */
const connectionsMax = 256;
/** Sent ahead on one connection: each answer may hold a value. */
const aheadMax = 8;
/** Keys of 2,048 bytes, each an escape of three. */
const headerBytesMax = 16 * 1024;
const headersMsMax = 10_000;
/** 64 MiB within it are a megabyte a second. */
const requestMsMax = 60_000;
/** Without a byte, in the midst of a request or an answer; above the time that a fetch may take. */
const stalledMsMax = 30_000;
const idleMsMax = 60_000;
const lookMs = 5_000;

export interface LocalServerOptions extends Omit<RouteContext, 'leases' | 'walks'> {
  readonly path: string;
  readonly onError: (thrown: unknown) => void;
}

export interface LocalServer {
  readonly leases: number;
  close(): Promise<void>;
}

const refuse = (socket: Duplex, error: LocalError): void => {
  const body = JSON.stringify({ error: { code: error.code, message: error.message } });
  socket.end(
    'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
};

const bound = (server: Server, leases: Leases<object>): void => {
  const ahead = new WeakMap<object, number>();
  server.maxConnections = connectionsMax;
  server.timeout = stalledMsMax;
  server.keepAliveTimeout = idleMsMax;
  server.on('timeout', (socket) => {
    // Who holds places may rest between two requests; who stops in the midst of one may not.
    if (!leases.isHolding(socket) || (ahead.get(socket) ?? 0) > 0) socket.destroy();
  });
  server.on('connection', (socket) => socket.once('close', () => leases.ended(socket)));
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const count = (ahead.get(socket) ?? 0) + 1;
    ahead.set(socket, count);
    response.once('close', () => ahead.set(socket, (ahead.get(socket) ?? 1) - 1));
    if (count > aheadMax) socket.destroy();
  });
};

/** Resolves when it listens. Throws `SocketTaken`, or what the system says. */
export const startLocalServer = async ({
  path,
  onError,
  ...options
}: LocalServerOptions): Promise<LocalServer> => {
  const leases = new Leases<object>(options.store.ram.counts.bytesMax);
  const context: RouteContext = { ...options, leases, walks: new KeyWalks(options.store) };
  const fleet = options.peers === undefined ? undefined : new FleetLines(options.peers, onError);
  const server = createServer({
    maxHeaderSize: headerBytesMax,
    headersTimeout: headersMsMax,
    requestTimeout: requestMsMax,
    connectionsCheckingInterval: lookMs,
  });
  bound(server, leases);
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.socket.destroyed) return;
    const call = new Call(request, response);
    const failed = (thrown: unknown): void => {
      const error = localErrorOf(thrown);
      if (error.code === 'failed') onError(thrown);
      call.error(error);
    };
    void (async () => route(call, context, request.socket))().catch(failed);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const isAsked = request.headers.upgrade === kvFleetUpgrade && request.url === kvDaemonPaths.fleet;
    if (!isAsked) refuse(socket, new LocalError('unavailable', `Only ${kvDaemonPaths.fleet} is upgraded.`));
    else if (fleet === undefined)
      refuse(socket, new LocalError('unavailable', 'This kvcached has no peers.'));
    else {
      request.socket.setTimeout(0);
      fleet.accept(socket, head);
    }
  });
  await listenOnSocketFile(server, path);
  server.on('error', onError);
  return {
    get leases() {
      return leases.count;
    },
    close: () =>
      new Promise((resolve) => {
        fleet?.close();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
