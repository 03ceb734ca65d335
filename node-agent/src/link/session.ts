/**
 * The agent's end of one link, pure: bytes from the edge become requests to serve, responses become bytes to send.
 * Owns framing, credit and delayed acknowledgements. Never touches a socket, an engine or a clock: the shell sends
 * what `take` gives once per event-loop tick and says when an acknowledgement is due.
 *
 *   greeting --WELCOME--> open --GOAWAY or close--> over
 */
import { ReceiveWindow } from '@cognitora/protocol/credit';
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  decodeBody,
  decodeCredit,
  decodeOpenPayload,
  type Frame,
  FrameDecoder,
  flagLast,
  frameTypes,
} from '@cognitora/protocol/frame';
import { linkStream, type StreamId } from '@cognitora/protocol/ids';
import { type KvWant, parseKvWant } from '@cognitora/protocol/kv';
import type { KvFabric } from '@cognitora/protocol/kv-daemon';
import {
  encodeKvAsk,
  encodeKvHeld,
  encodeKvPeer,
  type KvAsk,
  type KvHeld,
  type KvHolders,
  type KvPeer,
  parseKvFabric,
  parseKvHolders,
} from '@cognitora/protocol/kv-fabric';
import {
  agentLinkWindowBytes,
  agentQueuedBytesMax,
  agentStreamWindowBytes,
} from '@cognitora/protocol/limits';
import {
  type CancelReason,
  encodeJson,
  type FinalRecord,
  type Goaway,
  type Hello,
  type OpenRequest,
  parseCancel,
  parseGoaway,
  parseOpenRequest,
  parseResume,
  parseWelcome,
  type ReplicaReport,
  type ResponseHead,
  type ResumeRequest,
  type StreamFailure,
  type Welcome,
} from '@cognitora/protocol/link';
import { Outbox } from '@cognitora/protocol/outbox';
import type { Telemetry } from '@cognitora/protocol/telemetry';

/** One request as it is served: what its engine's side hears from the edge. */
export interface ServedStream {
  /** More of the request's body; `last` with its end. */
  body(bytes: Uint8Array, last: boolean): void;
  cancel(reason: CancelReason): void;
  /** The queue has room again after `data` returned false. */
  drained(): void;
}

/** The same, for a stream that may outlive its link. */
export interface LinkedStream extends ServedStream {
  /** The link is gone. */
  unlinked(): void;
}

/** A stream that goes on under another link. */
export interface ResumedStream extends LinkedStream {
  /** Says its head, its body from `offset` on, and its end, as far as they are known, and then what comes. */
  attach(reply: LinkReply, offset: number): void;
}

/** What a served stream may say back, in order: head, data, then end or fail. */
export interface StreamReply {
  head(head: ResponseHead): void;
  /** False: stop reading from the engine until `drained`. */
  data(bytes: Uint8Array): boolean;
  end(record: FinalRecord): void;
  fail(failure: StreamFailure): void;
  /** Request body bytes that the engine took, those of OPEN included. */
  consumed(bytes: number): void;
}

/** A stream's place on a link. */
export interface LinkReply extends StreamReply {
  /** Body bytes that wait to be sent. */
  readonly queuedBytes: number;
  /** It goes on elsewhere, or not at all: nothing more is said of it here. */
  moved(): void;
}

export interface SessionEvents {
  welcome(welcome: Welcome): void;
  goaway(goaway: Goaway): void;
  /** Something waits to be taken. */
  ready(): void;
  /** A stream waits for an ACK: call `acknowledge` with it within `ackDelayMs`. */
  ackDue(stream: StreamId): void;
  serve(open: OpenRequest, reply: LinkReply): LinkedStream;
  /** The edge claims a stream of an older link; undefined: it is not kept. */
  resume(request: ResumeRequest): ResumedStream | undefined;
  /** The edge asks for a snapshot of a feed. */
  kvWanted(want: KvWant): void;
  /** Who is in the fleet, and this node's certificate. */
  kvFabric(fabric: KvFabric): void;
  /** The answer to a `kvAsk`. */
  kvHolders(holders: KvHolders): void;
}

/** What is said of caches; the edge hears each at once, before any body. */
export type KvFrame = 'kvfeed' | 'kvdelta' | 'kvsnapshot' | 'kvmark';

interface LiveStream {
  served: LinkedStream | undefined;
  readonly window: ReceiveWindow;
  /** Offset of the next body byte. */
  offset: number;
  /** Body bytes that came inside OPEN and are not consumed yet: they cost no credit, so they give none back. */
  openBytes: number;
  readonly bodyBytes: number;
  bodyEnded: boolean;
  answered: boolean;
}

const emptyPayload = new Uint8Array();

export class AgentSession {
  readonly #events: SessionEvents;
  readonly #decoder = new FrameDecoder();
  readonly #window = new ReceiveWindow(agentLinkWindowBytes);
  readonly #streams = new Map<StreamId, LiveStream>();
  readonly #paused = new Set<StreamId>();
  readonly #outbox: Outbox;
  #welcomed = false;
  #isClosed = false;

  constructor(hello: Hello, events: SessionEvents) {
    this.#events = events;
    // Until WELCOME names the edge's windows only HELLO may go, and it needs no credit.
    this.#outbox = new Outbox({ bodyType: frameTypes.data, streamWindowBytes: 0, linkWindowBytes: 0 });
    this.#outbox.control(frameTypes.hello, linkStream, encodeJson(hello));
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Handles bytes from the edge. Throws `protocol_error`: close the socket then. */
  receive(bytes: Uint8Array): void {
    this.#decoder.push(bytes, (frame) => this.#frame(frame));
  }

  /** The next message to send; call until undefined. Wakes streams whose queue got shorter. */
  take(): Uint8Array | undefined {
    const message = this.#outbox.take();
    for (const id of this.#paused) {
      if (this.#outbox.queuedBytes(id) > agentQueuedBytesMax / 2) continue;
      this.#paused.delete(id);
      this.#streams.get(id)?.served?.drained();
    }
    return message;
  }

  /** Says ACK unless the stream has said more, or is over. */
  acknowledge(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.answered) return;
    this.#control(frameTypes.ack, id, emptyPayload);
  }

  replicas(replicas: readonly ReplicaReport[]): void {
    if (this.#welcomed) this.#control(frameTypes.replicas, linkStream, encodeJson({ replicas }));
  }

  /** Says something of a cache. Nothing before WELCOME: the edge's terms are not known. */
  kv(frame: KvFrame, payload: Uint8Array): void {
    if (this.#welcomed) this.#control(frameTypes[frame], linkStream, payload);
  }

  /** What the host's KV daemon is and reaches. */
  kvPeer(peer: KvPeer): void {
    if (this.#welcomed) this.#control(frameTypes.kvpeer, linkStream, encodeKvPeer(peer));
  }

  /** Which keys the daemon holds; at most `kvDigestsPerMessageMax` digests. */
  kvHeld(held: KvHeld): void {
    if (this.#welcomed) this.#control(frameTypes.kvheld, linkStream, encodeKvHeld(held));
  }

  /** Asks who else holds keys; at most `kvAskDigestsMax`. */
  kvAsk(ask: KvAsk): void {
    if (this.#welcomed) this.#control(frameTypes.kvask, linkStream, encodeKvAsk(ask));
  }

  telemetry(telemetry: Telemetry): void {
    if (this.#welcomed) this.#control(frameTypes.telemetry, linkStream, encodeJson(telemetry));
  }

  goaway(goaway: Goaway): void {
    this.#control(frameTypes.goaway, linkStream, encodeJson(goaway));
  }

  /** The link is gone, and its streams are told. */
  close(): void {
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#paused.clear();
    for (const { served } of streams) served?.unlinked();
    this.#isClosed = true;
  }

  #control(type: number, id: StreamId, payload: Uint8Array): void {
    this.#outbox.control(type, id, payload);
    this.#events.ready();
  }

  #frame(frame: Frame): void {
    if (!this.#welcomed && frame.type !== frameTypes.goaway) {
      if (frame.type !== frameTypes.welcome)
        throw new CognitoraError('protocol_error', 'WELCOME comes first');
      this.#welcome(parseWelcome(frame.payload));
      return;
    }
    switch (frame.type) {
      case frameTypes.open:
        this.#open(frame);
        return;
      case frameTypes.resume:
        this.#resume(frame);
        return;
      case frameTypes.body:
        this.#body(frame);
        return;
      case frameTypes.cancel:
        this.#cancel(frame.stream, parseCancel(frame.payload));
        return;
      case frameTypes.credit:
        this.#outbox.granted(frame.stream, decodeCredit(frame.payload));
        this.#events.ready();
        return;
      case frameTypes.kvwant:
        this.#events.kvWanted(parseKvWant(frame.payload));
        return;
      case frameTypes.kvfabric:
        this.#events.kvFabric(parseKvFabric(frame.payload));
        return;
      case frameTypes.kvholders:
        this.#events.kvHolders(parseKvHolders(frame.payload));
        return;
      case frameTypes.goaway:
        this.#events.goaway(parseGoaway(frame.payload));
        return;
      default:
      // A newer edge may say more; what we do not know we skip.
    }
  }

  #welcome(welcome: Welcome): void {
    this.#welcomed = true;
    this.#outbox.setWindows(welcome.streamWindowBytes, welcome.linkWindowBytes);
    this.#events.welcome(welcome);
  }

  #open(frame: Frame): void {
    const { meta, body } = decodeOpenPayload(frame.payload);
    const open = parseOpenRequest(meta);
    const id = frame.stream;
    const isWhole = (frame.flags & flagLast) !== 0;
    const stream = this.#newStream(id, body.length, open.bodyBytes, isWhole);
    this.#checkLength(stream, isWhole);
    this.#streams.set(id, stream);
    this.#outbox.openStream(id);
    stream.served = this.#events.serve(open, this.#replyOf(id, stream));
    if (body.length > 0 || isWhole) stream.served.body(body, isWhole);
    if (this.#streams.has(id)) this.#events.ackDue(id);
  }

  /** A stream whose body the agent has already goes on from where the edge has its answer. */
  #resume(frame: Frame): void {
    const request = parseResume(frame.payload);
    const id = frame.stream;
    const stream = this.#newStream(id, 0, 0, true);
    const reply = this.#replyOf(id, stream);
    this.#streams.set(id, stream);
    this.#outbox.openStream(id, request.offset);
    const resumed = this.#events.resume(request);
    if (resumed === undefined) {
      const message = 'The stream is not kept here any more.';
      reply.fail({ code: 'stream_gone', message, record: { bodyBytes: 0, totalMs: 0 } });
      return;
    }
    stream.served = resumed;
    this.acknowledge(id);
    resumed.attach(reply, request.offset);
  }

  #newStream(id: StreamId, openBytes: number, bodyBytes: number, bodyEnded: boolean): LiveStream {
    if (this.#streams.has(id)) throw new CognitoraError('protocol_error', `stream ${id} is open already`);
    const window = new ReceiveWindow(agentStreamWindowBytes);
    return { served: undefined, window, offset: openBytes, openBytes, bodyBytes, bodyEnded, answered: false };
  }

  #replyOf(id: StreamId, stream: LiveStream): LinkReply {
    const isLive = (): boolean => this.#streams.get(id) === stream;
    const queuedBytes = (): number => (this.#isClosed ? 0 : this.#outbox.queuedBytes(id));
    const over = (type: number, payload: Uint8Array): void => {
      if (!isLive()) return;
      this.#streams.delete(id);
      this.#paused.delete(id);
      stream.answered = true;
      this.#outbox.finish(id, type, payload);
      this.#events.ready();
    };
    return {
      head: (head) => {
        if (!isLive()) return;
        stream.answered = true;
        this.#control(frameTypes.head, id, encodeJson(head));
      },
      data: (bytes) => {
        if (!isLive()) return true;
        this.#outbox.write(id, bytes);
        this.#events.ready();
        if (this.#outbox.queuedBytes(id) <= agentQueuedBytesMax) return true;
        this.#paused.add(id);
        return false;
      },
      end: (record) => over(frameTypes.end, encodeJson(record)),
      fail: (failure) => over(frameTypes.fail, encodeJson(failure)),
      consumed: (bytes) => this.#consumed(id, stream, bytes),
      get queuedBytes() {
        return queuedBytes();
      },
      moved: () => this.#forget(id),
    };
  }

  #consumed(id: StreamId, stream: LiveStream, bytes: number): void {
    const free = Math.min(bytes, stream.openBytes);
    stream.openBytes -= free;
    if (bytes === free) return;
    this.#outbox.grantToPeer(linkStream, this.#window.consumed(bytes - free));
    if (this.#streams.get(id) === stream) this.#outbox.grantToPeer(id, stream.window.consumed(bytes - free));
    this.#events.ready();
  }

  #body(frame: Frame): void {
    const { offset, bytes } = decodeBody(frame.payload);
    this.#window.received(bytes.length);
    const stream = this.#streams.get(frame.stream);
    if (stream === undefined || stream.bodyEnded) {
      // The stream ended before its body did: only the link's credit matters.
      this.#outbox.grantToPeer(linkStream, this.#window.consumed(bytes.length));
      this.#events.ready();
      return;
    }
    if (offset !== stream.offset) {
      throw new CognitoraError('protocol_error', `bytes from ${offset} came where ${stream.offset} was due`);
    }
    stream.window.received(bytes.length);
    stream.offset += bytes.length;
    const last = (frame.flags & flagLast) !== 0;
    this.#checkLength(stream, last);
    stream.bodyEnded = last;
    stream.served?.body(bytes, last);
  }

  #checkLength(stream: LiveStream, last: boolean): void {
    if (last ? stream.offset === stream.bodyBytes : stream.offset <= stream.bodyBytes) return;
    throw new CognitoraError('protocol_error', `a body of ${stream.bodyBytes} bytes had ${stream.offset}`);
  }

  #cancel(id: StreamId, reason: CancelReason): void {
    const stream = this.#streams.get(id);
    this.#forget(id);
    stream?.served?.cancel(reason);
  }

  /** Also a stream whose response had ended but still waited for credit. */
  #forget(id: StreamId): void {
    this.#outbox.dropStream(id);
    this.#streams.delete(id);
    this.#paused.delete(id);
  }
}
