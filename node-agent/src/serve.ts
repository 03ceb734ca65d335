/**
 * HOT. One request from the link to the engine and its answer back: splice the edits in, send, undo them on the way
 * back, close with the final record. No engine's name occurs here; timers are looked at once a second for all
 * requests (`sweep`), never one by one.
 */
import { addedBytes, chooseSplices, Splicer } from '@cognitora/protocol/edits';
import type { ErrorCode } from '@cognitora/protocol/errors';
import { frameBodyBytesMax } from '@cognitora/protocol/limits';
import type { FinalRecord, OpenRequest, ResponseHead, Usage } from '@cognitora/protocol/link';
import { printable } from '@cognitora/protocol/printable';
import { ProgressReader } from '@cognitora/protocol/progress';
import { FieldLines } from '@cognitora/protocol/sse';
import { JsonResponseReader, type ResponseReader, SseResponseReader } from '@cognitora/protocol/undo';
import type { Volunteered } from '@cognitora/protocol/volunteered';
import type { Dispatcher } from 'undici';
import type { Clock } from './clock.ts';
import type { Engine, ServedModel } from './engines/engine.ts';
import type { ServedStream, StreamReply } from './link/session.ts';
import { RequestFeed } from './request-feed.ts';
import { faultOf, headerList, isNoAnswer, mediaTypeOf } from './response-head.ts';

/** Of what an engine says of its failure, for people: some say what a stack trace does. */
const saidCharsMax = 200;

/** Who wants to know what goes by, without holding it up. */
export interface RequestWatch {
  /**
   * The request is sent when this resolves, which it always does; undefined: at once. Until then all of its body is
   * kept, so who says this bounds it.
   */
  readonly ready?: Promise<void> | undefined;
  body(bytes: Uint8Array, last: boolean): void;
  head(status: number): void;
  /** As the engine sent them, but for what it says of its prefill. */
  data(bytes: Uint8Array): void;
  /** Called once, whatever happened. */
  ended(isClean: boolean, usage: Usage | undefined): void;
}

export interface ServeOptions {
  readonly engine: Engine;
  readonly model: ServedModel;
  readonly open: OpenRequest;
  readonly reply: StreamReply;
  readonly clock: Clock;
  /** Called once, when the request is over. */
  readonly onOver: () => void;
  readonly watch?: RequestWatch | undefined;
}

export class ServedRequest implements ServedStream {
  readonly #options: ServeOptions;
  readonly #feed: RequestFeed;
  readonly #renamed: { readonly served: string; readonly public: string } | undefined;
  /** Set when the engine is asked for usage that the client did not ask for. */
  readonly #dropUsage: Volunteered | undefined;
  /** It is the rest of an answer, and this engine can't go on from one. */
  readonly #isRefused: boolean;
  /** The engine tells how far its prefill is, which the client did not ask for. */
  readonly #asksForProgress: boolean;
  readonly #startedMs: number;
  /** Of an engine without a first token: the begin, or when more of the prompt was last seen to be done. */
  #awaitedSinceMs: number;
  /** Of a stream of events: when one of them last came, or a part of it. A comment is a sign of life, but no token. */
  #lastBytesMs: number;
  #firstByteMs: number | undefined;
  #bodyBytes = 0;
  #controller: Dispatcher.DispatchController | undefined;
  #reader: ResponseReader | undefined;
  /** Of a stream of events: what comes of them, and what of that is the answer. */
  #came: FieldLines | undefined;
  #answered: FieldLines | undefined;
  #progress: ProgressReader | undefined;
  #heldHead: ResponseHead | undefined;
  #isHeadSent = false;
  #isOver = false;

  constructor(options: ServeOptions) {
    const { open, model, clock, reply } = options;
    this.#options = options;
    this.#startedMs = clock.monotonicMs();
    this.#lastBytesMs = this.#startedMs;
    this.#awaitedSinceMs = this.#startedMs;
    this.#renamed = model.served === open.model ? undefined : { served: model.served, public: open.model };
    // Where nobody knows, nothing is asked: so what comes back stays, whatever it is.
    const volunteered = model.volunteered?.get(open.path);
    const askForUsage = open.spans.usage !== undefined && (volunteered?.usage ?? 'usage') !== 'usage';
    this.#dropUsage = askForUsage ? volunteered : undefined;
    const continueMembers = options.engine.continueMembers(open.path);
    this.#isRefused = open.spans.continue !== undefined && continueMembers === undefined;
    this.#asksForProgress = open.spans.progress !== undefined && options.engine.reportsProgress;
    const splices = chooseSplices({
      spans: open.spans,
      servedModel: this.#renamed?.served,
      askForUsage,
      continueMembers,
      askForProgress: this.#asksForProgress,
    });
    this.#feed = new RequestFeed({
      splicer: new Splicer(splices),
      bytes: open.bodyBytes + addedBytes(splices),
      isHeld: options.watch?.ready !== undefined,
      onWhole: (whole) => this.#sendReady(whole),
      onConsumed: (bytes) => reply.consumed(bytes),
    });
  }

  body(bytes: Uint8Array, last: boolean): void {
    if (this.#isOver) return;
    if (this.#isRefused) {
      this.#options.reply.consumed(bytes.length);
      this.#fail('not_continuable', 'This engine can not go on with an answer that another one began.');
      return;
    }
    this.#feed.push(bytes, last);
    this.#options.watch?.body(bytes, last);
  }

  cancel(): void {
    this.#over(false);
    this.#controller?.abort(new Error('cancelled'));
  }

  /** The agent stops, and does not wait for it any longer: whoever hears of it at once goes on elsewhere at once. */
  giveUp(): void {
    this.#fail('replica_gone', 'The agent of its host stops.');
  }

  drained(): void {
    // Time that passed while nobody read is not the engine's.
    this.#lastBytesMs = this.#options.clock.monotonicMs();
    this.#controller?.resume();
  }

  /** Whether this engine may be silent for it: its first token takes as long as it takes, or nobody reads on. */
  excuses(engine: Engine): boolean {
    const isRead = this.#firstByteMs !== undefined && this.#controller?.paused !== true;
    return engine === this.#options.engine && !isRead;
  }

  /** Called about once a second: the timers the agent owns. */
  sweep(nowMs: number): void {
    const { engine, open } = this.#options;
    const { firstTokenMsMax, interTokenMsMax, totalMsMax } = engine.timeouts;
    if (this.#firstByteMs === undefined && nowMs - this.#awaitedSinceMs > firstTokenMsMax) {
      this.#fail('first_token_timeout', 'The engine sent no first token in time.');
    } else if (
      this.#firstByteMs !== undefined &&
      this.#controller?.paused !== true &&
      nowMs - this.#lastBytesMs > interTokenMsMax
    ) {
      this.#fail('inter_token_timeout', 'The engine stopped sending tokens.');
    } else if (nowMs - this.#startedMs > Math.min(open.remainingMs, totalMsMax)) {
      this.#fail('total_timeout', "The request's time is up.");
    }
  }

  #sendReady(body: Buffer | AsyncIterable<Buffer>): void {
    const ready = this.#options.watch?.ready;
    if (ready === undefined) this.#send(body);
    else void ready.then(() => this.#send(body));
  }

  #send(body: Buffer | AsyncIterable<Buffer>): void {
    const { engine, open } = this.#options;
    const headers: Record<string, string> = {
      ...Object.fromEntries(open.headers),
      ...engine.headers,
      'accept-encoding': 'identity',
      'content-length': String(this.#feed.bytes),
    };
    // undici's types know only a Readable; its core takes any async iterable.
    const requestBody = body as Buffer;
    engine.pool.dispatch(
      { method: 'POST', path: engine.pathOf(open.path) + (open.query ?? ''), headers, body: requestBody },
      {
        onRequestStart: (controller) => {
          this.#controller = controller;
          if (this.#isOver) controller.abort(new Error('cancelled'));
        },
        onResponseStart: (_, statusCode, responseHeaders) => this.#start(statusCode, responseHeaders),
        onResponseData: (controller, chunk) => {
          if (!this.#data(chunk)) controller.pause();
        },
        onResponseEnd: () => this.#end(),
        onResponseError: (_, error) => this.#engineFailed(error),
      },
    );
  }

  #start(status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status < 200 || this.#isOver) return;
    const head = { status, headers: headerList(headers) };
    const fault = faultOf(head);
    if (fault !== undefined) {
      this.#fail('engine_broke_off', fault);
      return;
    }
    const type = mediaTypeOf(headers);
    if (isNoAnswer(status, type)) {
      const { path } = this.#options.open;
      const said = `The engine answered with the content type ${JSON.stringify(type)}`;
      this.#fail('engine_not_understood', `${said}, which is no answer of ${path}.`);
      return;
    }
    this.#options.watch?.head(status);
    const isEdited = status < 300;
    const { open } = this.#options;
    // Bytes that the engine compressed, though nobody asked, are not ours to read.
    const isPlain = (headers['content-encoding'] ?? 'identity') === 'identity';
    if (isPlain && type === 'text/event-stream') {
      this.#reader = new SseResponseReader({
        renamed: isEdited ? this.#renamed : undefined,
        dropUsage: isEdited ? this.#dropUsage : undefined,
        isOfChoices: isEdited && open.stream && open.path !== '/v1/embeddings',
      });
      this.#came = new FieldLines();
      this.#answered = new FieldLines();
      if (isEdited && this.#asksForProgress) this.#progress = new ProgressReader();
    } else if (isPlain && type === 'application/json') {
      const renamed = isEdited ? this.#renamed : undefined;
      this.#reader = new JsonResponseReader({
        ...{ renamed, dropUsage: undefined },
        ...{ isAnswer: isEdited, endsByClose: endsByClose(headers) },
      });
    }
    // A short body follows at once: the head travels with it, in one message. What tells of prefill is no answer yet.
    const isShort = Number(headers['content-length'] ?? Number.NaN) <= frameBodyBytesMax;
    if (isShort || this.#progress !== undefined) this.#heldHead = head;
    else this.#sendHead(head);
  }

  #sendHead(head: ResponseHead): void {
    this.#isHeadSent = true;
    this.#heldHead = undefined;
    this.#options.reply.head(head);
  }

  /** False: the link has no room, pause. */
  #data(chunk: Uint8Array): boolean {
    if (this.#isOver) return true;
    if (this.#came?.push(chunk) ?? true) this.#lastBytesMs = this.#options.clock.monotonicMs();
    this.#options.engine.heard();
    if (this.#progress === undefined) return this.#pass(chunk);
    const processedTokens = this.#progress.processedTokens;
    const answer = this.#progress.push(chunk);
    if (this.#progress.processedTokens > processedTokens) this.#awaitedSinceMs = this.#lastBytesMs;
    return this.#passAll(answer);
  }

  #passAll(parts: readonly Uint8Array[]): boolean {
    let hasRoom = true;
    for (const part of parts) hasRoom = this.#pass(part);
    return hasRoom;
  }

  /** Bytes of the answer itself. */
  #pass(chunk: Uint8Array): boolean {
    if (this.#isOver) return true;
    if (this.#firstByteMs === undefined && (this.#answered?.push(chunk) ?? true))
      this.#firstByteMs = this.#lastBytesMs - this.#startedMs;
    const parts = this.#reader?.push(chunk) ?? [chunk];
    const fault = this.#reader && brokenIn(this.#reader);
    if (this.#heldHead !== undefined && fault === undefined) this.#sendHead(this.#heldHead);
    const hasRoom = this.#reply(parts);
    this.#options.watch?.data(chunk);
    if (fault !== undefined) this.#fail('engine_broke_off', fault);
    return hasRoom;
  }

  #reply(parts: readonly Uint8Array[]): boolean {
    let hasRoom = true;
    for (const part of parts) {
      this.#bodyBytes += part.length;
      hasRoom = this.#options.reply.data(part);
    }
    return hasRoom;
  }

  #end(): void {
    this.#passAll(this.#progress?.end() ?? []);
    if (this.#isOver) return;
    const rest = this.#reader?.end() ?? [];
    const fault = this.#reader && brokenIn(this.#reader);
    if (this.#heldHead !== undefined && fault === undefined) this.#sendHead(this.#heldHead);
    this.#reply(rest);
    if (fault !== undefined) {
      this.#fail('engine_broke_off', fault);
      return;
    }
    if (this.#reader?.isOutdated) this.#options.engine.doubt(this.#options.open.model);
    this.#options.reply.end(this.#record());
    this.#over(true);
  }

  #engineFailed(error: Error): void {
    const never = 'code' in error && error.code === 'ECONNREFUSED';
    if (never || error.name === 'ConnectTimeoutError') {
      this.#fail('engine_unreachable', 'The engine does not accept connections.');
    } else
      this.#fail(
        'engine_broke_off',
        `The engine broke its answer off${this.#isHeadSent ? '' : ' before it began'}.`,
      );
  }

  #fail(code: ErrorCode, message: string): void {
    if (this.#isOver) return;
    // An answer that lacks nothing but its end must not look like one that may go on.
    this.#reply(this.#reader?.broken() ?? []);
    this.#options.reply.fail({ code, message, record: this.#record() });
    this.#over(false);
    this.#controller?.abort(new Error(code));
  }

  #record(): FinalRecord {
    const usage = this.#reader?.usage;
    return {
      bodyBytes: this.#bodyBytes,
      totalMs: Math.round(this.#options.clock.monotonicMs() - this.#startedMs),
      ...(this.#firstByteMs === undefined ? {} : { firstByteMs: Math.round(this.#firstByteMs) }),
      ...(usage === undefined ? {} : { usage }),
    };
  }

  #over(isClean: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#feed.drop();
    this.#options.watch?.ended(isClean, this.#reader?.usage);
    this.#options.onOver();
  }
}

/** By neither a length nor chunks: RFC 9112, 6.3. */
const endsByClose = (headers: Readonly<Record<string, unknown>>): boolean =>
  headers['content-length'] === undefined && headers['transfer-encoding'] === undefined;

/** How an answer broke off that its engine's server may end in order; undefined for one that did not. */
const brokenIn = ({ failure, isUnfinished }: ResponseReader): string | undefined => {
  if (failure === undefined) {
    return isUnfinished ? 'The engine ended its answer before that was whole.' : undefined;
  }
  const said = printable(failure).slice(0, saidCharsMax).toWellFormed();
  return `The engine failed in the midst of its answer: ${said}`;
};
