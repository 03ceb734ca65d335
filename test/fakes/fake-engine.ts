/**
 * What all fake engines share: an HTTP server on loopback that keeps each request as it came (bytes and headers) and
 * answers it, either by the engine's own rules or by what a test wrote for that request's id. Fakes are written from
 * the engines' documented bytes and import nothing of the product, so that they can disagree with it.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** One request as the engine got it. */
export interface Received {
  readonly method: string;
  readonly path: string;
  /** From its `?` on; '' where there is none. */
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they stood on the wire. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

export interface Exchange {
  readonly received: Received;
  readonly response: ServerResponse;
  /** Resolves when the connection is gone before the answer was whole. */
  readonly hungUp: Promise<void>;
}

export type Answer = (exchange: Exchange) => void | Promise<void>;

export class FakeEngine implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly #answer: Answer;
  readonly #scripts = new Map<string, Answer>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((incoming, response) => {
    this.#serve(incoming, response).catch((thrown: unknown) => response.destroy(thrown as Error));
  });
  #port: number;

  /** At a free port, if none is named. */
  constructor(answer: Answer, port = 0) {
    this.#answer = answer;
    this.#port = port;
    // An agent's pool must be the one that closes idle connections.
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listens on a free port, or on the one it had before it went down. */
  async start(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The request with this `x-request-id` is answered like this, whatever it asks. */
  script(requestId: string, answer: Answer): void {
    this.#scripts.set(requestId, answer);
  }

  /** The one request that came with this `x-request-id`. */
  byId(requestId: string): Received {
    const found = this.received.filter(({ headers }) => headers['x-request-id'] === requestId);
    const [only] = found;
    if (only === undefined || found.length > 1) {
      throw new Error(`the engine got ${found.length} requests with the id ${requestId}, not one`);
    }
    return only;
  }

  /** How many requests of this kind came with an `x-request-id`: an agent's own probes have none. */
  servedOn(path: string): number {
    return this.received.filter((one) => one.path === path && one.headers['x-request-id'] !== undefined)
      .length;
  }

  /** As a crash: every connection is reset and nobody listens any more. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
    const [path = ''] = (incoming.url ?? '').split('?', 1);
    const received: Received = {
      method: incoming.method ?? '',
      path,
      query: (incoming.url ?? '').slice(path.length),
      headers: incoming.headers,
      rawHeaders: incoming.rawHeaders,
      body: Buffer.concat(parts),
    };
    this.received.push(received);
    const script = this.#scripts.get(String(incoming.headers['x-request-id']));
    const hungUp = new Promise<void>((resolve) => {
      response.once('close', () => {
        if (!response.writableFinished) resolve();
      });
    });
    await (script ?? this.#answer)({ received, response, hungUp });
  }
}

/** A request's body as JSON; undefined when it is none. */
export const parseBody = (body: Buffer): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
};

export const sendJson = (response: ServerResponse, status: number, json: string): void => {
  const bytes = Buffer.from(json, 'utf8');
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': String(bytes.length) });
  response.end(bytes);
};

export const sseHeaders = { 'content-type': 'text/event-stream; charset=utf-8' } as const;

/** Events as their JSON, each written by itself, then `[DONE]`. */
export const sendEvents = (response: ServerResponse, events: readonly string[]): void => {
  response.writeHead(200, sseHeaders);
  for (const event of events) response.write(`data: ${event}\n\n`);
  response.end('data: [DONE]\n\n');
};
