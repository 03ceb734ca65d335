/**
 * Frames from what they mean and back: the reading of the golden vectors. Another implementation needs just this.
 */
import { utf8 } from '../src/bytes.ts';
import {
  bodyOffsetBytes,
  decodeBody,
  decodeCredit,
  decodeOpenPayload,
  encodeCredit,
  encodeOpenPayload,
  frameTypes,
  writeBodyOffset,
} from '../src/frame.ts';
import {
  encodeKvDelta,
  encodeKvFeed,
  encodeKvMark,
  encodeKvSnapshot,
  encodeKvWant,
  type KvBlocks,
  type KvDelta,
  type KvFeedOpen,
  type KvSnapshotPart,
  parseKvDelta,
  parseKvFeed,
  parseKvMark,
  parseKvSnapshot,
  parseKvWant,
} from '../src/kv.ts';
import {
  encodeKvAsk,
  encodeKvFabric,
  encodeKvHeld,
  encodeKvHolders,
  encodeKvPeer,
  type KvAsk,
  type KvHeld,
  parseKvAsk,
  parseKvFabric,
  parseKvHeld,
  parseKvHolders,
  parseKvPeer,
} from '../src/kv-fabric.ts';
import {
  type CancelReason,
  encodeCancel,
  encodeJson,
  type Hello,
  parseCancel,
  parseFinalRecord,
  parseGoaway,
  parseHead,
  parseHello,
  parseOpenRequest,
  parseReplicas,
  parseResume,
  parseStreamFailure,
  parseWelcome,
} from '../src/link.ts';
import { profileMessage } from '../src/prefix/profile.ts';
import { parseTelemetry } from '../src/telemetry.ts';
import { frameBytes, text } from './bytes-in-pieces.ts';

export type FrameName = keyof typeof frameTypes;

export interface GoldenFrame {
  readonly name: string;
  readonly type: FrameName;
  readonly flags: number;
  readonly stream: number;
  readonly sequence: number;
  readonly payload: object;
}

interface Codec {
  readonly encode: (payload: never) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => object;
}

const jsonCodec = (parse: (bytes: Uint8Array) => object): Codec => ({
  encode: (payload: Hello) => encodeJson(payload),
  decode: parse,
});

const bodyCodec: Codec = {
  encode: ({ offset, text: body }: { readonly offset: number; readonly text: string }) => {
    const bytes = utf8(body);
    const payload = new Uint8Array(bodyOffsetBytes + bytes.length);
    writeBodyOffset(payload, 0, offset);
    payload.set(bytes, bodyOffsetBytes);
    return payload;
  },
  decode: (payload) => {
    const { offset, bytes } = decodeBody(payload);
    return { offset, text: text(bytes) };
  },
};

/** Digests as hexadecimal digits, in the order of their bytes on the wire. */
interface HexBlocks {
  readonly tier: KvBlocks['tier'];
  readonly digests: readonly string[];
}

export const digestHex = (digests: Uint32Array): string[] =>
  Array.from({ length: digests.length / 2 }, (_, at) =>
    Buffer.from(digests.slice(2 * at, 2 * at + 2).buffer).toString('hex'),
  );

const digestsOfHex = (digests: readonly string[]): Uint32Array =>
  new Uint32Array(Uint8Array.from(Buffer.from(digests.join(''), 'hex')).buffer);

const inHex = (blocks: readonly KvBlocks[]): HexBlocks[] =>
  blocks.map(({ tier, digests }) => ({ tier, digests: digestHex(digests) }));

const outOfHex = (blocks: readonly HexBlocks[]): KvBlocks[] =>
  blocks.map(({ tier, digests }) => ({ tier, digests: digestsOfHex(digests) }));

type InHex<Message, Lists extends keyof Message> = Omit<Message, Lists> & Record<Lists, HexBlocks[]>;

type DigestsInHex<Message, Lists extends keyof Message> = Omit<Message, Lists> &
  Record<Lists, readonly string[]>;

const kvCodecs = {
  kvwant: { encode: encodeKvWant, decode: parseKvWant },
  kvfeed: {
    /** The payload has the profile's facts as they cross the link, without its id. */
    encode: (open: KvFeedOpen) => encodeKvFeed(open),
    decode: (payload) => {
      const open = parseKvFeed(payload);
      return { ...open, profile: profileMessage(open.profile) };
    },
  },
  kvdelta: {
    encode: ({ added, removed, ...head }: InHex<KvDelta, 'added' | 'removed'>) =>
      encodeKvDelta({ ...head, added: outOfHex(added), removed: outOfHex(removed) }),
    decode: (payload) => {
      const { added, removed, ...head } = parseKvDelta(payload);
      return { ...head, added: inHex(added), removed: inHex(removed) };
    },
  },
  kvsnapshot: {
    encode: ({ blocks, ...head }: InHex<KvSnapshotPart, 'blocks'>) =>
      encodeKvSnapshot({ ...head, blocks: outOfHex(blocks) }),
    decode: (payload) => {
      const { blocks, ...head } = parseKvSnapshot(payload);
      return { ...head, blocks: inHex(blocks) };
    },
  },
  kvmark: { encode: encodeKvMark, decode: parseKvMark },
  telemetry: jsonCodec(parseTelemetry),
  kvpeer: { encode: encodeKvPeer, decode: parseKvPeer },
  kvheld: {
    encode: ({ added, removed, isCleared }: DigestsInHex<KvHeld, 'added' | 'removed'>) =>
      encodeKvHeld({ isCleared, added: digestsOfHex(added), removed: digestsOfHex(removed) }),
    decode: (payload) => {
      const { added, removed, isCleared } = parseKvHeld(payload);
      return { isCleared, added: digestHex(added), removed: digestHex(removed) };
    },
  },
  kvask: {
    encode: ({ ask, digests }: DigestsInHex<KvAsk, 'digests'>) =>
      encodeKvAsk({ ask, digests: digestsOfHex(digests) }),
    decode: (payload) => {
      const { ask, digests } = parseKvAsk(payload);
      return { ask, digests: digestHex(digests) };
    },
  },
  kvfabric: { encode: encodeKvFabric, decode: parseKvFabric },
  kvholders: { encode: encodeKvHolders, decode: parseKvHolders },
} satisfies Partial<Record<FrameName, Codec>>;

export const codecs: Readonly<Record<FrameName, Codec>> = {
  hello: jsonCodec(parseHello),
  welcome: jsonCodec(parseWelcome),
  replicas: jsonCodec((bytes) => ({ replicas: parseReplicas(bytes) })),
  goaway: jsonCodec(parseGoaway),
  credit: {
    encode: ({ bytes }: { readonly bytes: number }) => encodeCredit(bytes),
    decode: (payload) => ({ bytes: decodeCredit(payload) }),
  },
  open: {
    encode: ({ meta, body }: { readonly meta: Hello; readonly body: string }) =>
      encodeOpenPayload(encodeJson(meta), utf8(body)),
    decode: (payload) => {
      const { meta, body } = decodeOpenPayload(payload);
      return { meta: parseOpenRequest(meta), body: text(body) };
    },
  },
  body: bodyCodec,
  cancel: {
    encode: ({ reason }: { readonly reason: CancelReason }) => encodeCancel(reason),
    decode: (payload) => ({ reason: parseCancel(payload) }),
  },
  resume: jsonCodec(parseResume),
  ack: { encode: () => new Uint8Array(), decode: () => ({}) },
  head: jsonCodec(parseHead),
  data: bodyCodec,
  end: jsonCodec(parseFinalRecord),
  fail: jsonCodec(parseStreamFailure),
  ...kvCodecs,
};

export const encodeFrame = ({ type, flags, stream, sequence, payload }: GoldenFrame): Uint8Array =>
  frameBytes(
    { type: frameTypes[type], flags, stream, payload: codecs[type].encode(payload as never) },
    sequence,
  );
