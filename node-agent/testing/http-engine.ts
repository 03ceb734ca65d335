/** A real HTTP server on loopback that does what a test says. Only tests import it. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { onTestFinished } from 'vitest';
import { Engine, type EngineOptions } from '../src/engines/engine.ts';

/** Starts the server; it ends with the test, whatever is still open on it. */
export const serveHttp = async (listener: RequestListener, port = 0): Promise<URL> => {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
};

/** A port on which nobody listens. */
export const closedPort = async (): Promise<URL> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await new Promise((resolve) => server.close(resolve));
  return url;
};

/** An engine of the agent at that URL; it stops with the test. */
export const engineAt = (url: URL, more: Partial<EngineOptions> = {}): Engine => {
  const engine = new Engine({
    name: 'r0' as ReplicaName,
    url,
    apiKey: undefined,
    aliases: new Map(),
    log: () => {},
    onChange: () => {},
    ...more,
  });
  onTestFinished(() => engine.stop());
  return engine;
};

export const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

export const answerJson = (response: ServerResponse, value: unknown, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
};

/** A promise and what settles it. */
export const deferred = <Value = void>() => {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((accept) => {
    resolve = accept;
  });
  return { promise, resolve };
};
