/**
 * The far end of a link as tests of the edge script it: makes an agent's frames from the protocol's codecs, one after
 * the other, and reads what the edge sends. Knows nothing of streams or credit. Only tests import it.
 */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import {
  bodyOffsetBytes,
  decodeBody,
  decodeCredit,
  decodeOpenPayload,
  encodeCredit,
  FrameDecoder,
  frameTypes,
  writeBodyOffset,
} from '@cognitora/protocol/frame';
import type { Epoch, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { Hello, OpenRequest, StreamFailure, Welcome } from '@cognitora/protocol/link';
import { frameBytes, type PlainFrame } from '@cognitora/protocol/testing/bytes-in-pieces';

export const helloOf = (windows: Partial<Hello> = {}): Hello => ({
  versionMin: 1,
  versionMax: 1,
  agent: 'scripted/1',
  name: 'host',
  streamWindowBytes: 1000,
  linkWindowBytes: 10_000,
  replicas: [],
  ...windows,
});

export const welcomeOf = (): Welcome => ({
  version: 1,
  epoch: 7 as Epoch,
  region: 'local' as Region,
  heartbeatMs: 3000,
  leaseMs: 10_000,
  streamWindowBytes: 65_536,
  linkWindowBytes: 8_388_608,
});

export const requestOf = (bodyBytes = 20, headers: OpenRequest['headers'] = []): OpenRequest => ({
  requestId: 'req-1' as RequestId,
  replica: 'r0' as ReplicaName,
  path: '/v1/chat/completions',
  model: 'm',
  stream: true,
  headers,
  bodyBytes,
  spans: { model: [9, 12] },
  remainingMs: 1000,
});

const typeNames = new Map<number, string>(
  Object.entries(frameTypes).map(([name, number]) => [number, name] as const),
);

/** A frame in a few words: `stream type` and what matters of the payload. */
export const describeFrame = ({ type, flags, stream, payload }: PlainFrame): string => {
  const last = (flags & 1) === 1 ? ' last' : '';
  const name = typeNames.get(type) ?? `0x${type.toString(16)}`;
  if (type === frameTypes.credit) return `${stream} credit ${decodeCredit(payload)}`;
  if (type === frameTypes.cancel) return `${stream} cancel ${payload[0]}`;
  if (type === frameTypes.body) {
    const { offset, bytes } = decodeBody(payload);
    return `${stream} body @${offset}+${bytes.length}${last}`;
  }
  if (type === frameTypes.open) return `${stream} open +${decodeOpenPayload(payload).body.length}${last}`;
  return `${stream} ${name}${last}`;
};

export class ScriptedAgent {
  readonly heard: PlainFrame[] = [];
  messages = 0;
  readonly #decoder = new FrameDecoder();
  #sequence = 0;

  /** One message of the edge. */
  hear(message: Uint8Array): void {
    this.messages += 1;
    this.#decoder.push(message, ({ type, flags, stream, payload }) => {
      this.heard.push({ type, flags, stream, payload: payload.slice() });
    });
  }

  /** What came since the last call, in words. */
  said(): string[] {
    return this.heard.splice(0).map(describeFrame);
  }

  /** A frame with the next sequence number. */
  frame(type: number, stream: number, payload: Uint8Array = new Uint8Array(), flags = 0): Uint8Array {
    const bytes = frameBytes({ type, flags, stream, payload }, this.#sequence);
    this.#sequence += 1;
    return bytes;
  }

  json(type: number, stream: number, value: unknown): Uint8Array {
    return this.frame(type, stream, utf8(JSON.stringify(value)));
  }

  hello(windows: Partial<Hello> = {}): Uint8Array {
    return this.json(frameTypes.hello, 0, helloOf(windows));
  }

  ack(stream: number): Uint8Array {
    return this.frame(frameTypes.ack, stream);
  }

  head(stream: number, status = 200, type = 'application/json'): Uint8Array {
    return this.json(frameTypes.head, stream, { status, headers: [['content-type', type]] });
  }

  data(stream: number, offset: number, bytes: Uint8Array): Uint8Array {
    const prefix = new Uint8Array(bodyOffsetBytes);
    writeBodyOffset(prefix, 0, offset);
    return this.frame(frameTypes.data, stream, joinBytes([prefix, bytes]));
  }

  end(stream: number, bodyBytes = 0): Uint8Array {
    return this.json(frameTypes.end, stream, { bodyBytes, totalMs: 1 });
  }

  fail(stream: number, code: StreamFailure['code'] = 'engine_broke_off', message = 'broke'): Uint8Array {
    return this.json(frameTypes.fail, stream, { code, message, record: { bodyBytes: 0, totalMs: 1 } });
  }

  credit(stream: number, bytes: number): Uint8Array {
    return this.frame(frameTypes.credit, stream, encodeCredit(bytes));
  }
}
