/**
 * Answers that outlive their link, pure: each stands between what serves it and the session that carries it. It keeps
 * the last bytes and the end, so that the stream can go on under a later link; what nobody claims in time it cancels.
 * Never reads a clock of its own or speaks to an engine; what is said on a link is the session's.
 *
 *   attached --its link ends--> detached --RESUME--> attached (to another session) ...
 *        \--END, FAIL--> ended --endedKeptMsMax--> forgotten      \--nobody in time--> cancelled
 */
import type { KeptStatus } from '@cognitora/protocol/agent-status';
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  endedKeptMsMax,
  linklessMsMax,
  replayHostBytesMax,
  replayStreamBytesMax,
  streamsPerLinkMax,
  unclaimedMsMax,
} from '@cognitora/protocol/limits';
import type {
  CancelReason,
  FinalRecord,
  OpenRequest,
  ResponseHead,
  ResumeRequest,
  ResumeToken,
  StreamFailure,
} from '@cognitora/protocol/link';
import type { Clock } from '../clock.ts';
import { ReplayBuffer, ReplayMemory } from './replay-buffer.ts';
import type { LinkedStream, LinkReply, ResumedStream, ServedStream, StreamReply } from './session.ts';

export interface KeptStreamsOptions {
  /** Begins to serve a request; what it answers goes into the reply. */
  readonly serve: (open: OpenRequest, reply: StreamReply) => ServedStream;
  readonly clock: Clock;
}

/** A full link's streams, and three times as many that have ended: beyond it the oldest ended one is forgotten. */
const keptStreamsMax = 4 * streamsPerLinkMax;
/** A link that came in the last moment has so long to claim what there is. */
const claimMsMin = 1_000;

class KeptStream implements ResumedStream, StreamReply {
  /** Undefined: it ends with its link. */
  readonly #replay: ReplayBuffer | undefined;
  readonly #clock: Clock;
  readonly #forget: () => void;
  /** Undefined: it has ended, and only its bytes are kept. */
  #served: ServedStream | undefined;
  /** Undefined: it is detached. */
  #reply: LinkReply | undefined;
  #isResumed = false;
  #isBodyWhole = false;
  /** The engine is not read from. */
  #isPaused = false;
  #head: ResponseHead | undefined;
  #sayEnd: ((reply: StreamReply) => void) | undefined;
  /** Without a link: so far the body went into the last one. */
  #sentTo = 0;
  /** When it was detached, or had ended and was sent. */
  sinceMs = 0;

  constructor(reply: LinkReply, replay: ReplayBuffer | undefined, clock: Clock, forget: () => void) {
    this.#reply = reply;
    this.#replay = replay;
    this.#clock = clock;
    this.#forget = forget;
  }

  /** To be called once, at first. */
  start(served: ServedStream): void {
    if (!this.hasEnded) this.#served = served;
  }

  get hasEnded(): boolean {
    return this.#sayEnd !== undefined;
  }

  /** It goes on, or waits to be read, without a link. */
  get isDetached(): boolean {
    return this.#reply === undefined && !this.hasEnded;
  }

  /** Whether it can go on from `offset`. Throws `protocol_error` where nobody can have read so far. */
  canResume(offset: number): boolean {
    const end = this.#replay?.end ?? 0;
    if (offset > end) {
      throw new CognitoraError('protocol_error', `a stream of ${end} bytes was to go on from ${offset}`);
    }
    return this.#isBodyWhole && this.#replay?.has(offset) === true;
  }

  /** Called about once a second: what a slow link has not sent yet of an answer that ended is still under way. */
  sweep(nowMs: number): void {
    if (this.hasEnded && (this.#reply?.queuedBytes ?? 0) > 0) this.sinceMs = nowMs;
  }

  // Who serves it says:

  head(head: ResponseHead): void {
    this.#head = head;
    this.#reply?.head(head);
  }

  /** HOT. */
  data(bytes: Uint8Array): boolean {
    this.#replay?.push(bytes);
    const hasRoom = this.#reply === undefined ? this.#hasRoomToKeep() : this.#reply.data(bytes);
    if (!hasRoom) this.#isPaused = true;
    return hasRoom;
  }

  end(record: FinalRecord): void {
    this.#end((reply) => reply.end(record));
  }

  fail(failure: StreamFailure): void {
    this.#end((reply) => reply.fail(failure));
  }

  #end(sayEnd: (reply: StreamReply) => void): void {
    this.#sayEnd = sayEnd;
    this.#served = undefined;
    this.sinceMs = this.#clock.monotonicMs();
    if (this.#reply !== undefined) sayEnd(this.#reply);
  }

  /** The body came over the link that opened the stream: no other one gave credit for it. */
  consumed(bytes: number): void {
    if (!this.#isResumed) this.#reply?.consumed(bytes);
  }

  /** Half of what it may keep is for what was sent and did not arrive. */
  #hasRoomToKeep(): boolean {
    const replay = this.#replay;
    if (replay === undefined) return true;
    const unsentBytes = replay.end - this.#sentTo;
    while (unsentBytes > replay.capacity / 2) if (!replay.grow()) return false;
    return true;
  }

  // The session that it is attached to says:

  body(bytes: Uint8Array, last: boolean): void {
    this.#isBodyWhole = last;
    this.#served?.body(bytes, last);
  }

  cancel(reason: CancelReason): void {
    this.#forget();
    this.#reply?.moved();
    this.#reply = undefined;
    this.#served?.cancel(reason);
  }

  drained(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#served?.drained();
  }

  unlinked(): void {
    if (this.#replay === undefined || !this.#isBodyWhole) {
      this.cancel('client_gone');
      return;
    }
    this.#sentTo = this.#replay.end - (this.#reply?.queuedBytes ?? 0);
    this.#reply = undefined;
    this.sinceMs = this.#clock.monotonicMs();
    if (this.#hasRoomToKeep()) this.drained();
  }

  attach(reply: LinkReply, offset: number): void {
    this.#reply?.moved();
    this.#reply = reply;
    this.#isResumed = true;
    this.sinceMs = this.#clock.monotonicMs();
    if (this.#head !== undefined) reply.head(this.#head);
    const bytes = this.#replay?.from(offset) ?? new Uint8Array();
    const hasRoom = bytes.length === 0 || reply.data(bytes);
    if (this.#sayEnd !== undefined) this.#sayEnd(reply);
    else if (hasRoom) this.drained();
  }
}

export class KeptStreams {
  readonly #options: KeptStreamsOptions;
  readonly #memory = new ReplayMemory(replayHostBytesMax);
  /** In the order in which they began. */
  readonly #streams = new Map<ResumeToken, KeptStream>();
  /** Of the link that is open now. */
  #welcomedAtMs: number | undefined;
  #resumed = 0;
  #unclaimed = 0;

  constructor(options: KeptStreamsOptions) {
    this.#options = options;
  }

  get status(): KeptStatus {
    const detached = [...this.#streams.values()].filter(({ isDetached }) => isDetached).length;
    return {
      ...{ bytes: this.#memory.bytes, detached },
      ...{ resumed: this.#resumed, unclaimed: this.#unclaimed },
    };
  }

  /** Serves a request of a link. Throws `protocol_error` when its token is in use. */
  serve(open: OpenRequest, reply: LinkReply): LinkedStream {
    const { serve, clock } = this.#options;
    const { resume: token } = open;
    if (token !== undefined && this.#streams.has(token)) {
      throw new CognitoraError('protocol_error', 'a token came twice');
    }
    const isKept = token !== undefined && this.#hasPlace();
    const replay = isKept ? new ReplayBuffer(this.#memory, replayStreamBytesMax) : undefined;
    const stream = new KeptStream(reply, replay, clock, () => {
      if (isKept) this.#streams.delete(token);
      replay?.drop();
    });
    if (isKept) this.#streams.set(token, stream);
    stream.start(serve(open, stream));
    return stream;
  }

  /** The stream that is claimed; undefined: it is not here, or not as far back, and is given up. */
  resume({ token, offset }: ResumeRequest): ResumedStream | undefined {
    const stream = this.#streams.get(token);
    if (stream === undefined) return undefined;
    if (!stream.canResume(offset)) {
      stream.cancel('client_gone');
      return undefined;
    }
    this.#resumed += 1;
    return stream;
  }

  /** The edge accepted a link. */
  linked(): void {
    this.#welcomedAtMs = this.#options.clock.monotonicMs();
  }

  unlinked(): void {
    this.#welcomedAtMs = undefined;
  }

  /** Called about once a second. */
  sweep(nowMs: number): void {
    for (const stream of this.#streams.values()) {
      stream.sweep(nowMs);
      const isUnclaimed = stream.isDetached && nowMs >= this.#claimableUntilMs(stream);
      if (isUnclaimed) this.#unclaimed += 1;
      const isForgotten = stream.hasEnded && nowMs >= stream.sinceMs + endedKeptMsMax;
      if (isUnclaimed || isForgotten) stream.cancel('client_gone');
    }
  }

  /** Nobody will claim any more. */
  stop(): void {
    for (const stream of this.#streams.values()) stream.cancel('client_gone');
  }

  #claimableUntilMs({ sinceMs }: KeptStream): number {
    const linklessUntilMs = sinceMs + linklessMsMax;
    if (this.#welcomedAtMs === undefined) return linklessUntilMs;
    return Math.min(Math.max(this.#welcomedAtMs, sinceMs) + unclaimedMsMax, linklessUntilMs + claimMsMin);
  }

  /** Makes a place where one is to be had. */
  #hasPlace(): boolean {
    if (this.#streams.size < keptStreamsMax) return true;
    for (const stream of this.#streams.values()) {
      if (!stream.hasEnded) continue;
      stream.cancel('client_gone');
      return true;
    }
    return false;
  }
}
