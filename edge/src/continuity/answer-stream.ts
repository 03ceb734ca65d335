/**
 * HOT. The body that the client gets: the engine's bytes as they come, through however many attempts it takes. Reads
 * what objects write (`wire.ts`), passes whole events on, and asks the exchange when an attempt breaks. Owns how the
 * client is told that an answer could not be finished: never by a clean end.
 */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { clientStallMsMax, keepAliveMs } from '@cognitora/protocol/limits';
import type { InferencePath } from '@cognitora/protocol/openai';
import { keepAliveComment, sseError } from '@cognitora/protocol/sse';
import type { Clock } from '../clock.ts';
import type { Exchange, Recovery } from './exchange.ts';
import type { Rest } from './rest.ts';
import type { Sent } from './sent.ts';
import { SentStream } from './sent-stream.ts';
import { finishEvents, Stitch } from './stitch.ts';
import { cut, framedHeader, isEventStream, type WireFailure, WireReader } from './wire.ts';

export interface AnswerStreamOptions {
  readonly answer: Response;
  readonly path: InferencePath;
  readonly exchange: Pick<Exchange, 'recover'>;
  /** How another replica goes on from what was sent, `spent` where nothing is left to do, or why none can. */
  readonly restOf: (sent: Sent) => Rest;
  readonly clock: Clock;
  /** Called once, when the client has all it gets, or left. */
  readonly onOver: () => void;
  /** The client left. */
  readonly onLeft: () => void;
}

/** Between looks at whether the client still reads. */
const stallLookMs = clientStallMsMax / 8;

type Source = ReadableStreamDefaultReader<Uint8Array>;

export class AnswerStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #options: AnswerStreamOptions;
  readonly #sent: SentStream;
  #source: Source;
  #wire: WireReader | undefined;
  #stitch: Stitch | undefined;
  #offset = 0;
  #out: Uint8Array[] = [];
  #end: 'clean' | WireFailure | undefined;
  #isOver = false;
  /** Since when a chunk waits for the client. */
  #waitingSinceMs: number | undefined;
  readonly #stallTimer: ReturnType<typeof setInterval>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(options: AnswerStreamOptions) {
    this.#options = options;
    this.#sent = new SentStream(options.path);
    this.#source = this.#read(options.answer);
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: (controller) => this.#pull(controller),
        cancel: () => {
          this.#options.onLeft();
          void this.#source.cancel().catch(() => {});
          this.#over();
        },
      },
      { highWaterMark: 0 },
    );
    this.#stallTimer = setInterval(() => this.#lookForStall(), stallLookMs);
  }

  /** The next bytes for the client, or the end. */
  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    this.#waitingSinceMs = undefined;
    while (!this.#isOver) {
      if (this.#end === undefined) await this.#readOn();
      if (this.#out.length > 0) {
        this.#waitingSinceMs = this.#options.clock();
        for (const bytes of this.#out.splice(0)) controller.enqueue(bytes);
        return;
      }
      if (this.#end === 'clean') this.#close(controller);
      else if (this.#end !== undefined) await this.#recover(this.#end, controller);
    }
  }

  async #readOn(): Promise<void> {
    try {
      const { done, value } = await this.#source.read();
      if (!done) this.#take(value);
      else this.#end ??= this.#wire === undefined ? 'clean' : cut;
    } catch {
      this.#end ??= cut;
    }
  }

  #take(bytes: Uint8Array): void {
    if (this.#wire === undefined) this.#data(bytes);
    else this.#wire.push(bytes);
  }

  /** An answer's body from its start. */
  #read(answer: Response): Source {
    this.#end = undefined;
    const isFramed = answer.headers.has(framedHeader);
    this.#wire = isFramed
      ? new WireReader({
          data: (bytes) => this.#data(bytes),
          ours: (bytes) => this.#out.push(bytes),
          end: () => {
            this.#end = 'clean';
          },
          fail: (failure) => {
            this.#end = failure;
          },
        })
      : undefined;
    return (answer.body ?? emptyBody()).getReader();
  }

  #data(bytes: Uint8Array): void {
    this.#offset += bytes.length;
    this.#pass(this.#stitch === undefined ? bytes : this.#stitch.push(bytes));
  }

  #pass(bytes: Uint8Array): void {
    const passed = this.#sent.push(bytes);
    if (passed.length > 0) this.#out.push(passed);
  }

  /** The engine ended its answer in order. */
  #close(controller: ReadableStreamDefaultController<Uint8Array>): void {
    if (this.#stitch !== undefined) this.#pass(this.#stitch.end());
    this.#out.push(this.#sent.end());
    for (const bytes of this.#out.splice(0)) if (bytes.length > 0) controller.enqueue(bytes);
    controller.close();
    this.#over();
  }

  async #recover(
    failure: WireFailure,
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> {
    if (failure.code === 'client_stalled') {
      this.#breakOff(controller, new CognitoraError(failure.code, failure.message));
      return;
    }
    // Most likely nobody reads it; the runtime would log a body that breaks off.
    if (failure.code === 'client_gone') return this.#tell(controller, failure);
    const sent = this.#sent.sent;
    if (sent.isDone) {
      this.#finish(controller, finishEvents(sent));
      return;
    }
    void this.#source.cancel().catch(() => {});
    const rest = sent.hasBegun ? this.#options.restOf(sent) : undefined;
    const recovering = this.#options.exchange.recover(failure, { offset: this.#offset, rest });
    const recovery = await this.#keptAlive(recovering, controller);
    if (this.#isOver) void ('answer' in recovery && recovery.answer.body?.cancel().catch(() => {}));
    // All of the text is there: what lacks is how streams end.
    else if (recovery.how === 'spent') this.#finish(controller, finishEvents(sent));
    else if (recovery.how === 'not') this.#tell(controller, recovery.failure);
    else if (recovery.how === 'resumed' || isEventStream(recovery.answer)) this.#goOn(recovery, sent);
    else {
      void recovery.answer.body?.cancel().catch(() => {});
      const { status } = recovery.answer;
      const message = `The answer broke off, and another engine refused to go on (${status}).`;
      this.#tell(controller, { code: 'stream_broken', message });
    }
  }

  /** Who goes on may have to wait for a seat, or for a prefill: proxies give up on what is silent for so long. */
  async #keptAlive<Value>(
    work: Promise<Value>,
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<Value> {
    const timer = setInterval(() => {
      // A comment has no place in an event, and none behind another one that waits for the client.
      const mayComment = !this.#isOver && !this.#sent.isTorn && controller.desiredSize === 0;
      if (mayComment) controller.enqueue(keepAliveComment);
    }, keepAliveMs);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }

  #goOn(recovery: Extract<Recovery, { readonly answer: Response }>, sent: Sent): void {
    if (recovery.how !== 'resumed') {
      this.#offset = 0;
      this.#sent.dropPartial();
      this.#stitch = recovery.how === 'continued' ? new Stitch(sent, recovery.seam) : undefined;
    }
    this.#source = this.#read(recovery.answer);
  }

  /** The client is told that the answer is not whole, and by what. */
  #tell(controller: ReadableStreamDefaultController<Uint8Array>, { code, message }: WireFailure): void {
    const event = sseError(new CognitoraError(code, message));
    this.#finish(controller, this.#sent.isTorn ? joinBytes([eventEnd, event]) : event);
  }

  #finish(controller: ReadableStreamDefaultController<Uint8Array>, bytes: Uint8Array): void {
    if (bytes.length > 0) controller.enqueue(bytes);
    controller.close();
    this.#over();
  }

  #breakOff(controller: ReadableStreamDefaultController<Uint8Array>, error: CognitoraError): void {
    controller.error(error);
    this.#over();
  }

  #lookForStall(): void {
    const sinceMs = this.#waitingSinceMs;
    if (sinceMs === undefined || this.#options.clock() - sinceMs < clientStallMsMax) return;
    void this.#source.cancel().catch(() => {});
    const error = new CognitoraError('client_stalled', 'The client stopped reading.');
    if (this.#controller !== undefined) this.#breakOff(this.#controller, error);
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#stallTimer);
    this.#options.onOver();
  }
}

const eventEnd = utf8('\n\n');

const emptyBody = (): ReadableStream<Uint8Array> =>
  new ReadableStream({ start: (controller) => controller.close() });
