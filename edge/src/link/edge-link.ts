/**
 * The edge's end of one link, pure: bytes from the agent become calls on stream handlers, requests become bytes to
 * send. Owns framing, credit and the set of live streams. Never touches a socket, a timer or the directory: its host
 * sends what `onBytes` gets, tells it the time, and closes it.
 *
 *   greeting --HELLO--> open --close--> closed
 */

import { ReceiveWindow } from '@cognitora/protocol/credit';
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  bodyOffsetBytes,
  decodeBody,
  decodeCredit,
  encodeOpenPayload,
  type Frame,
  FrameDecoder,
  flagLast,
  frameTypes,
} from '@cognitora/protocol/frame';
import { linkStream, type StreamId } from '@cognitora/protocol/ids';
import { encodeKvWant, type KvWant } from '@cognitora/protocol/kv';
import { edgeLinkWindowBytes, edgeStreamWindowBytes, streamsPerLinkMax } from '@cognitora/protocol/limits';
import {
  type CancelReason,
  encodeCancel,
  encodeJson,
  type FinalRecord,
  type Goaway,
  type Hello,
  type OpenRequest,
  parseFinalRecord,
  parseGoaway,
  parseHead,
  parseHello,
  parseReplicas,
  parseStreamFailure,
  type ReplicaReport,
  type ResponseHead,
  type ResumeRequest,
  type StreamFailure,
  type Welcome,
} from '@cognitora/protocol/link';
import { Outbox } from '@cognitora/protocol/outbox';
import { parseTelemetry, type Telemetry } from '@cognitora/protocol/telemetry';
import type { KvIntake, KvMessage } from './kv-intake.ts';

/** What one stream's owner hears, in order: acknowledged once, head at most once, data, then exactly one end. */
export interface StreamHandler {
  acknowledged(): void;
  head(head: ResponseHead): void;
  data(bytes: Uint8Array): void;
  end(record: FinalRecord): void;
  fail(failure: Omit<StreamFailure, 'record'> & { readonly record?: FinalRecord }): void;
  /** All frames of one message have been handled: a moment to act on them together. */
  settled(): void;
}

/** What the link's host hears. */
export interface LinkEvents {
  bytes(message: Uint8Array): void;
  hello(hello: Hello): void;
  replicas(replicas: readonly ReplicaReport[]): void;
  kv(message: KvMessage): void;
  telemetry(telemetry: Telemetry): void;
  goaway(goaway: Goaway): void;
}

/** What is said of KV that moves between hosts. */
export type KvToAgent = 'kvfabric' | 'kvholders';

/** What speaks of the stream that it names. */
const streamTypes: ReadonlySet<number> = new Set([
  ...[frameTypes.ack, frameTypes.head, frameTypes.data, frameTypes.end, frameTypes.fail, frameTypes.credit],
]);
const readTypes: ReadonlySet<number> = new Set([
  ...[frameTypes.replicas, frameTypes.kvfeed, frameTypes.kvdelta, frameTypes.kvsnapshot, frameTypes.kvmark],
  ...[frameTypes.kvpeer, frameTypes.kvheld, frameTypes.kvask],
]);

interface LiveStream {
  readonly handler: StreamHandler;
  readonly window: ReceiveWindow;
  offset: number;
  touched: boolean;
}

export class EdgeLink {
  readonly #events: LinkEvents;
  readonly #intake: KvIntake;
  readonly #decoder = new FrameDecoder();
  readonly #window = new ReceiveWindow(edgeLinkWindowBytes);
  readonly #streams = new Map<StreamId, LiveStream>();
  readonly #touched: LiveStream[] = [];
  readonly #writers = new Map<StreamId, () => void>();
  #outbox: Outbox | undefined;
  #nextStream = 1;
  #flushQueued = false;
  #closed = false;

  constructor(events: LinkEvents, intake: KvIntake) {
    this.#events = events;
    this.#intake = intake;
  }

  get streams(): number {
    return this.#streams.size;
  }

  get isOpen(): boolean {
    return this.#outbox !== undefined && !this.#closed;
  }

  /** Handles bytes from the agent. Throws `protocol_error` or `flooded`: close the socket then. */
  receive(bytes: Uint8Array): void {
    if (this.#closed) return;
    try {
      this.#decoder.push(bytes, (frame) => this.#frame(frame));
      this.askDue();
    } finally {
      // Also when a later frame is wrong: what ended before it is out of `close`'s reach.
      for (const stream of this.#touched.splice(0)) {
        stream.touched = false;
        stream.handler.settled();
      }
    }
  }

  /** Answers HELLO; streams may open from here on. */
  welcome(hello: Hello, welcome: Welcome): void {
    this.#outbox = new Outbox({
      bodyType: frameTypes.body,
      streamWindowBytes: hello.streamWindowBytes,
      linkWindowBytes: hello.linkWindowBytes,
    });
    this.#outbox.control(frameTypes.welcome, linkStream, encodeJson(welcome));
    this.#flushSoon();
  }

  /** Tells the agent to leave, at once: also before HELLO. */
  goaway(goaway: Goaway): void {
    this.#outbox ??= new Outbox({ bodyType: frameTypes.body, streamWindowBytes: 0, linkWindowBytes: 0 });
    this.#outbox.control(frameTypes.goaway, linkStream, encodeJson(goaway));
    this.#flush();
  }

  /** Opens a stream with the first bytes of its body (at most one frame); `isWhole` when there are no more. */
  open(request: OpenRequest, firstBytes: Uint8Array, isWhole: boolean, handler: StreamHandler): StreamId {
    const payload = encodeOpenPayload(encodeJson(request), firstBytes);
    const id = this.#begin(frameTypes.open, payload, isWhole ? flagLast : 0, 0, handler);
    if (!isWhole) this.#outbox?.openStream(id, firstBytes.length);
    return id;
  }

  /** Goes on with a stream of an older link, behind the bytes that came over that. */
  resume(request: ResumeRequest, handler: StreamHandler): StreamId {
    return this.#begin(frameTypes.resume, encodeJson(request), 0, request.offset, handler);
  }

  #begin(type: number, payload: Uint8Array, flags: number, offset: number, handler: StreamHandler): StreamId {
    const outbox = this.#outbox;
    if (outbox === undefined || this.#closed) throw new CognitoraError('link_lost', 'The link is not open.');
    if (this.#streams.size >= streamsPerLinkMax) {
      throw new CognitoraError('no_capacity', 'The node serves as many streams as its link carries.');
    }
    const id = this.#nextStream as StreamId;
    this.#nextStream += 1;
    // Throws when the payload is too large for a frame: before the stream counts as live.
    outbox.control(type, id, payload, flags);
    const window = new ReceiveWindow(edgeStreamWindowBytes);
    this.#streams.set(id, { handler, window, offset, touched: false });
    this.#flushSoon();
    return id;
  }

  /** Queues more of a request's body; resolves once it was sent and `bytes` may change, or nobody wants it. */
  write(id: StreamId, bytes: Uint8Array): Promise<void> | undefined {
    this.#outbox?.write(id, bytes);
    this.#flushSoon();
    if (this.#isSent(id)) return undefined;
    return new Promise((resolve) => this.#writers.set(id, resolve));
  }

  finish(id: StreamId): void {
    this.#outbox?.finishFlagged(id);
    this.#flushSoon();
  }

  #isSent(id: StreamId): boolean {
    return (this.#outbox?.queuedBytes(id) ?? 0) === 0;
  }

  /** Wakes those who wait to queue more of a body. */
  #wakeWriters(): void {
    for (const [id, wake] of this.#writers) {
      if (!this.#closed && !this.#isSent(id)) continue;
      this.#writers.delete(id);
      wake();
    }
  }

  /** The reader took bytes: grants credit once half a window was read. */
  consumed(id: StreamId, bytes: number): void {
    const outbox = this.#outbox;
    if (outbox === undefined) return;
    const stream = this.#streams.get(id);
    const streamGrant = stream?.window.consumed(bytes) ?? 0;
    const linkGrant = this.#window.consumed(bytes);
    outbox.grantToPeer(id, streamGrant);
    outbox.grantToPeer(linkStream, linkGrant);
    if (streamGrant + linkGrant > 0) this.#flushSoon();
  }

  /** Whether the agent has no credit left, after it got what there is: readers who stopped hold the window. */
  get isStarved(): boolean {
    if (!this.#window.exhausted) return false;
    this.#outbox?.grantToPeer(linkStream, this.#window.grantAll());
    this.#flushSoon();
    return true;
  }

  /** Asks the agent for a snapshot of a feed, now or when there is room for it. */
  wantSnapshot(want: KvWant): void {
    this.#intake.want(want);
    this.askDue();
  }

  /** Tells the agent of the fleet's KV. */
  tellKv(frame: KvToAgent, payload: Uint8Array): void {
    this.#outbox?.control(frameTypes[frame], linkStream, payload);
    this.#flushSoon();
  }

  /** Asks for the snapshots that there is room for. Called now and then. */
  askDue(): void {
    for (let want = this.#intake.due(); want !== undefined; want = this.#intake.due()) {
      this.#outbox?.control(frameTypes.kvwant, linkStream, encodeKvWant(want));
      this.#flushSoon();
    }
  }

  /** Stops a stream: the agent aborts the engine's work; its handler hears nothing more. */
  cancel(id: StreamId, reason: CancelReason): void {
    if (!this.#streams.delete(id)) return;
    this.#outbox?.dropStream(id);
    this.#outbox?.control(frameTypes.cancel, id, encodeCancel(reason));
    this.#flushSoon();
  }

  /** Ends every stream with `link_lost`; the link is unusable afterwards. */
  close(message: string): void {
    if (this.#closed) return;
    this.#closed = true;
    const streams = [...this.#streams];
    this.#streams.clear();
    for (const [id, { handler }] of streams) {
      // Whoever feeds a request's body waits for this queue to get shorter.
      this.#outbox?.dropStream(id);
      handler.fail({ code: 'link_lost', message });
      handler.settled();
    }
    this.#wakeWriters();
  }

  #frame(frame: Frame): void {
    if (this.#outbox === undefined) {
      if (frame.type !== frameTypes.hello) throw new CognitoraError('protocol_error', 'HELLO comes first');
      this.#events.hello(parseHello(frame.payload));
      return;
    }
    if (!this.#isHeard(frame)) return;
    switch (frame.type) {
      case frameTypes.data:
        this.#data(frame);
        return;
      case frameTypes.ack:
        this.#touch(frame.stream)?.handler.acknowledged();
        return;
      case frameTypes.head:
        this.#touch(frame.stream)?.handler.head(parseHead(frame.payload));
        return;
      case frameTypes.end:
        this.#end(frame.stream, parseFinalRecord(frame.payload));
        return;
      case frameTypes.fail:
        this.#fail(frame.stream, parseStreamFailure(frame.payload));
        return;
      default:
        this.#linkFrame(frame);
    }
  }

  /** Whether a frame is to be read: one that serves no live stream has to be within the bound. */
  #isHeard({ type, stream, payload }: Frame): boolean {
    if (streamTypes.has(type) && this.#streams.has(stream)) return true;
    // Bytes for a stream that was cancelled took credit.
    if (type === frameTypes.data && payload.length > bodyOffsetBytes) return true;
    // These are counted for what they are where they are read.
    return readTypes.has(type) || this.#intake.admits();
  }

  #linkFrame(frame: Frame): void {
    switch (frame.type) {
      case frameTypes.credit:
        this.#outbox?.granted(frame.stream, decodeCredit(frame.payload));
        this.#flushSoon();
        return;
      case frameTypes.replicas:
        this.#intake.admitJson(frame);
        this.#events.replicas(parseReplicas(frame.payload));
        return;
      case frameTypes.goaway:
        this.#events.goaway(parseGoaway(frame.payload));
        return;
      case frameTypes.telemetry:
        // What is passed over is told again soon.
        if (this.#intake.admitsLength(frame)) this.#events.telemetry(parseTelemetry(frame.payload));
        return;
      case frameTypes.hello:
        throw new CognitoraError('protocol_error', 'HELLO comes once');
      default: {
        // A newer agent may say more; what we do not know we skip.
        const message = this.#intake.read(frame);
        if (message !== undefined) this.#events.kv(message);
      }
    }
  }

  #data(frame: Frame): void {
    const { offset, bytes } = decodeBody(frame.payload);
    this.#window.received(bytes.length);
    const stream = this.#touch(frame.stream);
    if (stream === undefined) {
      // The stream was cancelled while these bytes were under way: only the link's credit matters.
      this.#outbox?.grantToPeer(linkStream, this.#window.consumed(bytes.length));
      this.#flushSoon();
      return;
    }
    if (offset !== stream.offset) {
      throw new CognitoraError('protocol_error', `bytes from ${offset} came where ${stream.offset} was due`);
    }
    stream.window.received(bytes.length);
    stream.offset += bytes.length;
    stream.handler.data(bytes);
  }

  /** A payload that can't be read ends the link while the stream still counts as live: `close` tells it then. */
  #end(id: StreamId, record: FinalRecord): void {
    this.#remove(id)?.handler.end(record);
  }

  #fail(id: StreamId, failure: StreamFailure): void {
    this.#remove(id)?.handler.fail(failure);
  }

  #touch(id: StreamId): LiveStream | undefined {
    const stream = this.#streams.get(id);
    if (stream !== undefined && !stream.touched) {
      stream.touched = true;
      this.#touched.push(stream);
    }
    return stream;
  }

  #remove(id: StreamId): LiveStream | undefined {
    const stream = this.#touch(id);
    if (stream !== undefined) this.#streams.delete(id);
    this.#outbox?.dropStream(id);
    if (this.#writers.has(id)) this.#flushSoon();
    return stream;
  }

  /** Everything queued in this turn of the event loop goes out in one message at its end. */
  #flushSoon(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushQueued = false;
    if (this.#closed) return;
    for (let message = this.#outbox?.take(); message !== undefined; message = this.#outbox?.take()) {
      this.#events.bytes(message);
    }
    this.#wakeWriters();
  }
}
