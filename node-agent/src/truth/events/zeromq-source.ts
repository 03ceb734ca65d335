/**
 * The ZeroMQ sockets of one engine's KV events: a SUB that hears them and, for what was missed, a DEALER that asks for
 * a replay. Moves bytes; `subscription.ts` decides. The native library is loaded only when events are asked for.
 */
import type { Log } from '../../log.ts';
import { type EventMessage, Subscription } from './subscription.ts';
import type { KvEvent } from './wire.ts';

/** As many as an engine queues for us. */
const receivedMax = 100_000;
const replayMsMax = 5_000;
const sequenceBytes = 8;

export interface EventSource {
  /** Hears what the engine says from now on. */
  follow(onEvents: (events: readonly KvEvent[]) => void): void;
  /** The engine is another one. */
  reset(): void;
  close(): void;
}

export interface ZeromqEndpoints {
  readonly events: string;
  readonly replay: string | undefined;
}

const sequenceOf = (frame: Buffer | undefined): bigint | undefined =>
  frame?.length === sequenceBytes ? frame.readBigInt64BE() : undefined;

/** An engine keeps 10,000 steps for a replay. */
const replayMessagesMax = 20_000;
const replayBytesMax = 64 * 1024 * 1024;

/** Never rejects: who gets no answer in time knows of nothing. */
const askReplay = async (endpoint: string, first: bigint): Promise<readonly EventMessage[]> => {
  const { Dealer } = await import('zeromq');
  const socket = new Dealer({ linger: 0, receiveTimeout: replayMsMax, sendTimeout: replayMsMax });
  const messages: EventMessage[] = [];
  let bytes = 0;
  const wanted = Buffer.alloc(sequenceBytes);
  wanted.writeBigInt64BE(first);
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
    return messages;
  } catch {
    return [];
  } finally {
    socket.close();
  }
};

export const zeromqSource = ({ events, replay }: ZeromqEndpoints, log: Log): EventSource => {
  let subscription: Subscription | undefined;
  let end = (): void => {};
  let isClosed = false;
  const hear = async (heard: Subscription): Promise<void> => {
    const { Subscriber } = await import('zeromq');
    if (isClosed) return;
    const socket = new Subscriber({ receiveHighWaterMark: receivedMax, linger: 0 });
    end = () => socket.close();
    socket.connect(events);
    socket.subscribe('');
    for await (const [, frame, payload] of socket) {
      const sequence = sequenceOf(frame);
      if (sequence !== undefined && payload !== undefined) await heard.message({ sequence, payload });
    }
  };
  return {
    follow: (onEvents) => {
      subscription = new Subscription({
        replay: async (first) => (replay === undefined ? [] : askReplay(replay, first)),
        onEvents,
      });
      hear(subscription).catch((thrown: unknown) => {
        if (!isClosed) log('warn', 'KV events cannot be followed', { endpoint: events, why: String(thrown) });
      });
    },
    reset: () => subscription?.reset(),
    close: () => {
      isClosed = true;
      end();
    },
  };
};
