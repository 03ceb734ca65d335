/**
 * The ZeroMQ shell around KV events: a PUB socket that sends them in order and a ROUTER socket that replays
 * them. What an event is and which ones exist is decided elsewhere; this file only moves bytes.
 */
import type { Clock } from '../clock.ts';
import * as limits from '../limits.ts';
import { type Log, messageOf } from '../log.ts';
import type { Counters } from '../metrics.ts';
import type { BlockEvent } from './blocks.ts';
import { decodeSequence, encodePayload, encodeSequence, ReplayBuffer, replayEnd, topic } from './wire.ts';

export interface KvPublisher {
  publish(events: readonly BlockEvent[]): void;
  close(): void;
}

export interface PublisherSettings {
  readonly endpoint: string;
  readonly replayEndpoint: string | undefined;
  readonly blockTokens: number;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
}

/** Used when no endpoint was given. */
export const silentPublisher: KvPublisher = { publish: () => {}, close: () => {} };

/** Binds the sockets; throws when an endpoint is taken. The first message clears what readers knew before. */
export async function openPublisher(settings: PublisherSettings): Promise<KvPublisher> {
  // Loaded only here, so that an engine without events does not pay for the native library.
  const zmq = await import('zeromq');
  const { counters, log } = settings;
  const publisher = new zmq.Publisher({ sendHighWaterMark: limits.kvEventsQueuedMax, linger: 0 });
  await bind(publisher, settings.endpoint);
  const buffer = new ReplayBuffer(limits.replayStepsMax);
  let replay: InstanceType<typeof zmq.Router> | undefined;
  if (settings.replayEndpoint !== undefined) {
    replay = new zmq.Router({ linger: 0 });
    await bind(replay, settings.replayEndpoint);
    answerReplays(replay, buffer).catch((error: unknown) => {
      log({ event: 'warning', message: `replay of KV events stopped: ${messageOf(error)}` });
    });
  }
  // The socket takes one send at a time, so messages wait here; the order is the order of `publish`.
  const queue: Buffer[][] = [];
  let sending = false;
  let closed = false;
  const drain = async (): Promise<void> => {
    sending = true;
    for (let frames = queue.shift(); frames && !closed; frames = queue.shift()) await publisher.send(frames);
    sending = false;
  };
  const publish = (events: readonly BlockEvent[]): void => {
    const payload = encodePayload(events, settings.clock.unixSeconds(), settings.blockTokens);
    const sequence = buffer.add(payload);
    if (queue.length >= limits.kvEventsQueuedMax) {
      counters.kvEventsDropped += 1;
      return;
    }
    counters.kvEventsPublished += events.length;
    queue.push([Buffer.from(topic), encodeSequence(sequence), payload]);
    if (sending) return;
    drain().catch((error: unknown) => {
      sending = false;
      if (!closed) log({ event: 'warning', message: `sending a KV event failed: ${messageOf(error)}` });
    });
  };
  publish([{ type: 'cleared' }]);
  return {
    publish,
    close: () => {
      closed = true;
      publisher.close();
      replay?.close();
    },
  };
}

async function bind(socket: { bind(endpoint: string): Promise<void> }, endpoint: string): Promise<void> {
  try {
    await socket.bind(endpoint);
  } catch (error) {
    throw new Error(`Can't publish KV events at ${endpoint}: ${messageOf(error)}. Choose a free port.`);
  }
}

interface ReplaySocket extends AsyncIterable<Buffer[]> {
  send(frames: (Buffer | string)[]): Promise<void>;
}

async function answerReplays(socket: ReplaySocket, buffer: ReplayBuffer): Promise<void> {
  for await (const [client, , frame] of socket) {
    const first = frame === undefined ? undefined : decodeSequence(frame);
    if (client === undefined || first === undefined) continue;
    for (const { sequence, payload } of buffer.from(first)) {
      await socket.send([client, '', encodeSequence(sequence), payload]);
    }
    await socket.send([client, '', replayEnd, '']);
  }
}
