/**
 * The bytes between daemons: frames on an ordered channel that one exchange has to itself. Pure but for `readFrame`,
 * which is the only reader. A frame is checked against what may come before any of its payload is taken.
 *
 *   0 type u8 | 1 zero x 3 | 4 payload bytes u32 | 8 payload                     little-endian
 *
 *   asker                                   holder
 *   get        u32 from, key                head  u32 total, u32 checksum, u32 from, u32 zero, f64 ms left (0: ever)
 *                                           data  bytes, as often as it takes to the total; or fail
 *   ping       8 bytes                      pong  the same
 *   probe      u32 bytes                    data  so many
 *   namespaces                              json  {namespaces: [{namespace, fields}]}
 *   check      key                          json  what it was to fetch that key from the asker; or fail
 *   keys       u32 limit, f64 after, namespace  json  {at, keys: [{key, bytes, ageMs}]}, the newest first; or fail
 *                                           fail  u8 code
 */
import { keyBytesMax, valueBytesMax } from '../store.ts';
import { PeerError, type PeerFailure, toldFailures } from './codes.ts';
import { dataBytesMax, jsonBytesMax, probeBytesMax } from './limits.ts';
import type { NewestAsk } from './newest-keys.ts';

export const frameHeaderBytes = 8;
/** `n` and 16 hex. */
const namespaceBytesMax = 64;

interface FrameType {
  readonly type: number;
  readonly from: Side;
  readonly bytesMin: number;
  readonly bytesMax: number;
}

/** Who says it. */
export type Side = 'asker' | 'holder';

export const frames = {
  get: { type: 1, from: 'asker', bytesMin: 5, bytesMax: 4 + keyBytesMax },
  ping: { type: 2, from: 'asker', bytesMin: 8, bytesMax: 8 },
  probe: { type: 3, from: 'asker', bytesMin: 4, bytesMax: 4 },
  namespaces: { type: 4, from: 'asker', bytesMin: 0, bytesMax: 0 },
  check: { type: 5, from: 'asker', bytesMin: 1, bytesMax: keyBytesMax },
  keys: { type: 6, from: 'asker', bytesMin: 13, bytesMax: 12 + namespaceBytesMax },
  head: { type: 17, from: 'holder', bytesMin: 24, bytesMax: 24 },
  data: { type: 18, from: 'holder', bytesMin: 1, bytesMax: dataBytesMax },
  pong: { type: 19, from: 'holder', bytesMin: 8, bytesMax: 8 },
  json: { type: 20, from: 'holder', bytesMin: 2, bytesMax: jsonBytesMax },
  fail: { type: 21, from: 'holder', bytesMin: 1, bytesMax: 1 },
} as const satisfies Readonly<Record<string, FrameType>>;

export type FrameName = keyof typeof frames;

/** What a holder says of a value before its bytes. */
export interface Head {
  readonly total: number;
  readonly checksum: number;
  readonly from: number;
  /** 0: for ever. */
  readonly leftMs: number;
}

export type Frame =
  | { readonly name: 'get'; readonly from: number; readonly key: string }
  | { readonly name: 'ping' | 'pong'; readonly bytes: Buffer }
  | { readonly name: 'probe'; readonly bytes: number }
  | { readonly name: 'namespaces' }
  | { readonly name: 'check'; readonly key: string }
  | ({ readonly name: 'keys' } & NewestAsk)
  | ({ readonly name: 'head' } & Head)
  /** Its payload has not been read: that is for whoever knows where it goes. */
  | { readonly name: 'data'; readonly length: number }
  | { readonly name: 'json'; readonly text: string }
  | { readonly name: 'fail'; readonly code: PeerFailure };

const byType = new Map<number, FrameName>(
  (Object.keys(frames) as FrameName[]).map((name) => [frames[name].type, name]),
);

/** A frame's header. Throws `garbage` or `excess`. */
const parseHeader = (bytes: Buffer, from: Side): { readonly name: FrameName; readonly length: number } => {
  const name = byType.get(bytes.readUInt8(0));
  if (name === undefined || bytes.readUIntLE(1, 3) !== 0)
    throw new PeerError('garbage', 'no frame begins so');
  const { bytesMin, bytesMax, ...frame } = frames[name];
  if (frame.from !== from) throw new PeerError('garbage', `${name} from the ${from}`);
  const length = bytes.readUInt32LE(4);
  if (length > bytesMax) throw new PeerError('excess', `${name} of ${length} bytes`);
  if (length < bytesMin) throw new PeerError('garbage', `${name} of ${length} bytes`);
  return { name, length };
};

/** A frame's payload, of the length that its header said. Throws `garbage` or `excess`. */
const parsePayload = (name: Exclude<FrameName, 'data'>, payload: Buffer): Frame => {
  switch (name) {
    case 'get':
      return { name, from: payload.readUInt32LE(0), key: payload.toString('latin1', 4) };
    case 'ping':
    case 'pong':
      return { name, bytes: payload };
    case 'probe': {
      const bytes = payload.readUInt32LE(0);
      if (bytes > probeBytesMax) throw new PeerError('excess', `a probe of ${bytes} bytes`);
      return { name, bytes };
    }
    case 'namespaces':
      return { name };
    case 'check':
      return { name, key: payload.toString('latin1') };
    case 'keys':
      return { name, ...newestAskIn(payload) };
    case 'head':
      return { name, ...headIn(payload) };
    case 'json':
      return { name, text: payload.toString('utf8') };
    case 'fail': {
      const code = toldFailures[payload.readUInt8(0)];
      if (code === undefined) throw new PeerError('garbage', 'a failure without a name');
      return { name, code };
    }
  }
};

const newestAskIn = (payload: Buffer): NewestAsk => {
  const [limit, after] = [payload.readUInt32LE(0), payload.readDoubleLE(4)];
  if (!Number.isSafeInteger(after) || after < 0)
    throw new PeerError('garbage', 'keys after nothing possible');
  return { namespace: payload.toString('latin1', 12), after, limit };
};

const headIn = (payload: Buffer): Head => {
  const [total, checksum, from, zero] = [0, 4, 8, 12].map((at) => payload.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const leftMs = payload.readDoubleLE(16);
  if (total > valueBytesMax) throw new PeerError('excess', `a value of ${total} bytes`);
  if (zero !== 0 || from > total || !Number.isFinite(leftMs) || leftMs < 0) {
    throw new PeerError('garbage', 'a head that says nothing possible');
  }
  return { total, checksum, from, leftMs };
};

/** Of a frame whose payload is so long. */
export const headerOf = (name: FrameName, length: number): Buffer => {
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUInt8(frames[name].type, 0);
  header.writeUInt32LE(length, 4);
  return header;
};

/** The whole of a frame that is not `data`. */
export const frameOf = (frame: Exclude<Frame, { readonly name: 'data' }>): Buffer => {
  const payload = payloadOf(frame);
  return Buffer.concat([headerOf(frame.name, payload.length), payload]);
};

const payloadOf = (frame: Exclude<Frame, { readonly name: 'data' }>): Buffer => {
  switch (frame.name) {
    case 'get': {
      const payload = Buffer.alloc(4 + frame.key.length);
      payload.writeUInt32LE(frame.from, 0);
      payload.write(frame.key, 4, 'latin1');
      return payload;
    }
    case 'ping':
    case 'pong':
      return frame.bytes;
    case 'probe': {
      const payload = Buffer.alloc(4);
      payload.writeUInt32LE(frame.bytes, 0);
      return payload;
    }
    case 'namespaces':
      return Buffer.alloc(0);
    case 'check':
      return Buffer.from(frame.key, 'latin1');
    case 'keys': {
      const payload = Buffer.alloc(12 + frame.namespace.length);
      payload.writeUInt32LE(frame.limit, 0);
      payload.writeDoubleLE(frame.after, 4);
      payload.write(frame.namespace, 12, 'latin1');
      return payload;
    }
    case 'head': {
      const payload = Buffer.alloc(24);
      payload.writeUInt32LE(frame.total, 0);
      payload.writeUInt32LE(frame.checksum, 4);
      payload.writeUInt32LE(frame.from, 8);
      payload.writeDoubleLE(frame.leftMs, 16);
      return payload;
    }
    case 'json':
      return Buffer.from(frame.text, 'utf8');
    case 'fail':
      return Buffer.from([(toldFailures as readonly PeerFailure[]).indexOf(frame.code)]);
  }
};

/** What the reader needs of a channel. */
export interface Source {
  fill(target: Buffer, msMax: number): Promise<boolean>;
}

export interface ReadTimes {
  /** Until the frame begins, and between its bytes. */
  readonly firstMsMax: number;
  readonly stallMsMax: number;
}

/** The next frame; undefined: the other end has ended, in order. */
export const readFrame = async (
  source: Source,
  from: Side,
  { firstMsMax, stallMsMax }: ReadTimes,
): Promise<Frame | undefined> => {
  const header = Buffer.alloc(frameHeaderBytes);
  if (!(await source.fill(header, firstMsMax))) return undefined;
  const { name, length } = parseHeader(header, from);
  if (name === 'data') return { name, length };
  const payload = Buffer.alloc(length);
  if (length > 0 && !(await source.fill(payload, stallMsMax))) throw new PeerError('cut');
  return parsePayload(name, payload);
};
