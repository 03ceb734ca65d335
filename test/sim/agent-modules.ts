/**
 * What an agent's program imports from outside, in one of its lives: `ws` and `undici`, as far as it uses them, over
 * simulated connections. Events come in the agent's process, in order, never from within a call.
 */
import { EventEmitter } from 'node:events';
import type { Connection } from './connection.ts';
import { Channel } from './schedule.ts';
import type { EngineAnswer, SimEngine } from './sim-engine.ts';
import type { SimProcess } from './sim-process.ts';

/** How a dial ends. */
export interface DialEvents {
  opened(connection: Connection): void;
  refused(status: number, text: string): void;
  failed(message: string): void;
}

export interface AgentWorld {
  readonly process: SimProcess;
  readonly dial: (url: string, authorization: string, events: DialEvents) => void;
  readonly engineAt: (origin: string) => SimEngine | undefined;
  readonly loopbackMs: () => number;
}

const asBuffer = (data: string | Uint8Array): Buffer =>
  typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);

interface SocketOptions {
  readonly headers: { readonly authorization: string };
  readonly handshakeTimeout: number;
}

const webSocketOf = (world: AgentWorld): unknown => {
  const { process } = world;
  return class AgentSocket extends EventEmitter {
    static readonly OPEN = 1;
    readyState = 0;
    binaryType = '';
    #connection: Connection | undefined;

    constructor(url: string, options: SocketOptions) {
      super();
      const timer = process.after(options.handshakeTimeout, () => {
        if (this.readyState === 0) this.#failed('Opening handshake has timed out');
      });
      world.dial(url, options.headers.authorization, {
        opened: (connection) =>
          process.run(() => {
            timer.cancel();
            if (this.readyState === 0) this.#opened(connection);
            else connection.cut(['object']);
          }),
        refused: (status, text) =>
          process.run(() => {
            timer.cancel();
            if (this.readyState === 0) this.#refused(status, text);
          }),
        failed: (message) =>
          process.run(() => {
            timer.cancel();
            if (this.readyState === 0) this.#failed(message);
          }),
      });
    }

    get bufferedAmount(): number {
      return this.#connection?.bufferedBytes('agent') ?? 0;
    }

    send(data: string | Uint8Array, _options?: unknown, onWritten?: () => void): void {
      const bytes = typeof data === 'string' ? data : data.slice();
      this.#connection?.send('agent', bytes, () => process.run(onWritten ?? (() => {})));
    }

    close(code: number): void {
      if (this.readyState !== 1) return;
      this.readyState = 2;
      this.#connection?.close('agent', code, '');
      process.after(1, () => this.#closed(code, ''));
    }

    terminate(): void {
      if (this.readyState === 3) return;
      this.#connection?.close('agent', 1006, '');
      process.after(0, () => this.#closed(1006, ''));
      if (this.readyState === 0) this.readyState = 2;
    }

    #opened(connection: Connection): void {
      this.#connection = connection;
      this.readyState = 1;
      connection.attach('agent', {
        message: (data) =>
          process.run(() => {
            if (this.readyState !== 3) this.emit('message', asBuffer(data), typeof data !== 'string');
          }),
        closed: (code, reason) => process.run(() => this.#closed(code, reason)),
      });
      this.emit('open');
    }

    #refused(status: number, text: string): void {
      this.readyState = 2;
      const response = Object.assign(new EventEmitter(), { statusCode: status, setEncoding: () => {} });
      this.emit('unexpected-response', { destroy: () => {} }, response);
      response.emit('data', text);
      response.emit('close');
    }

    #failed(message: string): void {
      this.readyState = 2;
      this.emit('error', new Error(message));
      this.#closed(1006, '');
    }

    #closed(code: number, reason: string): void {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.emit('close', code, Buffer.from(reason));
    }
  };
};

interface DispatchOptions {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | AsyncIterable<Uint8Array>;
}

interface DispatchHandler {
  onRequestStart(controller: Controller): void;
  onResponseStart(controller: Controller, status: number, headers: Readonly<Record<string, string>>): void;
  onResponseData(controller: Controller, part: Buffer): void;
  onResponseEnd(controller: Controller): void;
  onResponseError(controller: Controller, error: Error): void;
}

const withCode = (message: string, code: string): Error => Object.assign(new Error(message), { code });

/** Bytes of an answer that an engine's socket takes while nobody reads. */
export const socketBytesMax = 64 * 1024;

/** One request of an agent to an engine. */
class Controller {
  readonly #world: AgentWorld;
  readonly #engine: SimEngine | undefined;
  readonly #handler: DispatchHandler;
  readonly #up: Channel;
  readonly #down: Channel;
  readonly #early: (() => void)[] = [];
  #answer: EngineAnswer | undefined;
  #untakenBytes = 0;
  #isOver = false;
  paused = false;

  constructor(world: AgentWorld, engine: SimEngine | undefined, handler: DispatchHandler) {
    this.#world = world;
    this.#engine = engine;
    this.#handler = handler;
    this.#up = new Channel(world.process.schedule, world.loopbackMs);
    this.#down = new Channel(world.process.schedule, world.loopbackMs);
    world.process.onDeath.add(this.#gone);
  }

  async start(options: DispatchOptions): Promise<void> {
    this.#handler.onRequestStart(this);
    const body = await bytesOf(options.body);
    this.#up.send(() => {
      const engine = this.#engine;
      if (engine === undefined || !engine.isListening) {
        this.#say(() => this.#failed(withCode('connect ECONNREFUSED', 'ECONNREFUSED')));
        return;
      }
      if (this.#isOver) return;
      this.#answer = engine.handle(
        { method: options.method, path: options.path, headers: options.headers, body },
        {
          head: (status, headers) => this.#say(() => this.#handler.onResponseStart(this, status, headers)),
          data: (part) => {
            this.#untakenBytes += part.length;
            this.#say(() => {
              this.#untakenBytes -= part.length;
              this.#handler.onResponseData(this, Buffer.from(part));
            });
            return this.#untakenBytes <= socketBytesMax;
          },
          end: () =>
            this.#say(() => {
              this.#over();
              this.#handler.onResponseEnd(this);
            }),
          brokeOff: () => this.#say(() => this.#failed(withCode('other side closed', 'UND_ERR_SOCKET'))),
        },
      );
    });
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#world.process.after(0, () => this.#deliver());
  }

  abort(error: Error): void {
    if (this.#isOver) return;
    this.#over();
    this.#gone();
    this.#world.process.after(0, () => this.#handler.onResponseError(this, error));
  }

  readonly #gone = (): void => this.#up.send(() => this.#answer?.leave());

  /** In the agent's process, when it reads. */
  #say(work: () => void): void {
    this.#down.send(() =>
      this.#world.process.run(() => {
        this.#early.push(work);
        this.#deliver();
      }),
    );
  }

  #deliver(): void {
    while (!this.paused && !this.#isOver) {
      const work = this.#early.shift();
      if (work === undefined) break;
      work();
    }
    if (this.#untakenBytes <= socketBytesMax) this.#answer?.hasRoom();
  }

  #failed(error: Error): void {
    this.#over();
    this.#handler.onResponseError(this, error);
  }

  #over(): void {
    this.#isOver = true;
    this.#world.process.onDeath.delete(this.#gone);
  }
}

const bytesOf = async (body: DispatchOptions['body']): Promise<Uint8Array> => {
  if (body === undefined) return new Uint8Array();
  if (typeof body === 'string') return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
};

const poolOf = (world: AgentWorld): unknown =>
  class Pool extends EventEmitter {
    readonly #origin: string;

    constructor(origin: string) {
      super();
      this.#origin = origin;
      world.engineAt(origin)?.onConnectionsLost.add(() =>
        world.process.run(() => {
          this.emit('disconnect', origin, [], withCode('other side closed', 'UND_ERR_SOCKET'));
        }),
      );
    }

    dispatch(options: DispatchOptions, handler: DispatchHandler): boolean {
      void new Controller(world, world.engineAt(this.#origin), handler).start(options);
      return true;
    }

    request(options: DispatchOptions & { readonly signal?: AbortSignal }): Promise<unknown> {
      return new Promise((resolve, reject) => {
        const parts: Buffer[] = [];
        let head: { readonly statusCode: number; readonly headers: Readonly<Record<string, string>> };
        this.dispatch(options, {
          onRequestStart: (controller) =>
            options.signal?.addEventListener('abort', () => {
              reject(options.signal?.reason);
              controller.abort(new Error('aborted'));
            }),
          onResponseStart: (_, statusCode, headers) => {
            head = { statusCode, headers };
          },
          onResponseData: (_, part) => parts.push(part),
          onResponseEnd: () =>
            resolve({
              ...head,
              body: (async function* () {
                yield* parts;
              })(),
            }),
          onResponseError: (_, error) => reject(error),
        });
      });
    }

    async close(): Promise<void> {}

    async destroy(): Promise<void> {}
  };

export const agentModules = (world: AgentWorld): Readonly<Record<string, unknown>> => ({
  ws: webSocketOf(world),
  undici: { Pool: poolOf(world), request: () => Promise.reject(new Error('no other requests here')) },
  zeromq: {},
});
