/**
 * What one end of a link has yet to send, pure: control frames first, then body bytes round robin between streams,
 * in frames of at most `frameBodyBytesMax`, never beyond the credit of the stream or of the link. The owner calls
 * `take` once per event-loop tick, so that everything that became ready together travels in one message.
 *
 *   control   [HEAD 7] [CREDIT 3] ...                 no credit needed
 *   turns     7 -> 3 -> 9 -> (7 ...)                  streams with bytes or an end to send, and credit for them
 *   stream 7  [bytes][bytes] end?                     `end` follows the last byte
 */
import { joinBytes } from './bytes.ts';
import { SendCredit } from './credit.ts';
import { CognitoraError } from './errors.ts';
import { Fifo } from './fifo.ts';
import {
  bodyOffsetBytes,
  encodeCredit,
  flagLast,
  frameHeaderBytes,
  frameTypes,
  writeBodyOffset,
  writeFrameHeader,
} from './frame.ts';
import { linkStream, type StreamId } from './ids.ts';
import { bodyMessageBytesMax, frameBodyBytesMax, framePayloadBytesMax, messageBytesMax } from './limits.ts';

interface OutgoingFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: StreamId;
  readonly payload: Uint8Array;
  /** Set for body frames: the payload is written after this offset. */
  readonly offset: number | undefined;
}

interface OutgoingStream {
  readonly id: StreamId;
  readonly credit: SendCredit;
  /** An engine may send one for each of many tiny events. */
  readonly chunks: Fifo<Uint8Array>;
  /** Bytes of the first chunk already sent. */
  sentOfFirst: number;
  queuedBytes: number;
  offset: number;
  end: { readonly type: number; readonly payload: Uint8Array } | 'flagged' | undefined;
  /** True while the stream stands in `turns`. */
  waiting: boolean;
}

export interface OutboxOptions {
  /** DATA for an agent, BODY for the edge. */
  readonly bodyType: typeof frameTypes.data | typeof frameTypes.body;
  /** The peer's receive windows, as it announced them. */
  readonly streamWindowBytes: number;
  readonly linkWindowBytes: number;
  /** 0 on a link, which is what absence means; a test of the wrap at 2^32 starts elsewhere. */
  readonly firstSequence?: number;
}

/** A frame that the peer would end the link for is refused here, where only its own stream suffers. */
const assertFits = (payload: Uint8Array): void => {
  if (payload.length > framePayloadBytesMax) {
    throw new CognitoraError(
      'protocol_error',
      `a frame of ${payload.length} bytes was to be sent; at most ${framePayloadBytesMax} are allowed`,
    );
  }
};

export class Outbox {
  #options: OutboxOptions;
  #linkCredit: SendCredit;
  readonly #streams = new Map<StreamId, OutgoingStream>();
  readonly #control: OutgoingFrame[] = [];
  readonly #turns: OutgoingStream[] = [];
  #sequence: number;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#sequence = options.firstSequence ?? 0;
    this.#linkCredit = new SendCredit(options.linkWindowBytes);
  }

  /** The peer has named its windows: they hold for streams opened from now on, and for the link. */
  setWindows(streamWindowBytes: number, linkWindowBytes: number): void {
    this.#options = { ...this.#options, streamWindowBytes, linkWindowBytes };
    this.#linkCredit = new SendCredit(linkWindowBytes);
  }

  /** Queues a frame that needs no credit and goes before any body. Throws `protocol_error` when it is too large. */
  control(type: number, stream: StreamId, payload: Uint8Array, flags = 0): void {
    assertFits(payload);
    this.#control.push({ type, flags, stream, payload, offset: undefined });
  }

  grantToPeer(stream: StreamId, bytes: number): void {
    if (bytes > 0) this.control(frameTypes.credit, stream, encodeCredit(bytes));
  }

  /** Opens a stream whose first `offset` body bytes went otherwise (inside OPEN). */
  openStream(id: StreamId, offset = 0): void {
    this.#streams.set(id, {
      id,
      credit: new SendCredit(this.#options.streamWindowBytes),
      chunks: new Fifo(),
      sentOfFirst: 0,
      queuedBytes: 0,
      offset,
      end: undefined,
      waiting: false,
    });
  }

  /** Queues body bytes; ignored for a stream that is not open. The bytes must not change afterwards. */
  write(id: StreamId, bytes: Uint8Array): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || bytes.length === 0) return;
    stream.chunks.push(bytes);
    stream.queuedBytes += bytes.length;
    this.#enqueue(stream);
  }

  /** Ends a stream behind its queued bytes with a frame of its own. */
  finish(id: StreamId, type: number, payload: Uint8Array): void {
    assertFits(payload);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.end = { type, payload };
    this.#enqueue(stream);
  }

  /** Marks the last queued body frame with `flagLast`; with nothing queued an empty body frame carries it. */
  finishFlagged(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.end = 'flagged';
    this.#enqueue(stream);
  }

  /** Forgets a stream and what it had queued; its control frames still go. */
  dropStream(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.chunks.clear();
    stream.queuedBytes = 0;
    stream.end = undefined;
    this.#streams.delete(id);
  }

  /** Credit from the peer; a grant for a stream that ended meanwhile means nothing. */
  granted(id: StreamId, bytes: number): void {
    if (id === linkStream) {
      this.#linkCredit.grant(bytes);
      return;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.credit.grant(bytes);
    this.#enqueue(stream);
  }

  queuedBytes(id: StreamId): number {
    return this.#streams.get(id)?.queuedBytes ?? 0;
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  /**
   * The next message: control frames up to about `messageBytesMax`, then bodies up to about `bodyMessageBytesMax` in
   * all; undefined when nothing may go.
   */
  take(): Uint8Array | undefined {
    const frames: OutgoingFrame[] = [];
    let bytes = 0;
    for (const frame of this.#control) {
      if (bytes >= messageBytesMax) break;
      frames.push(frame);
      bytes += frameHeaderBytes + frame.payload.length;
    }
    this.#control.splice(0, frames.length);
    while (bytes < bodyMessageBytesMax) {
      const frame = this.#nextBodyFrame();
      if (frame === undefined) break;
      frames.push(frame);
      bytes += frameHeaderBytes + (frame.offset === undefined ? 0 : bodyOffsetBytes) + frame.payload.length;
    }
    return frames.length === 0 ? undefined : this.#encode(frames, bytes);
  }

  #encode(frames: readonly OutgoingFrame[], bytes: number): Uint8Array {
    const message = new Uint8Array(bytes);
    let at = 0;
    for (const { type, flags, stream, payload, offset } of frames) {
      const prefixBytes = offset === undefined ? 0 : bodyOffsetBytes;
      const sequence = this.#sequence;
      this.#sequence = (sequence + 1) >>> 0;
      const payloadBytes = prefixBytes + payload.length;
      at = writeFrameHeader(message, at, { type, flags, stream, sequence, payloadBytes });
      if (offset !== undefined) writeBodyOffset(message, at, offset);
      message.set(payload, at + prefixBytes);
      at += payloadBytes;
    }
    return message;
  }

  #enqueue(stream: OutgoingStream): void {
    if (stream.waiting) return;
    const hasBytes = stream.queuedBytes > 0;
    if (hasBytes ? stream.credit.bytes <= 0 : stream.end === undefined) return;
    stream.waiting = true;
    this.#turns.push(stream);
  }

  #nextBodyFrame(): OutgoingFrame | undefined {
    // A stream leaves `turns` when it has nothing to send; with the link's credit spent it keeps its place.
    let at = 0;
    for (let stream = this.#turns[at]; stream !== undefined; stream = this.#turns[at]) {
      if (stream.queuedBytes > 0 && this.#linkCredit.bytes <= 0) {
        at += 1;
        continue;
      }
      if (at === 0) this.#turns.shift();
      else this.#turns.splice(at, 1);
      stream.waiting = false;
      const frame = stream.queuedBytes > 0 ? this.#bodyFrame(stream) : this.#endFrame(stream);
      this.#enqueue(stream);
      if (frame !== undefined) return frame;
    }
    return undefined;
  }

  #bodyFrame(stream: OutgoingStream): OutgoingFrame | undefined {
    const room = Math.min(frameBodyBytesMax, stream.credit.bytes, this.#linkCredit.bytes);
    if (room <= 0) return undefined;
    const payload = takeBytes(stream, room);
    const offset = stream.offset;
    stream.offset += payload.length;
    stream.credit.spend(payload.length);
    this.#linkCredit.spend(payload.length);
    const isLast = stream.end === 'flagged' && stream.queuedBytes === 0;
    if (isLast) this.#streams.delete(stream.id);
    if (isLast) stream.end = undefined;
    return { type: this.#options.bodyType, flags: isLast ? flagLast : 0, stream: stream.id, payload, offset };
  }

  #endFrame(stream: OutgoingStream): OutgoingFrame | undefined {
    const { end, id, offset } = stream;
    if (end === undefined) return undefined;
    this.#streams.delete(id);
    stream.end = undefined;
    if (end !== 'flagged') return { ...end, flags: 0, stream: id, offset: undefined };
    return { type: this.#options.bodyType, flags: flagLast, stream: id, payload: new Uint8Array(), offset };
  }
}

/** Takes up to `room` bytes off a stream's queue: a view of its first chunk, or a join of many small ones. */
const takeBytes = (stream: OutgoingStream, room: number): Uint8Array => {
  const { chunks } = stream;
  const parts: Uint8Array[] = [];
  let left = room;
  let first = chunks.first;
  while (first !== undefined && left > 0) {
    const from = stream.sentOfFirst;
    const part = first.subarray(from, Math.min(first.length, from + left));
    parts.push(part);
    left -= part.length;
    if (from + part.length === first.length) {
      chunks.shift();
      stream.sentOfFirst = 0;
    } else {
      stream.sentOfFirst = from + part.length;
    }
    first = chunks.first;
  }
  const taken = room - left;
  stream.queuedBytes -= taken;
  return joinBytes(parts);
};
