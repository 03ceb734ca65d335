/**
 * An object's end of a WebSocket, which the platform keeps while the object may lose its memory: it answers pings by
 * itself and wakes the object for all else. And what the platform offers a program to make such sockets.
 */
import type { Connection } from './connection.ts';
import type { HostedObject } from './platform.ts';

export class HostedSocket {
  #connection: Connection | undefined;
  #object: HostedObject | undefined;
  #isClosed = false;
  /** Sent before the connection stood. */
  readonly #early: Uint8Array[] = [];
  #earlyClose: { readonly code: number; readonly reason: string } | undefined;
  /** When the platform last answered a ping, by the object's clock. */
  pongedAtMs: number | undefined;

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  accept(object: HostedObject): void {
    this.#object = object;
  }

  /** The dial came through: both ends are joined. */
  connect(connection: Connection): void {
    if (this.#isClosed && this.#earlyClose === undefined) {
      connection.close('object', 1006, '');
      return;
    }
    this.#connection = connection;
    connection.attach('object', {
      message: (data) => this.#heard(data),
      closed: () => this.#closed(),
    });
    for (const message of this.#early.splice(0)) connection.send('object', message);
    if (this.#earlyClose !== undefined) {
      connection.close('object', this.#earlyClose.code, this.#earlyClose.reason);
    }
  }

  send(message: Uint8Array): void {
    if (this.#isClosed) throw new TypeError("Can't call WebSocket send() after close().");
    const bytes = message.slice();
    const storage = this.#object?.storage;
    const say = (): void => {
      if (this.#connection === undefined) this.#early.push(bytes);
      else this.#connection.send('object', bytes);
    };
    if (storage === undefined) say();
    else storage.whenConfirmed(say);
  }

  close(code: number, reason: string): void {
    if (this.#isClosed) throw new TypeError('WebSocket already closed');
    this.#isClosed = true;
    const say = (): void => {
      if (this.#connection === undefined) this.#earlyClose = { code, reason };
      else this.#connection.close('object', code, reason);
    };
    if (this.#object === undefined) say();
    else {
      this.#object.sockets.delete(this);
      this.#object.storage.whenConfirmed(say);
    }
  }

  /** The machine that held it is gone. */
  lost(): void {
    this.#isClosed = true;
    this.#connection?.cut(['agent']);
  }

  /** The dial never came through. */
  abandon(): void {
    this.#closed();
  }

  #heard(data: string | Uint8Array): void {
    const object = this.#object;
    if (this.#isClosed || object === undefined) return;
    if (data === 'ping') {
      this.pongedAtMs = object.process.wallMs;
      this.#connection?.send('object', 'pong');
      return;
    }
    const message = typeof data === 'string' ? data : data.slice().buffer;
    object.process.run(() => object.instance.webSocketMessage?.(this, message));
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const object = this.#object;
    if (object === undefined) return;
    object.sockets.delete(this);
    object.process.run(() => object.instance.webSocketClose?.(this));
  }
}

/** A Response that may be an upgrade's, which Node's own cannot. */
export class UpgradableResponse extends Response {
  constructor(
    body?: ConstructorParameters<typeof Response>[0],
    init?: ResponseInit & { readonly webSocket?: unknown },
  ) {
    super(body, init?.status === 101 ? { ...init, status: 200 } : init);
    if (init?.status !== 101) return;
    Object.defineProperty(this, 'status', { value: 101 });
    Object.defineProperty(this, 'webSocket', { value: init.webSocket });
  }
}

/** The runtime's stream of a known length: a write is done once its bytes were read. */
class FixedLengthStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;

  constructor() {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
      { transform: (part, controller) => controller.enqueue(part.slice()) },
      { highWaterMark: 1 },
      { highWaterMark: 0 },
    );
    this.readable = readable;
    this.writable = writable;
  }
}

export const socketGlobals = (): Readonly<Record<string, unknown>> => ({
  Response: UpgradableResponse,
  FixedLengthStream,
  WebSocketRequestResponsePair: class {},
  WebSocketPair: class {
    readonly 0: HostedSocket;
    readonly 1: HostedSocket;
    constructor() {
      const socket = new HostedSocket();
      this[0] = socket;
      this[1] = socket;
    }
  },
});
