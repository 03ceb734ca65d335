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
  parseStreamFailure,
  parseWelcome,
} from '../src/link.ts';
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
  ack: { encode: () => new Uint8Array(), decode: () => ({}) },
  head: jsonCodec(parseHead),
  data: bodyCodec,
  end: jsonCodec(parseFinalRecord),
  fail: jsonCodec(parseStreamFailure),
};

export const encodeFrame = ({ type, flags, stream, sequence, payload }: GoldenFrame): Uint8Array =>
  frameBytes(
    { type: frameTypes[type], flags, stream, payload: codecs[type].encode(payload as never) },
    sequence,
  );
