/**
 * The far end of a link as tests of the agent script it: makes an edge's frames from the protocol's codecs, and reads
 * what the agent sends. Knows nothing of streams or credit. Only tests import it.
 */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import {
  bodyOffsetBytes,
  decodeBody,
  decodeCredit,
  encodeCredit,
  encodeOpenPayload,
  FrameDecoder,
  flagLast,
  frameTypes,
  writeBodyOffset,
} from '@cognitora/protocol/frame';
import type { Epoch, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import {
  encodeCancel,
  type Hello,
  type OpenRequest,
  type ResumeToken,
  type Welcome,
} from '@cognitora/protocol/link';
import { frameBytes, type PlainFrame } from '@cognitora/protocol/testing/bytes-in-pieces';

export const helloOf = (): Hello => ({
  versionMin: 1,
  versionMax: 1,
  agent: 'scripted/1',
  name: 'host',
  streamWindowBytes: 262_144,
  linkWindowBytes: 16_777_216,
  replicas: [],
});

export const welcomeOf = (windows: Partial<Welcome> = {}): Welcome => ({
  version: 1,
  epoch: 7 as Epoch,
  region: 'local' as Region,
  heartbeatMs: 3000,
  leaseMs: 10_000,
  streamWindowBytes: 1000,
  linkWindowBytes: 10_000,
  ...windows,
});

export const openOf = (bodyBytes: number, more: Partial<OpenRequest> = {}): OpenRequest => ({
  requestId: 'req-1' as RequestId,
  replica: 'r0' as ReplicaName,
  path: '/v1/chat/completions',
  model: 'm',
  stream: true,
  headers: [],
  bodyBytes,
  spans: { model: [0, 1] },
  remainingMs: 60_000,
  ...more,
});

const typeNames = new Map<number, string>(
  Object.entries(frameTypes).map(([name, number]) => [number, name] as const),
);

/** A frame in a few words. */
export const describeFrame = ({ type, stream, payload }: PlainFrame): string => {
  const name = typeNames.get(type) ?? `0x${type.toString(16)}`;
  if (type === frameTypes.credit) return `${stream} credit ${decodeCredit(payload)}`;
  if (type !== frameTypes.data) return `${stream} ${name}`;
  const { offset, bytes } = decodeBody(payload);
  return `${stream} data @${offset}+${bytes.length}`;
};

export class ScriptedEdge {
  readonly heard: PlainFrame[] = [];
  readonly #decoder = new FrameDecoder();
  #sequence = 0;

  hear(message: Uint8Array): void {
    this.#decoder.push(message, ({ type, flags, stream, payload }) => {
      this.heard.push({ type, flags, stream, payload: payload.slice() });
    });
  }

  frame(type: number, stream: number, payload: Uint8Array = new Uint8Array(), flags = 0): Uint8Array {
    const bytes = frameBytes({ type, flags, stream, payload }, this.#sequence);
    this.#sequence += 1;
    return bytes;
  }

  json(type: number, stream: number, value: unknown): Uint8Array {
    return this.frame(type, stream, utf8(JSON.stringify(value)));
  }

  welcome(windows: Partial<Welcome> = {}): Uint8Array {
    return this.json(frameTypes.welcome, 0, welcomeOf(windows));
  }

  open(stream: number, request: OpenRequest, body: Uint8Array, isWhole: boolean): Uint8Array {
    const payload = encodeOpenPayload(utf8(JSON.stringify(request)), body);
    return this.frame(frameTypes.open, stream, payload, isWhole ? flagLast : 0);
  }

  body(stream: number, offset: number, bytes: Uint8Array, isLast = false): Uint8Array {
    const prefix = new Uint8Array(bodyOffsetBytes);
    writeBodyOffset(prefix, 0, offset);
    return this.frame(frameTypes.body, stream, joinBytes([prefix, bytes]), isLast ? flagLast : 0);
  }

  resume(stream: number, token: ResumeToken, offset: number): Uint8Array {
    return this.json(frameTypes.resume, stream, { token, offset });
  }

  cancel(stream: number): Uint8Array {
    return this.frame(frameTypes.cancel, stream, encodeCancel('client_stalled'));
  }

  credit(stream: number, bytes: number): Uint8Array {
    return this.frame(frameTypes.credit, stream, encodeCredit(bytes));
  }
}
