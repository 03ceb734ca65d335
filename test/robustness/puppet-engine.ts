/**
 * An engine that misbehaves to order: a request's own body says how it is answered (`puppet`), and each request's
 * beginning and end are on record, so that a test can ask when an abort arrived. Keeps no bodies: it is flooded.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { pause } from '../harness/until.ts';

export const puppetModel = 'puppet';

export interface Strings {
  /** `drip`: events on a beat. `flood`: as fast as they are taken. `mute`: no headers, ever. Absent: a short answer. */
  readonly act?: 'drip' | 'flood' | 'mute';
  readonly events?: number;
  readonly eventBytes?: number;
  readonly everyMs?: number;
  /** Before the headers. */
  readonly delayMs?: number;
  /** Sent with the answer. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
}

export interface Performance {
  readonly begunMs: number;
  /** Undefined while it goes on. */
  endedMs: number | undefined;
  /** The whole answer was taken. */
  isWhole: boolean;
  sentBytes: number;
  /** Reads and drops the request's body, where it was left unread. */
  readonly readOn: () => void;
}

/** A request whose id starts with this keeps its body: the engine does not read it until it is told to. */
export const unreadPrefix = 'unread.';

const eventOf = (index: number, bytes: number): string => {
  const wrapped = (content: string): string =>
    `data: {"id":"p","choices":[{"index":0,"delta":{"content":"${content}"}}]}\n\n`;
  const padding = Math.max(0, bytes - wrapped(`${index} `).length);
  return wrapped(`${index} ${'x'.repeat(padding)}`);
};

export class PuppetEngine {
  /** By `x-request-id`; requests that came without one are left out. */
  readonly performances = new Map<string, Performance>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((incoming, response) => {
    this.#serve(incoming, response).catch(() => response.destroy());
  });
  #port: number;

  /** On a free port unless one is named. */
  constructor(port = 0) {
    this.#port = port;
    // Told to the agent, whose pool then closes idle connections a second before the engine would.
    this.#server.keepAliveTimeout = 3_000;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((accept) => this.#server.listen(this.#port, '127.0.0.1', accept));
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Connections that are open, idle ones included. */
  get sockets(): number {
    return this.#sockets.size;
  }

  get live(): number {
    return [...this.performances.values()].filter(({ endedMs }) => endedMs === undefined).length;
  }

  /** Of the request with this id, once it is here. */
  of(id: string): Performance | undefined {
    return this.performances.get(id);
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((accept) => this.#server.close(() => accept()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = String(incoming.headers['x-request-id'] ?? '');
    const record: Performance = {
      begunMs: performance.now(),
      endedMs: undefined,
      isWhole: false,
      sentBytes: 0,
      readOn: () => incoming.resume(),
    };
    if (id !== '') this.performances.set(id, record);
    response.once('close', () => {
      record.endedMs = performance.now();
      record.isWhole = response.writableFinished;
    });
    if (incoming.method === 'GET') {
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ object: 'list', data: [{ id: puppetModel, object: 'model', created: 1 }] }),
      );
      return;
    }
    if (id.startsWith(unreadPrefix)) return;
    const body = await readBody(incoming);
    const { puppet = {}, stream } = JSON.parse(body) as { puppet?: Strings; stream?: boolean };
    await play(puppet, stream === true, response, record);
  }
}

const readBody = async (incoming: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
};

const play = async (
  strings: Strings,
  isStream: boolean,
  response: ServerResponse,
  record: Performance,
): Promise<void> => {
  if (strings.act === 'mute') return;
  if (strings.delayMs !== undefined) await pause(strings.delayMs);
  response.statusCode = strings.status ?? 200;
  for (const [name, value] of Object.entries(strings.headers ?? {})) response.setHeader(name, value);
  if (!isStream) {
    response.setHeader('content-type', 'application/json');
    response.end('{"id":"p","choices":[{"index":0,"message":{"role":"assistant","content":"ok"}}]}');
    return;
  }
  response.setHeader('content-type', 'text/event-stream');
  for (let index = 0; index < (strings.events ?? 3) && !response.destroyed; index += 1) {
    const event = eventOf(index, strings.eventBytes ?? 0);
    record.sentBytes += event.length;
    const hasRoom = response.write(event);
    if (strings.act === 'drip') await pause(strings.everyMs ?? 20);
    else if (!hasRoom) await untilDrained(response);
  }
  response.end('data: [DONE]\n\n');
};

const untilDrained = (response: ServerResponse): Promise<void> =>
  new Promise((accept) => {
    const over = (): void => {
      response.off('drain', over).off('close', over);
      accept();
    };
    response.on('drain', over).on('close', over);
  });
