/**
 * An engine with so many slots and a queue without bound, as engines have: whoever comes is answered, at last. Tells
 * what it runs and what waits on the page and under the names of vLLM. A request's `max_tokens` is the number of its
 * events. Written from the engine's documented bytes; imports nothing of the product.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export const slotModel = 'slots';

export interface SlotEngineOptions {
  readonly slots: number;
  /** From a slot to the first event. */
  readonly prefillMs: number;
  /** Between two events. */
  readonly stepMs: number;
  /** Each stream's head and role are sent as soon as its request comes, long before it has a slot. */
  readonly opensAtOnce?: boolean;
}

interface Job {
  readonly id: string;
  readonly events: number;
  readonly response: ServerResponse;
  isGone: boolean;
}

const eventOf = (content: string): string =>
  `data: ${JSON.stringify({ id: 's', choices: [{ index: 0, delta: { content } }] })}\n\n`;

const streamHeaders = { 'content-type': 'text/event-stream' };
const roleEvent =
  'data: {"id":"s","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n';

export class SlotEngine {
  /** Ids in the order in which they got a slot. */
  readonly begun: string[] = [];
  /** Events that were sent, of all requests. */
  events = 0;
  /** The most that ever waited. */
  waitingMax = 0;
  readonly #options: SlotEngineOptions;
  readonly #running = new Set<Job>();
  readonly #waiting = new Set<Job>();
  /** Resolves when answers may go on. */
  #going: Promise<void> = Promise.resolve();
  #release = (): void => undefined;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((incoming, response) => {
    this.#serve(incoming, response).catch(() => response.destroy());
  });

  constructor(options: SlotEngineOptions) {
    this.#options = options;
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((accept) => this.#server.listen(0, '127.0.0.1', accept));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** No answer gets a further event, so whoever has a slot keeps it, until `release`. */
  hold(): void {
    this.#release();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#going = promise;
    this.#release = resolve;
  }

  release(): void {
    this.#release();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((accept) => this.#server.close(() => accept()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
    if (incoming.method !== 'POST') {
      this.#tell(incoming.url ?? '', response);
      return;
    }
    if (incoming.url !== '/v1/chat/completions') {
      response.writeHead(404).end();
      return;
    }
    const asked = JSON.parse(Buffer.concat(parts).toString('utf8')) as { max_tokens?: number };
    const id = String(incoming.headers['x-request-id'] ?? '');
    const job: Job = { id, events: asked.max_tokens ?? 1, response, isGone: false };
    response.once('close', () => {
      job.isGone = true;
      this.#waiting.delete(job);
      this.#running.delete(job);
      this.#next();
    });
    if (this.#options.opensAtOnce) {
      response.writeHead(200, streamHeaders);
      response.write(roleEvent);
    }
    this.#waiting.add(job);
    this.#next();
    this.waitingMax = Math.max(this.waitingMax, this.#waiting.size);
  }

  #tell(path: string, response: ServerResponse): void {
    if (path === '/metrics') {
      const labels = `{model_name="${slotModel}"}`;
      response.setHeader('content-type', 'text/plain; version=0.0.4');
      response.end(
        `vllm:num_requests_running${labels} ${this.running}\nvllm:num_requests_waiting${labels} ${this.waiting}\n`,
      );
    } else if (path === '/v1/models') {
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ object: 'list', data: [{ id: slotModel, object: 'model', created: 1 }] }),
      );
    } else response.writeHead(path === '/health' ? 200 : 404).end();
  }

  #next(): void {
    for (const job of this.#waiting) {
      if (this.#running.size >= this.#options.slots) return;
      this.#waiting.delete(job);
      this.#running.add(job);
      this.begun.push(job.id);
      void this.#answer(job);
    }
  }

  async #answer(job: Job): Promise<void> {
    const { prefillMs, stepMs } = this.#options;
    await after(prefillMs);
    if (job.isGone) return;
    if (!job.response.headersSent) job.response.writeHead(200, streamHeaders);
    for (let event = 0; event < job.events && !job.isGone; event += 1) {
      if (event > 0) await after(stepMs).then(() => this.#going);
      job.response.write(eventOf(`${event} `));
      this.events += 1;
    }
    const usage = { prompt_tokens: 20, completion_tokens: job.events, total_tokens: 20 + job.events };
    job.response.end(`data: ${JSON.stringify({ id: 's', choices: [], usage })}\n\ndata: [DONE]\n\n`);
  }
}

const after = (ms: number): Promise<void> => new Promise((accept) => setTimeout(accept, ms));
