/**
 * One request on its way through a link, and the Response it becomes for the Worker: a body that does not end at once
 * is written as `continuity/wire.ts` says. Owns the order of things (acknowledged, head, bytes, end), when headers are
 * committed, the comments that keep a silent stream alive, and the credit that follows the reader. Never chooses a
 * replica, never retries: what a failure means for the client is the Worker's.
 *
 *   sent -> acknowledged -> answered (engine's headers) ----> over
 *                       \-> committed (200 and a comment) -/
 */
import { joinBytes } from '@cognitora/protocol/bytes';
import { CognitoraError, type ErrorCode, errorTable, openAiErrorJson } from '@cognitora/protocol/errors';
import { ackBusyMsMax, clientStallMsMax, headersHoldMsMax, keepAliveMs } from '@cognitora/protocol/limits';
import type { CancelReason, FinalRecord, HeaderList, ResponseHead } from '@cognitora/protocol/link';
import { isRecord, parseJsonRecord } from '@cognitora/protocol/shape';
import { endsEvent, FieldLines, keepAliveComment } from '@cognitora/protocol/sse';
import type { Clock } from '../clock.ts';
import {
  dataHeader,
  encodingHeader,
  endFrame,
  failFrame,
  framedHeader,
  oursFrame,
} from '../continuity/wire.ts';
import type { Verdict } from '../directory/failures.ts';
import { errorHeaders } from '../error-response.ts';
import { BodyPipe } from './body-pipe.ts';
import type { StreamHandler } from './edge-link.ts';
import { opensOnly } from './opening-event.ts';

export interface CarriedOptions {
  readonly clock: Clock;
  readonly isStream: boolean;
  /** Headers of ours that every answer carries. */
  readonly headers: HeaderList;
  readonly remainingMs: number;
  /** How long a link that says nothing else may take to its first word on this. */
  readonly ackMsMax: number;
  /** Bytes the client has taken: credit for the agent. */
  readonly onConsumed: (bytes: number) => void;
  /** The stream must stop at the agent. */
  readonly onCancel: (reason: CancelReason) => void;
  /** Called at most once: the first byte of an event came, of an answer that is streamed and no error. */
  readonly onFirstByte: () => void;
  /** Called exactly once, when the agent's part is over, however it ended. */
  readonly onOver: (end: CarriedEnd) => void;
  /** Called exactly once, when no byte waits for the client any more: `sweep` has nothing left to watch. */
  readonly onDone: () => void;
}

/** How the agent's part of a request ended. */
export interface CarriedEnd {
  /** Absent where the agent did not say. */
  readonly record?: FinalRecord | undefined;
  /** What that says of the replica; absent: nothing. */
  readonly verdict?: Verdict | undefined;
  /** Why it ended before its end; absent: it did not. */
  readonly code?: ErrorCode | undefined;
  /** Of an engine's own error; absent: it answered none. */
  readonly engineStatus?: number;
  /** Of its answer, as far as it came. */
  readonly bodyBytes?: number;
}

/** RFC 9110, 5.1 and 5.5: a token, and visible characters with spaces between them. */
const namePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Of an engine's error that comes after our 200 this much is read for its message. */
const lateErrorBytesMax = 16 * 1024;

type State = 'sent' | 'acknowledged' | 'answered' | 'committed' | 'over';

export class CarriedResponse implements StreamHandler {
  /** Resolves once headers are known or committed; never rejects. */
  readonly response: Promise<Response>;
  readonly #options: CarriedOptions;
  readonly #openedMs: number;
  #resolve: (response: Response) => void = () => {};
  #state: State = 'sent';
  #head: ResponseHead | undefined;
  /** Bytes that came before the response was handed out. */
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #pipe: BodyPipe | undefined;
  #failure: CognitoraError | undefined;
  #isSse = false;
  #ended = false;
  #overTold = false;
  readonly #fields = new FieldLines();
  #hasFirstByte = false;
  #bodyBytes = 0;
  #atEventBoundary = true;
  #lastBytesMs: number;

  constructor(options: CarriedOptions) {
    this.#options = options;
    this.#openedMs = options.clock();
    this.#lastBytesMs = this.#openedMs;
    this.response = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  acknowledged(): void {
    if (this.#state === 'sent') this.#state = 'acknowledged';
  }

  head(head: ResponseHead): void {
    if (this.#head !== undefined || this.#state === 'over') return;
    this.#head = head;
    if (this.#state !== 'committed') this.#state = 'answered';
  }

  data(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#lastBytesMs = this.#options.clock();
    this.#bodyBytes += bytes.length;
    if (!this.#hasFirstByte) this.#firstByte(bytes);
    if (!this.#isLateError()) this.#atEventBoundary = endsEvent(bytes);
    // After a commit an error body has no place in the stream; `settled` turns it into an event.
    if (this.#isLateError() && this.#earlyBytes >= lateErrorBytesMax) this.#options.onConsumed(bytes.length);
    else if (this.#pipe === undefined || this.#isLateError()) this.#keepEarly(bytes);
    else writeData(this.#pipe, bytes);
  }

  end(record: FinalRecord): void {
    this.#ended = true;
    if (this.#head === undefined) {
      this.#failure = new CognitoraError('protocol_error', 'The node ended the request without an answer.');
    }
    this.#over({ record, verdict: endVerdict(this.#head), code: this.#failure?.code });
  }

  fail(failure: { readonly code: ErrorCode; readonly message: string; readonly record?: FinalRecord }): void {
    this.#failure = new CognitoraError(failure.code, failure.message);
    const { code, record } = failure;
    this.#over({ record, verdict: failVerdict(code), code });
  }

  /** A comment, a blank line, or the role of who speaks says that the engine lives, and nothing of its prefill. */
  #firstByte(bytes: Uint8Array): void {
    const head = this.#head;
    const isStreamed = head !== undefined && head.status < 300 && isEventStream(head);
    if (isStreamed && (!this.#fields.push(bytes) || opensOnly(bytes))) return;
    this.#hasFirstByte = true;
    if (isStreamed) this.#options.onFirstByte();
  }

  /** Held until there is somewhere to put them: at most one credit window, since none of it is granted anew. */
  #keepEarly(bytes: Uint8Array): void {
    this.#early.push(bytes);
    this.#earlyBytes += bytes.length;
  }

  /** The pipe counts them from here on. */
  #pourEarly(pipe: BodyPipe): void {
    this.#earlyBytes = 0;
    for (const bytes of this.#early.splice(0)) writeData(pipe, bytes);
  }

  #takeEarly(): readonly Uint8Array[] {
    const early = this.#early;
    this.#early = [];
    if (this.#earlyBytes > 0) this.#options.onConsumed(this.#earlyBytes);
    this.#earlyBytes = 0;
    return early;
  }

  /** All frames of a message are in: hand out the response, whole if its end came along. */
  settled(): void {
    if (this.#state === 'over') return;
    const head = this.#head;
    const mayHaveBody = head !== undefined && !hasNoBody(head.status);
    if (this.#pipe !== undefined) this.#settleStream(this.#pipe);
    else if (this.#failure !== undefined && !(mayHaveBody && isEventStream(head) && this.#early.length > 0)) {
      // Nothing has gone out yet: an error says more than half a body that is cut.
      this.#answerError(this.#failure);
    } else if (head !== undefined && (mayHaveBody || this.#ended)) this.#answer(head);
  }

  /** The client, or its request's body, went away before there was a response. */
  abandon(): void {
    // With a body handed out, its reader's cancelling says the same.
    if (this.#state === 'over' || this.#pipe !== undefined) return;
    this.#state = 'over';
    this.#takeEarly();
    this.#cancel('client_gone');
    this.#options.onDone();
    this.#resolve(new Response(null, { status: 499 }));
  }

  /**
   * Called about twice a second: everything that time alone decides; `stallMsMax` is the patience with the client,
   * `heardMs` when anything last came over the link.
   */
  sweep(nowMs: number, stallMsMax: number = clientStallMsMax, heardMs = 0): void {
    const ageMs = nowMs - this.#openedMs;
    if (this.#state === 'over') {
      // What the client has not read yet holds the link's credit.
      if ((this.#pipe?.stalledMs(nowMs) ?? 0) >= stallMsMax) this.#pipe?.replace(failFrame(stalledError()));
    } else if (ageMs >= this.#options.remainingMs) this.#expire('total_timeout', "The request's time is up.");
    else if (this.#state === 'sent' && this.#isAckOverdue(ageMs, nowMs - heardMs)) {
      // A link that speaks is only slow: that is no failure of the replica.
      const verdict = nowMs - heardMs >= this.#options.ackMsMax ? 'failed' : undefined;
      this.#expire('ack_timeout', 'The node did not acknowledge the request.', verdict);
    } else if (this.#pipe === undefined) {
      if (this.#options.isStream && this.#head === undefined && ageMs >= headersHoldMsMax) this.#commit();
    } else this.#sweepStream(this.#pipe, nowMs, stallMsMax);
  }

  /** On a link that speaks of other things the word on this one may be under way. */
  #isAckOverdue(ageMs: number, silentMs: number): boolean {
    return ageMs >= ackBusyMsMax || Math.min(ageMs, silentMs) >= this.#options.ackMsMax;
  }

  #sweepStream(pipe: BodyPipe, nowMs: number, stallMsMax: number): void {
    if (pipe.stalledMs(nowMs) >= stallMsMax) {
      this.#expire('client_stalled', stalledError().message);
    } else if (
      this.#isSse &&
      this.#atEventBoundary &&
      !this.#ended &&
      nowMs - this.#lastBytesMs >= keepAliveMs &&
      pipe.isEmpty
    ) {
      this.#lastBytesMs = nowMs;
      pipe.writeUncounted(oursFrame(keepAliveComment));
      pipe.flush();
    }
  }

  #expire(code: CancelReason & ErrorCode, message: string, verdict = failVerdict(code)): void {
    this.#failure = new CognitoraError(code, message);
    this.#cancel(code, verdict);
    this.settled();
  }

  #cancel(code: CancelReason & ErrorCode, verdict?: Verdict): void {
    if (this.#overTold) return;
    this.#options.onCancel(code);
    this.#over({ verdict, code });
  }

  #over(end: CarriedEnd): void {
    if (this.#overTold) return;
    this.#overTold = true;
    const { status = 0 } = this.#head ?? {};
    const engineStatus = status >= 400 ? { engineStatus: status } : {};
    this.#options.onOver({ ...end, ...engineStatus, bodyBytes: this.#bodyBytes });
  }

  #isLateError(): boolean {
    const head = this.#head;
    return this.#state === 'committed' && head !== undefined && (head.status >= 400 || !isEventStream(head));
  }

  #settleStream(pipe: BodyPipe): void {
    if (this.#isLateError() && (this.#ended || this.#failure !== undefined)) {
      this.#failure = lateEngineError(this.#head?.status ?? 502, this.#takeEarly());
    }
    if (this.#failure !== undefined) this.#failStream(pipe, this.#failure);
    else if (this.#ended) {
      this.#state = 'over';
      pipe.writeUncounted(endFrame);
      pipe.close();
    } else pipe.flush();
  }

  /** Headers are out: the Worker hears of it behind what came before. */
  #failStream(pipe: BodyPipe, failure: CognitoraError): void {
    this.#state = 'over';
    this.#takeEarly();
    // What waits for whoever does not read holds the link's credit.
    if (failure.code === 'client_stalled') pipe.replace(failFrame(failure));
    else {
      pipe.writeUncounted(failFrame(failure));
      pipe.close();
    }
  }

  #answer(head: ResponseHead): void {
    // `manual`: a body that the engine encoded is encoded already.
    const init = { status: head.status, encodeBody: 'manual' as const };
    const headers = this.#headersOf(head.headers.filter(isEngines).map(carried));
    if (this.#ended) {
      this.#state = 'over';
      this.#resolve(new Response(bodyOf(head.status, this.#takeEarly()), { ...init, headers }));
      this.#options.onDone();
      return;
    }
    const pipe = this.#openPipe();
    this.#isSse = isEventStream(head);
    this.#pourEarly(pipe);
    pipe.flush();
    this.#resolve(new Response(pipe.readable, { ...init, headers: [...headers, isFramed] }));
    if (this.#failure !== undefined) this.#failStream(pipe, this.#failure);
  }

  #commit(): void {
    this.#state = 'committed';
    this.#isSse = true;
    const pipe = this.#openPipe();
    pipe.writeUncounted(oursFrame(keepAliveComment));
    // Bytes before a head are a node's fault, and go where those go that come before it from now on.
    this.#pourEarly(pipe);
    pipe.flush();
    this.#lastBytesMs = this.#options.clock();
    const headers = this.#headersOf([
      ['content-type', 'text/event-stream; charset=utf-8'],
      ['cache-control', 'no-cache'],
    ]);
    headers.push(isFramed);
    this.#resolve(new Response(pipe.readable, { status: 200, headers }));
  }

  #openPipe(): BodyPipe {
    this.#pipe = new BodyPipe({
      clock: this.#options.clock,
      onConsumed: this.#options.onConsumed,
      onCancel: () => {
        this.#state = 'over';
        this.#takeEarly();
        this.#cancel('client_gone');
      },
      onDone: this.#options.onDone,
    });
    return this.#pipe;
  }

  #answerError(failure: CognitoraError): void {
    this.#state = 'over';
    this.#takeEarly();
    const headers = this.#headersOf([...errorHeaders(failure)]);
    this.#resolve(new Response(openAiErrorJson(failure), { status: failure.row.status, headers }));
    this.#options.onDone();
  }

  /** The engine's headers, and ours over them. */
  #headersOf(list: HeaderList): [string, string][] {
    const headers: [string, string][] = [];
    for (const [name, value] of list) {
      const isOurs = this.#options.headers.some(([own]) => own === name);
      // What HTTP does not allow is an engine's oddity and must not cost the link.
      if (!isOurs && namePattern.test(name) && valuePattern.test(value)) headers.push([name, value]);
    }
    for (const [name, value] of this.#options.headers) {
      if (valuePattern.test(value)) headers.push([name, value]);
    }
    return headers;
  }
}

const isFramed: [string, string] = [framedHeader, '1'];

const writeData = (pipe: BodyPipe, bytes: Uint8Array): void => {
  pipe.writeUncounted(dataHeader(bytes.length));
  pipe.write(bytes);
};

/** Names that begin so are the edge's: by `x-cognitora-code` it knows a failure of its own. */
const isEngines = ([name]: HeaderList[number]): boolean => !name.toLowerCase().startsWith('x-cognitora-');

const encodes = ([name, value]: HeaderList[number]): boolean =>
  name.toLowerCase() === 'content-encoding' && value.toLowerCase() !== 'identity';

const carried = (header: HeaderList[number]): HeaderList[number] =>
  encodes(header) ? [encodingHeader, header[1]] : header;

/** What the end of an answer says of the replica: of 4xx, and of 501, the request itself may be the cause. */
const endVerdict = (head: ResponseHead | undefined): Verdict | undefined => {
  if (head === undefined) return 'failed';
  if (head.status < 400) return 'worked';
  return head.status >= 500 && head.status !== 501 ? 'failed' : undefined;
};

/** A link that is lost, or a client that left, says nothing of it. */
const failVerdict = (code: ErrorCode): Verdict | undefined => {
  const isReplicas = code === 'replica_gone' || code === 'protocol_error';
  return isReplicas || errorTable[code].fault === 'engine' ? 'failed' : undefined;
};

/** Media types come in any case. What its engine compressed is no stream of events here. */
const isEventStream = ({ headers }: ResponseHead): boolean =>
  !headers.some(encodes) &&
  headers.some(
    ([name, value]) => name === 'content-type' && value.toLowerCase().startsWith('text/event-stream'),
  );

const stalledError = (): CognitoraError =>
  new CognitoraError('client_stalled', 'The client stopped reading.');

/** Where HTTP allows no body: such a Response can be made of nothing else. */
const hasNoBody = (status: number): boolean => status === 204 || status === 205 || status === 304;

/** A body that is complete; null where HTTP allows none. */
const bodyOf = (status: number, parts: readonly Uint8Array[]): Uint8Array | null =>
  hasNoBody(status) ? null : joinBytes(parts);

/** An engine's error that came after our 200: its own message, when it has the usual shape. */
const lateEngineError = (status: number, parts: readonly Uint8Array[]): CognitoraError => {
  const bytes = joinBytes(parts);
  let message = `The engine answered ${status}.`;
  try {
    const { error } = parseJsonRecord(bytes, 'engine_refused', 'The engine’s error');
    if (isRecord(error) && typeof error.message === 'string') message = error.message;
  } catch {
    // Not JSON: the status is all that can be said.
  }
  return new CognitoraError('engine_refused', message);
};
