/**
 * An agent that obeys nothing: it can sign a dial as the protocol says, or not quite, and then writes whatever frames
 * it likes. Written from docs/protocol.md on `ws` and the protocol package, with no code of the real agent.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import {
  type Frame,
  FrameDecoder,
  frameHeaderBytes,
  frameTypes,
  writeFrameHeader,
} from '@cognitora/protocol/frame';
import { type Dial, dialText, enrolmentText, formatDial, nodeIdOf } from '@cognitora/protocol/identity';
import { linkStream, type NodeId, type Region, type StreamId } from '@cognitora/protocol/ids';
import {
  encodeJson,
  enrolPath,
  type Hello,
  linkPath,
  parseGoaway,
  versionMax,
  versionMin,
} from '@cognitora/protocol/link';
import WebSocket from 'ws';
import type { Cluster } from '../harness/cluster.ts';
import { until } from '../harness/until.ts';

export interface Forger {
  readonly node: NodeId;
  readonly publicKey: string;
  readonly privateKey: KeyObject;
  certificate: string;
}

export const newForger = (): Forger => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const publicKey = privateKey.export({ format: 'jwk' }).x ?? '';
  const digest = createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest();
  return { node: nodeIdOf(digest), publicKey, privateKey, certificate: 'AAAA' };
};

const signed = (forger: Forger, text: Uint8Array): string =>
  sign(null, text, forger.privateKey).toString('base64url');

/** Enrols as a real host would; the answer's status says how that went. */
export const enrol = async (cluster: Cluster, forger: Forger, joinToken: string): Promise<number> => {
  const signature = signed(forger, enrolmentText(cluster.url, forger.publicKey));
  const answer = await fetch(cluster.url + enrolPath, {
    method: 'POST',
    headers: { authorization: `Bearer ${joinToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ publicKey: forger.publicKey, name: 'forger', signature }),
  });
  const { certificate = 'AAAA' } = (await answer.json()) as { certificate?: string };
  forger.certificate = certificate;
  return answer.status;
};

export const newEnrolled = async (cluster: Cluster): Promise<Forger> => {
  const { joinToken } = await cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
  const forger = newForger();
  const status = await enrol(cluster, forger, joinToken);
  if (status !== 200) throw new Error(`the enrolment was answered ${status}`);
  return forger;
};

/** The `Authorization` of a dial for that origin; `claims` replaces what it says of itself after it was signed. */
export const dialHeader = (
  forger: Forger,
  origin: string,
  claims: Partial<Dial> = {},
  region = '',
): string => {
  const dial = {
    node: forger.node,
    timeMs: claims.timeMs ?? Date.now(),
    nonce: randomBytes(18).toString('base64url'),
  };
  const signature = signed(forger, dialText(origin, region as Region | '', dial));
  const { publicKey, certificate } = forger;
  return formatDial({ ...dial, publicKey, certificate, signature, ...claims });
};

export interface Refused {
  readonly status: number;
  readonly text: string;
}

/** The peer's end of a link: raw frames out, what the edge says in. */
export class Attacker {
  readonly frames: Frame[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #decoder = new FrameDecoder();
  #sequence = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (message: Buffer, isBinary: boolean) => {
      // A view of a pooled buffer would change under a frame that is kept.
      if (isBinary) this.#decoder.push(Uint8Array.from(message), (frame) => this.frames.push(frame));
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    socket.on('error', () => {});
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array | string): void {
    this.#socket.send(bytes);
  }

  /** A frame, in order unless told otherwise. */
  frame(type: number, payload: Uint8Array, stream = 0, lies: Lies = {}): void {
    this.#socket.send(this.#frameBytes(type, payload, stream, lies));
  }

  /** Frames of one type in one message, which is handled before anything else is. */
  together(type: number, payloads: readonly Uint8Array[], stream: number): void {
    this.#socket.send(Buffer.concat(payloads.map((payload) => this.#frameBytes(type, payload, stream, {}))));
  }

  #frameBytes(type: number, payload: Uint8Array, stream: number, lies: Lies): Uint8Array {
    const message = new Uint8Array(frameHeaderBytes + payload.length);
    writeFrameHeader(message, 0, {
      type,
      flags: 0,
      stream: stream as StreamId,
      sequence: lies.sequence ?? this.#sequence,
      payloadBytes: lies.payloadBytes ?? payload.length,
    });
    this.#sequence += 1;
    message.set(payload, frameHeaderBytes);
    return message;
  }

  hello(changes: Partial<Hello> = {}): void {
    const hello: Hello = {
      versionMin,
      versionMax,
      agent: 'attacker/1',
      name: 'attacker',
      streamWindowBytes: 65_536,
      linkWindowBytes: 1_048_576,
      replicas: [],
      ...changes,
    };
    this.frame(frameTypes.hello, encodeJson(hello), linkStream);
  }

  async welcomed(): Promise<this> {
    this.hello();
    await until('WELCOME', () => this.frames.some(({ type }) => type === frameTypes.welcome));
    return this;
  }

  /** The edge's closing frame is here, or the connection is gone. */
  get isClosing(): boolean {
    return this.#socket.readyState >= WebSocket.CLOSING;
  }

  /** The codes of the GOAWAYs it got. */
  get goaways(): readonly string[] {
    return this.frames
      .filter(({ type }) => type === frameTypes.goaway)
      .map(({ payload }) => parseGoaway(payload).code);
  }

  /** Bytes that the edge did not take yet. */
  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  close(): void {
    this.#socket.terminate();
  }
}

export interface Lies {
  readonly sequence?: number;
  readonly payloadBytes?: number;
}

/** Dials; the link, or what the edge says instead. */
export const dial = (cluster: Cluster, authorization: string): Promise<Attacker | Refused> =>
  new Promise((accept) => {
    const socket = new WebSocket(cluster.url.replace('http', 'ws') + linkPath, {
      headers: { authorization },
    });
    socket.once('open', () => accept(attacker));
    const attacker = new Attacker(socket);
    socket.once('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (part: Buffer) => {
        text += part.toString();
      });
      response.once('end', () => accept({ status: response.statusCode ?? 0, text }));
    });
  });

export const dialAs = async (cluster: Cluster, forger: Forger): Promise<Attacker> => {
  const link = await dial(cluster, dialHeader(forger, cluster.url));
  if (link instanceof Attacker) return link;
  throw new Error(`the dial was refused: ${link.status} ${link.text}`);
};
