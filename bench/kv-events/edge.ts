/** The edge of the bench: takes one link, and writes down when it hears that a digest came or went. */
import type { Digest } from '@cognitora/node-agent/truth/kv-ledger';
import { digestsOf } from '@cognitora/node-agent/truth/kv-ledger';
import { utf8 } from '@cognitora/protocol/bytes';
import { FrameDecoder, frameHeaderBytes, frameTypes, writeFrameHeader } from '@cognitora/protocol/frame';
import type { StreamId } from '@cognitora/protocol/ids';
import { parseKvDelta, parseKvFeed } from '@cognitora/protocol/kv';
import { WebSocketServer } from 'ws';
import { monotonicUs } from '../machine/clock.ts';

export const terms = { salt: 'bench', blockBytes: 256 } as const;

const welcome = (): Uint8Array => {
  const payload = utf8(
    JSON.stringify({
      ...{ version: 1, epoch: 1, region: 'local', heartbeatMs: 3_000, leaseMs: 10_000, prefix: terms },
      ...{ streamWindowBytes: 65_536, linkWindowBytes: 1_048_576 },
    }),
  );
  const frame = new Uint8Array(frameHeaderBytes + payload.length);
  const header = { type: frameTypes.welcome, flags: 0, stream: 0 as StreamId, sequence: 0 };
  writeFrameHeader(frame, 0, { ...header, payloadBytes: payload.length });
  frame.set(payload, frameHeaderBytes);
  return frame;
};

export interface Heard {
  readonly digest: Digest;
  readonly isHeld: boolean;
  readonly us: number;
}

export class ListeningEdge {
  readonly heard: Heard[] = [];
  deltas = 0;
  feed: ReturnType<typeof parseKvFeed> | undefined;
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' });

  constructor() {
    this.#server.on('connection', (socket) => {
      const decoder = new FrameDecoder();
      let isWelcomed = false;
      socket.on('message', (message: Buffer, isBinary: boolean) => {
        if (!isBinary) {
          socket.send('pong');
          return;
        }
        if (!isWelcomed) socket.send(welcome());
        isWelcomed = true;
        decoder.push(message, ({ type, payload }) => this.#frame(type, payload));
      });
    });
  }

  get url(): string {
    const address = this.#server.address();
    return `ws://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
  }

  close(): void {
    for (const socket of this.#server.clients) socket.terminate();
    this.#server.close();
  }

  #frame(type: number, payload: Uint8Array): void {
    if (type === frameTypes.kvfeed) this.feed = parseKvFeed(payload);
    if (type !== frameTypes.kvdelta) return;
    this.deltas += 1;
    const { added, removed } = parseKvDelta(payload);
    const us = monotonicUs();
    for (const [blocks, isHeld] of [
      [removed, false],
      [added, true],
    ] as const) {
      for (const { digests } of blocks) {
        for (const digest of digestsOf(digests)) this.heard.push({ digest, isHeld, us });
      }
    }
  }
}
