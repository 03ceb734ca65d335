/**
 * The HTTP server: a table of routes, one place where failures become answers, and an orderly end. The port
 * opens before the model is there; until then every route says 503.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as limits from '../limits.ts';
import { type Log, messageOf } from '../log.ts';
import {
  Aborted,
  ApiError,
  loading,
  methodNotAllowed,
  notFound,
  stopping,
  toApiError,
} from '../openai/errors.ts';
import { chatCompletions } from './chat.ts';
import { completions } from './completions.ts';
import { embeddings } from './embeddings.ts';
import type { Engine } from './engine.ts';
import { type Exchange, openExchange, sendError } from './exchange.ts';
import * as native from './native.ts';
import * as slots from './slots.ts';

type Handler = (engine: Engine, exchange: Exchange) => Promise<void> | void;

const routes: Readonly<Record<string, Route>> = {
  '/v1/chat/completions': ['POST', chatCompletions],
  '/v1/completions': ['POST', completions],
  '/v1/embeddings': ['POST', embeddings],
  '/v1/models': ['GET', native.models],
  '/health': ['GET', native.health],
  '/metrics': ['GET', native.metrics],
  '/tokenize': ['POST', native.tokenize],
  '/detokenize': ['POST', native.detokenize],
  '/apply-template': ['POST', native.applyTemplate],
  '/props': ['GET', slots.properties],
  '/slots': ['GET', slots.list],
};

type Route = readonly [method: string, handler: Handler];

function routeOf(path: string): Route | undefined {
  if (Object.hasOwn(routes, path)) return routes[path];
  return slots.slotPath.test(path) ? ['POST', slots.act] : undefined;
}

export interface EngineServer {
  readonly url: string;
  /** From now on requests are served. */
  serve(engine: Engine): void;
  /**
   * Takes no more requests, aborts the running ones, and resolves when they are gone or the grace is over.
   */
  stop(): Promise<void>;
}

/** Opens the port; rejects when it is taken. */
export async function openServer(address: { host: string; port: number }, log: Log): Promise<EngineServer> {
  const stop = new AbortController();
  const running = new Set<Promise<void>>();
  let engine: Engine | undefined;
  const server = createServer((request, response) => {
    const done = answer(engine, stop.signal, log, request, response)
      .catch((error: unknown) => log({ event: 'error', message: `answering failed: ${messageOf(error)}` }))
      .finally(() => running.delete(done));
    running.add(done);
  });
  server.headersTimeout = limits.headersTimeoutMs;
  server.requestTimeout = limits.requestTimeoutMs;
  server.keepAliveTimeout = limits.keepAliveTimeoutMs;
  await listen(server, address);
  const { address: host, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${host}]` : host}:${port}`,
    serve: (ready) => {
      engine = ready;
    },
    stop: async () => {
      server.close();
      stop.abort();
      const grace = new Promise<void>((resolve) => setTimeout(resolve, limits.shutdownGraceMs).unref());
      await Promise.race([Promise.allSettled(running), grace]);
      server.closeAllConnections();
    },
  };
}

function listen(server: Server, address: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void => {
      const where = `${address.host}:${address.port}`;
      reject(new Error(`Can't listen on ${where} (${error.message}). --port 0 takes a free port.`));
    };
    server.once('error', refuse);
    server.listen(address.port, address.host, () => {
      server.off('error', refuse);
      resolve();
    });
  });
}

async function answer(
  engine: Engine | undefined,
  stop: AbortSignal,
  log: Log,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const exchange = openExchange(request, response, stop);
  try {
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    const route = routeOf(path);
    if (!route) throw notFound(path);
    const [method, handler] = route;
    if (request.method !== method) throw methodNotAllowed(method);
    if (!engine) throw loading();
    if (stop.aborted) throw stopping();
    await handler(engine, exchange);
  } catch (error) {
    fail(error, engine, exchange, stop, log);
  } finally {
    // What was not read of a refused body must not stay in the connection.
    request.resume();
  }
}

function fail(
  error: unknown,
  engine: Engine | undefined,
  exchange: Exchange,
  stop: AbortSignal,
  log: Log,
): void {
  if (error instanceof Aborted || exchange.signal.aborted) {
    if (engine) engine.counters.abortedRequests += 1;
    if (stop.aborted) sendError(exchange, stopping());
    else exchange.response.destroy();
    return;
  }
  if (!(error instanceof ApiError)) {
    if (engine) engine.counters.failedRequests += 1;
    // The message of a library, not of a client: it holds no prompt.
    log({ event: 'error', message: `a request failed: ${messageOf(error)}` });
  }
  sendError(exchange, toApiError(error));
}
