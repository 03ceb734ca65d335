/**
 * The ZeroMQ sockets of one engine's KV events: a SUB that hears them and, for what was missed, a DEALER that asks for
 * a replay. Moves bytes; `subscription.ts` decides. The native library is loaded only when events are asked for.
 */
import type { Subscriber } from 'zeromq';
import type { KvEventEndpoints } from '../../engines/engine-config.ts';
import type { Log } from '../../log.ts';
import type { EventSource, OnEvents } from './event-source.ts';
import { type EventMessage, Subscription } from './subscription.ts';

/** As many as an engine keeps for a replay. */
const receivedMax = 10_000;
/** A prompt of a million tokens takes 5 MiB. Whoever sends more is cut off, and what it said is missed. */
const messageBytesMax = 16 * 1024 * 1024;
const bounds = { receiveHighWaterMark: receivedMax, maxMessageSize: messageBytesMax, linger: 0 };
/** Until the next message of a replay, and until its end. */
const replayMessageMsMax = 5_000;
const replayMsMax = 10_000;
const sequenceBytes = 8;
/** Before a socket that ended is opened again: each time twice as long, until something was heard. */
const reopenMsMin = 1_000;
const reopenMsMax = 60_000;
const cleared = [{ type: 'cleared' }] as const;

const sequenceOf = (frame: Buffer | undefined): bigint | undefined =>
  frame?.length === sequenceBytes ? frame.readBigInt64BE() : undefined;

/** An engine keeps 10,000 steps for a replay. */
const replayMessagesMax = 20_000;
const replayBytesMax = 64 * 1024 * 1024;

/** Never rejects: who gets no answer in time knows of nothing. */
export const askReplay = async (
  endpoint: string,
  first: bigint,
  msMax = replayMsMax,
): Promise<readonly EventMessage[]> => {
  const { Dealer } = await import('zeromq');
  const socket = new Dealer({
    ...bounds,
    receiveTimeout: replayMessageMsMax,
    sendTimeout: replayMessageMsMax,
  });
  const messages: EventMessage[] = [];
  let bytes = 0;
  const wanted = Buffer.alloc(sequenceBytes);
  wanted.writeBigInt64BE(first);
  const timer = setTimeout(() => socket.close(), msMax);
  try {
    socket.connect(endpoint);
    await socket.send(['', wanted]);
    for await (const frames of socket) {
      // Newer releases put the topic before the sequence.
      const [frame, payload] = frames.slice(-2);
      const sequence = sequenceOf(frame);
      if (sequence === undefined || sequence < 0n || payload === undefined) return messages;
      messages.push({ sequence, payload });
      bytes += payload.length;
      // Whoever sends more than an engine keeps is led by something else: all begins anew then.
      if (messages.length > replayMessagesMax || bytes > replayBytesMax) return [];
    }
    // Closed, since it took too long.
    return [];
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
    socket.close();
  }
};

/** Each rank publishes at a port of its own, counted up from the first one's. */
export const endpointOf = (endpoint: string, rank: number): string =>
  rank === 0 ? endpoint : endpoint.replace(/\d+$/, (port) => String(Number(port) + rank));

interface FollowerOptions {
  readonly onEvents: OnEvents;
  readonly log: Log;
  readonly pause: (ms: number) => Promise<void>;
}

/** One rank. */
class Follower {
  readonly subscription: Subscription;
  readonly #endpoint: string;
  readonly #rank: number;
  readonly #options: FollowerOptions;
  #close = (): void => {};
  #isClosed = false;
  #hasHeard = false;

  constructor({ events, replay }: KvEventEndpoints, rank: number, options: FollowerOptions) {
    this.#endpoint = endpointOf(events, rank);
    this.#rank = rank;
    this.#options = options;
    const asked = replay && endpointOf(replay, rank);
    this.subscription = new Subscription({
      replay: async (first) => (asked === undefined ? [] : askReplay(asked, first)),
      onEvents: (heard) => options.onEvents(heard, rank),
    });
  }

  /** Never rejects. What is not heard while no socket is open may have said that blocks are gone. */
  async hear(): Promise<void> {
    let pauseMs = reopenMsMin;
    let told: string | undefined;
    while (!this.#isClosed) {
      this.#hasHeard = false;
      const why = await this.#hear().then(() => 'the connection ended', String);
      if (this.#isClosed) return;
      if (why !== told) this.#tell(why);
      told = why;
      this.#forget();
      if (this.#hasHeard) [pauseMs, told] = [reopenMsMin, undefined];
      await this.#options.pause(pauseMs);
      pauseMs = Math.min(2 * pauseMs, reopenMsMax);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#close();
  }

  #tell(why: string): void {
    this.#options.log('warn', 'KV events cannot be followed', { endpoint: this.#endpoint, why });
  }

  #forget(): void {
    this.subscription.reset();
    try {
      this.#options.onEvents(cleared, this.#rank);
    } catch (thrown) {
      this.#tell(String(thrown));
    }
  }

  /** Until its connection ends: the library opens none again after a message that was too large. */
  async #hear(): Promise<void> {
    const { Subscriber } = await import('zeromq');
    if (this.#isClosed) return;
    const socket = new Subscriber(bounds);
    this.#close = () => socket.close();
    try {
      void closedAtDisconnect(socket);
      socket.connect(this.#endpoint);
      socket.subscribe('');
      for await (const [, frame, payload] of socket) {
        const sequence = sequenceOf(frame);
        if (sequence === undefined || payload === undefined) continue;
        await this.subscription.message({ sequence, payload });
        this.#hasHeard = true;
      }
    } finally {
      socket.close();
    }
  }
}

/** Never rejects. */
const closedAtDisconnect = async (socket: Subscriber): Promise<void> => {
  try {
    for await (const { type } of socket.events) if (type === 'disconnect') break;
  } catch {
    // It is closed.
  }
  socket.close();
};

export interface ZeromqOptions extends KvEventEndpoints {
  readonly log: Log;
  readonly pause: (ms: number) => Promise<void>;
}

export const zeromqSource = ({ log, pause, ...endpoints }: ZeromqOptions): EventSource => {
  const { ranks = 1 } = endpoints;
  const followers: Follower[] = [];
  return {
    isTakenAway: false,
    ranks,
    follow: (onEvents) => {
      for (let rank = 0; rank < ranks; rank += 1) {
        const follower = new Follower(endpoints, rank, { onEvents, log, pause });
        followers.push(follower);
        void follower.hear();
      }
    },
    reset: () => {
      for (const { subscription } of followers) subscription.reset();
    },
    close: () => {
      for (const follower of followers) follower.close();
    },
  };
};
