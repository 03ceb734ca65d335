/**
 * What a peer that frames rightly and speaks nonsense may send: any type on any stream, with payloads that are valid,
 * nearly valid, or random. Plain random bytes never get that far: they end at the first header. Only tests import it.
 */
import fc from 'fast-check';
import { joinBytes, utf8 } from '../src/bytes.ts';
import {
  bodyOffsetBytes,
  decodeOpenPayload,
  encodeCredit,
  encodeOpenPayload,
  frameTypes,
  writeBodyOffset,
} from '../src/frame.ts';
import { encodeKvDelta, encodeKvMark, encodeKvSnapshot, encodeKvWant, tiers } from '../src/kv.ts';
import { cancelReasons, encodeCancel } from '../src/link.ts';
import { plainProfile, profileMessage } from '../src/prefix/profile.ts';
import { errorOf, json, type PlainFrame } from './bytes-in-pieces.ts';
import type { FrameName } from './golden-frames.ts';

/** Body bytes at the offset that is due when they are sent, or a payload as it is. */
type NoisePayload = Uint8Array | { readonly dueBytes: number };

export interface NoiseFrame extends Omit<PlainFrame, 'payload'> {
  readonly payload: NoisePayload;
}

const replica = { name: 'r0', state: 'ready', models: [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }] };
const windows = { streamWindowBytes: 65_536, linkWindowBytes: 1_048_576 };
const record = { bodyBytes: 3, totalMs: 5, firstByteMs: 1, usage: { promptTokens: 1, completionTokens: 2 } };

/** The JSON of each message that has one, as it should be. */
const messages: Partial<Record<FrameName, object>> = {
  hello: { versionMin: 1, versionMax: 1, agent: 'a', name: 'n', ...windows, replicas: [replica] },
  welcome: { version: 1, epoch: 3, region: 'local', heartbeatMs: 3000, leaseMs: 10_000, ...windows },
  replicas: { replicas: [replica] },
  goaway: { code: 'leaving', message: 'bye' },
  head: { status: 200, headers: [['content-type', 'text/event-stream']] },
  end: record,
  fail: { code: 'engine_broke_off', message: 'broke', record },
  telemetry: {
    rttMs: 42,
    replicas: [{ name: 'r0', running: 3, waiting: 1, othersRunning: 1, kvPermille: 250, gpus: [0, 1] }],
    gpus: [
      { gpu: 0, id: 'GPU-1', memoryMiB: 80_000, memoryUsedMiB: 9, watts: 300, celsius: 40, busyPercent: 5 },
    ],
  },
  kvfeed: { feed: 0, replica: 'r0', model: 'm', trust: 'exact', profile: profileMessage(plainProfile) },
};
const openBody = '{"model":"m","x":1}';
const open = {
  ...{ requestId: 'r', replica: 'r0', path: '/v1/chat/completions', model: 'm', stream: true, headers: [] },
  ...{ bodyBytes: openBody.length, spans: { model: [9, 12] }, remainingMs: 1000 },
};

/** Every place in a JSON value, the whole of it left out. */
const placesIn = (value: unknown, path: readonly string[] = []): (readonly string[])[] =>
  typeof value !== 'object' || value === null
    ? []
    : Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...placesIn(inner, [...path, key])]);

const oddValue = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, true, -1, 0.5, 2 ** 53, 1e300, '', 'x'.repeat(5000), [], {}),
  fc.constantFrom<unknown>('ready', 'leaving', 'constructor', 0, 1, 600, [[0, 1]], [['a', 'b']], [null]),
  fc.jsonValue({ maxDepth: 2 }),
);

/** The message with one of its values, deep or not, replaced or gone. */
const withOddValue = (message: object): fc.Arbitrary<object> =>
  fc.tuple(fc.constantFrom(...placesIn(message)), oddValue).map(([path, odd]) => {
    const changed = structuredClone(message);
    let at = changed as Record<string, unknown>;
    for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
    at[path.at(-1) ?? ''] = odd;
    return changed;
  });

const oddly = (message: object): fc.Arbitrary<object> =>
  fc.oneof({ weight: 15, arbitrary: fc.constant(message) }, withOddValue(message));

const offsetOf = (offset: number): Uint8Array => {
  const bytes = new Uint8Array(bodyOffsetBytes);
  writeBodyOffset(bytes, 0, offset);
  return bytes;
};

const bodyPayload: fc.Arbitrary<NoisePayload> = fc.oneof(
  { weight: 15, arbitrary: fc.constantFrom(0, 1, 7, 1000).map((dueBytes) => ({ dueBytes })) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.maxSafeNat(), fc.uint8Array({ maxLength: 9 }))
      .map(([offset, bytes]) => joinBytes([offsetOf(offset), bytes])),
  },
);

/** Few, so that some name a stream that is there, and some come twice. */
export const noiseTokens = ['a1', 'b2', 'c3', 'd4'].map((pair) => pair.repeat(16));

const claim = fc
  .record({ token: fc.constantFrom(...noiseTokens), offset: fc.constantFrom(0, 0, 1, 500, 3000) })
  .chain(oddly);

const openMeta = fc
  .constantFrom(undefined, undefined, undefined, undefined, ...noiseTokens)
  .chain((resume) => oddly({ ...open, ...(resume === undefined ? {} : { resume }) }));

const openPayload: fc.Arbitrary<Uint8Array> = fc
  .tuple(openMeta, fc.constantFrom('', '{', openBody, openBody, openBody))
  .map(([meta, body]) => encodeOpenPayload(json(meta), utf8(body)));

const small = fc.nat(3);
const blocks = fc.array(
  fc.record({
    tier: fc.constantFrom(...tiers),
    digests: fc.array(fc.nat(9), { maxLength: 4 }).map((words) => Uint32Array.from([...words, ...words])),
  }),
  { maxLength: 2 },
);
const kvPayloads: Partial<Record<FrameName, fc.Arbitrary<Uint8Array>>> = {
  kvwant: fc.record({ feed: small, request: small }).map(encodeKvWant),
  kvmark: fc.record({ feed: small, sequence: small }).map(encodeKvMark),
  kvdelta: fc
    .record({ feed: small, sequence: small, isCleared: fc.boolean(), added: blocks, removed: blocks })
    .map(encodeKvDelta),
  kvsnapshot: fc
    .record({ feed: small, request: small, sequence: small, part: small, isLast: fc.boolean(), blocks })
    .map(encodeKvSnapshot),
};

/** A payload of that type as it should be, or with one thing in its meaning wrong. */
const meaningful = (name: FrameName): fc.Arbitrary<NoisePayload> => {
  if (name === 'data' || name === 'body') return bodyPayload;
  if (name === 'open') return openPayload;
  if (name === 'resume') return claim.map(json);
  if (name === 'credit') return fc.constantFrom(0, 1, 50, 5000, 2 ** 20, 2 ** 32 - 1).map(encodeCredit);
  if (name === 'cancel') return fc.constantFrom(...cancelReasons).map(encodeCancel);
  const message = messages[name];
  const kvPayload = kvPayloads[name];
  if (kvPayload !== undefined) return kvPayload;
  return message === undefined ? fc.constant(new Uint8Array()) : oddly(message).map(json);
};

/** The same bytes with one of them changed, or an end of them gone. */
const damaged = (payload: NoisePayload): fc.Arbitrary<NoisePayload> =>
  payload instanceof Uint8Array && payload.length > 0
    ? fc
        .tuple(fc.nat(payload.length - 1), fc.nat(255), fc.boolean())
        .map(([at, byte, isCut]) => (isCut ? payload.slice(0, at) : payload.with(at, byte)))
    : fc.constant(payload);

const payloadOf = (name: FrameName): fc.Arbitrary<NoisePayload> =>
  fc.oneof(
    { weight: 25, arbitrary: meaningful(name) },
    { weight: 1, arbitrary: meaningful(name).chain(damaged) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  );

/** Streams that may be live come often, the link itself and far ones now and then. */
const stream = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 5, 2 ** 31, 2 ** 32 - 1) },
);
const flags = fc.constantFrom(0, 0, 1, 1, 0xff);

const names = Object.keys(frameTypes) as FrameName[];

const known = (name: FrameName): fc.Arbitrary<NoiseFrame> =>
  fc.record({ type: fc.constant(frameTypes[name]), flags, stream, payload: payloadOf(name) });

/** A first frame that may be wrong; undefined where the greeting is as it should be. */
export const greeting = (name: FrameName): fc.Arbitrary<NoiseFrame | undefined> =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, known(name));

/** Frames in order; those `often` named come more often than the others, and unknown types come, too. */
export const noise = (often: readonly FrameName[]): fc.Arbitrary<NoiseFrame[]> => {
  const unknown = fc.record({
    type: fc.integer({ min: 0, max: 255 }),
    flags,
    stream,
    payload: fc.uint8Array({ maxLength: 40 }) as fc.Arbitrary<NoisePayload>,
  });
  const frame: fc.Arbitrary<NoiseFrame> = fc.oneof(
    ...names.map((name) => ({ weight: often.includes(name) ? 10 : 1, arbitrary: known(name) })),
    { weight: 1, arbitrary: unknown },
  );
  return fc.array(frame, { minLength: 6, maxLength: 16, size: 'max' });
};

/** Noise as frames: offsets that are due are counted, per stream, from where an OPEN among them left off. */
export const plainFrames = (frames: readonly NoiseFrame[]): PlainFrame[] => {
  const due = new Map<number, number>();
  return frames.map(({ type, flags: flagged, stream: id, payload }) => {
    if (!(payload instanceof Uint8Array)) {
      const offset = due.get(id) ?? 0;
      due.set(id, offset + payload.dueBytes);
      const bytes = joinBytes([offsetOf(offset), new Uint8Array(payload.dueBytes)]);
      return { type, flags: flagged, stream: id, payload: bytes };
    }
    if (type === frameTypes.open && !due.has(id)) {
      errorOf(() => due.set(id, decodeOpenPayload(payload).body.length));
    }
    return { type, flags: flagged, stream: id, payload };
  });
};
