/**
 * One HTTP request between two processes and the answer to it, over two ordered channels with credit: heads, parts of
 * bodies, ends, and that either side died or left. No stream is shared between processes. Knows neither end.
 *
 *   caller  --request, body parts, abort, cancel-->  handler
 *           <--head, body parts, end, broken------
 */
import { Channel } from './schedule.ts';
import type { SimProcess } from './sim-process.ts';

export interface OutgoingRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  readonly signal: AbortSignal | undefined;
}

export interface IncomingHead {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  /** The far end of an upgraded connection. */
  readonly webSocket: unknown;
}

/** A response as its caller gets it. */
export interface Answer extends IncomingHead {
  readonly body: ReadableStream<Uint8Array> | null;
}

export interface ExchangeOptions {
  readonly caller: SimProcess;
  readonly handler: SimProcess;
  readonly delayMs: () => number;
  /** Bytes of a body on the way that nobody took yet. */
  readonly windowBytes: number;
  readonly handle: (request: Request) => Promise<Response>;
  /** Runs what says something to the caller once the handler may speak: its storage has to confirm first. */
  readonly spoken: (say: () => void) => void;
}

/** What arrives of a body: handed to a reader as it asks, so that how much waits is known. */
class Inbox {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #parts: Uint8Array[] = [];
  #controller: ReadableByteStreamController | undefined;
  #wanted: (() => void) | undefined;
  #isEnded = false;

  constructor(onTaken: (bytes: number) => void, onCancel: () => void) {
    this.readable = new ReadableStream({
      type: 'bytes',
      start: (controller) => {
        this.#controller = controller as ReadableByteStreamController;
      },
      pull: async () => {
        if (this.#parts.length === 0 && !this.#isEnded) {
          await new Promise<void>((accept) => {
            this.#wanted = accept;
          });
        }
        const part = this.#parts.shift();
        if (part !== undefined) {
          onTaken(part.length);
          this.#controller?.enqueue(part);
        } else if (this.#isEnded) this.#close();
      },
      cancel: onCancel,
    });
  }

  push(part: Uint8Array): void {
    this.#parts.push(part);
    this.#wake();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  fail(error: Error): void {
    try {
      this.#controller?.error(error);
    } catch {
      // It is closed already.
    }
    this.#wake();
  }

  #close(): void {
    try {
      this.#controller?.close();
      const waiting = this.#controller?.byobRequest as { respond(bytes: number): void } | null | undefined;
      waiting?.respond(0);
    } catch {
      // It was cancelled.
    }
  }

  #wake(): void {
    this.#wanted?.();
    this.#wanted = undefined;
  }
}

/** Reads a body and sends it in parts as far as the window allows. */
class Outbox {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #process: SimProcess;
  readonly #windowBytes: number;
  #onWayBytes = 0;
  #room: (() => void) | undefined;

  constructor(body: ReadableStream<Uint8Array>, process: SimProcess, windowBytes: number) {
    this.#reader = body.getReader();
    this.#process = process;
    this.#windowBytes = windowBytes;
  }

  /** Never rejects; the body's own failure comes as `onFailure`. */
  async pump(onPart: (part: Uint8Array) => void, onEnd: () => void, onFailure: () => void): Promise<void> {
    try {
      for (;;) {
        while (this.#onWayBytes >= this.#windowBytes) {
          await new Promise<void>((accept) => {
            this.#room = accept;
          });
        }
        const { done, value } = await this.#reader.read();
        if (!this.#process.isAlive) return;
        if (done) return onEnd();
        if (value.length === 0) continue;
        this.#onWayBytes += value.length;
        onPart(value.slice());
      }
    } catch {
      if (this.#process.isAlive) onFailure();
    }
  }

  taken(bytes: number): void {
    this.#onWayBytes -= bytes;
    if (this.#onWayBytes >= this.#windowBytes) return;
    this.#room?.();
    this.#room = undefined;
  }

  cancel(): void {
    this.#reader.cancel(new Error('the reader left')).catch(() => {});
  }
}

const lost = (): Error => new Error('Network connection lost.');

export class HttpExchange {
  readonly #options: ExchangeOptions;
  readonly #up: Channel;
  readonly #down: Channel;
  /** At the caller. */
  #answer: Promise<Answer>;
  #resolve: (answer: Answer) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #isAnswered = false;
  #isOver = false;
  #responseBody: Inbox | undefined;
  #requestOutbox: Outbox | undefined;
  /** At the handler. */
  readonly #controller = new AbortController();
  #requestBody: Inbox | undefined;
  #responseOutbox: Outbox | undefined;
  #hasResponded = false;
  #hasLeft = false;

  constructor(options: ExchangeOptions, request: OutgoingRequest) {
    this.#options = options;
    const { caller, handler, delayMs } = options;
    this.#up = new Channel(caller.schedule, delayMs);
    this.#down = new Channel(caller.schedule, delayMs);
    this.#answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not wait for it is not told.
    this.#answer.catch(() => {});
    request.signal?.addEventListener('abort', () => this.abort(), { once: true });
    caller.onDeath.add(this.#callerDied);
    handler.onDeath.add(this.#handlerDied);
    const { body } = request;
    if (request.signal?.aborted === true) this.abort();
    else this.#toHandler(() => this.#arrived(request));
    if (body instanceof ReadableStream) {
      this.#requestOutbox = new Outbox(body, caller, options.windowBytes);
      void this.#requestOutbox.pump(
        (part) => this.#toHandler(() => this.#requestBody?.push(part)),
        () => this.#toHandler(() => this.#requestBody?.end()),
        () => this.#toHandler(() => this.#requestBody?.fail(lost())),
      );
    }
    if (!handler.isAlive) this.#handlerDied();
  }

  get answer(): Promise<Answer> {
    return this.#answer;
  }

  /** The caller leaves: before there is an answer, or while it reads it. */
  abort(): void {
    if (this.#isOver) return;
    const error = new DOMException('The operation was aborted.', 'AbortError');
    if (this.#isAnswered) this.#responseBody?.fail(error);
    else this.#reject(error);
    this.#over();
    this.#toHandler(() => this.#left());
  }

  readonly #callerDied = (): void => this.#up.send(() => this.#options.handler.run(() => this.#left()));

  readonly #handlerDied = (): void => {
    this.#down.send(() =>
      this.#options.caller.run(() => {
        if (this.#isOver) return;
        if (this.#isAnswered) this.#responseBody?.fail(lost());
        else this.#reject(lost());
        this.#over();
      }),
    );
  };

  #over(): void {
    this.#isOver = true;
    this.#options.caller.onDeath.delete(this.#callerDied);
    this.#options.handler.onDeath.delete(this.#handlerDied);
  }

  #toHandler(work: () => void): void {
    this.#up.send(() => this.#options.handler.run(work));
  }

  #toCaller(work: () => void): void {
    this.#options.spoken(() => {
      if (this.#options.handler.isAlive) this.#down.send(() => this.#options.caller.run(work));
    });
  }

  /** At the handler. */
  #arrived({ url, method, headers, body }: OutgoingRequest): void {
    if (this.#hasLeft) return;
    if (body instanceof ReadableStream) {
      this.#requestBody = new Inbox(
        (bytes) => this.#toCaller(() => this.#requestOutbox?.taken(bytes)),
        () => this.#toCaller(() => this.#requestOutbox?.cancel()),
      );
    }
    const sent = this.#requestBody?.readable ?? body;
    const length = body instanceof Uint8Array ? [['content-length', String(body.length)]] : [];
    const init = { method, headers: [...headers, ...length] as [string, string][], duplex: 'half' as const };
    const request = new Request(url, sent === null ? init : { ...init, body: sent });
    // Node's own follows another signal only as long as no garbage is collected.
    Object.defineProperty(request, 'signal', { value: this.#controller.signal });
    this.#options.handle(request).then(
      (response) => this.#respond(response),
      () => this.#toCaller(() => this.#failed()),
    );
  }

  #respond(response: Response): void {
    if (!this.#options.handler.isAlive) return;
    this.#hasResponded = true;
    const webSocket = 'webSocket' in response ? response.webSocket : undefined;
    const head: IncomingHead = { status: response.status, headers: [...response.headers], webSocket };
    const { body } = response;
    const outbox =
      body === null ? undefined : new Outbox(body, this.#options.handler, this.#options.windowBytes);
    this.#responseOutbox = outbox;
    if (this.#hasLeft) {
      outbox?.cancel();
      return;
    }
    this.#toCaller(() => this.#answered(head, outbox));
    void outbox?.pump(
      (part) => this.#toCaller(() => this.#responseBody?.push(part)),
      () =>
        this.#toCaller(() => {
          this.#responseBody?.end();
          this.#over();
        }),
      () =>
        this.#toCaller(() => {
          this.#responseBody?.fail(lost());
          this.#over();
        }),
    );
  }

  #left(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    if (this.#hasResponded) this.#responseOutbox?.cancel();
    else this.#controller.abort();
    this.#requestBody?.fail(lost());
  }

  /** At the caller. */
  #answered(head: IncomingHead, outbox: Outbox | undefined): void {
    if (this.#isOver) return;
    this.#isAnswered = true;
    if (outbox === undefined) {
      this.#resolve({ ...head, body: null });
      this.#over();
      return;
    }
    this.#responseBody = new Inbox(
      (bytes) => this.#toHandler(() => outbox.taken(bytes)),
      () => {
        this.#over();
        this.#toHandler(() => this.#left());
      },
    );
    this.#resolve({ ...head, body: this.#responseBody.readable });
  }

  #failed(): void {
    if (this.#isOver) return;
    this.#reject(lost());
    this.#over();
  }
}
