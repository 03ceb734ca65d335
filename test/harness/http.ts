/**
 * HTTP as bytes: what was sent and what came, unread and undecoded, with the time of each piece. Where the SDK or
 * `fetch` would help (decompression, joined headers, retries), a test of bytes must not be helped.
 */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import type { Socket } from 'node:net';

export interface SendOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
  /** Send the body without content-length. */
  readonly chunked?: boolean;
  /** The client's own socket, to hang up with. */
  readonly onSocket?: (socket: Socket) => void;
  /** Called with each piece as it comes; return false to hang up. */
  readonly onPiece?: (bytes: Buffer) => boolean;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Whether HTTP says that the whole body came. */
  readonly isWhole: boolean;
  /** Since the request was sent: to the headers, and to each piece of the body. */
  readonly headersMs: number;
  readonly pieces: readonly { readonly atMs: number; readonly bytes: Buffer }[];
}

const sockets = new Agent({ keepAlive: false });

/** Rejects only when no answer begins; an answer that breaks off resolves with `isWhole` false. */
export const send = (url: string, options: SendOptions = {}): Promise<RawAnswer> =>
  new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const body = Buffer.from(options.body ?? '');
    const method = options.method ?? (options.body === undefined ? 'GET' : 'POST');
    const length = options.chunked || method === 'GET' ? {} : { 'content-length': String(body.length) };
    const outgoing = request(url, { method, agent: sockets, headers: { ...length, ...options.headers } });
    if (options.onSocket !== undefined) outgoing.on('socket', options.onSocket);
    let answered = false;
    outgoing.on('error', (error) => {
      if (!answered) reject(error);
    });
    outgoing.on('response', (incoming) => {
      answered = true;
      const headersMs = performance.now() - startedMs;
      const pieces: { atMs: number; bytes: Buffer }[] = [];
      incoming.on('data', (bytes: Buffer) => {
        pieces.push({ atMs: performance.now() - startedMs, bytes });
        if (options.onPiece?.(bytes) === false) outgoing.destroy();
      });
      incoming.on('error', () => {});
      incoming.on('close', () => {
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(pieces.map((piece) => piece.bytes)),
          isWhole: incoming.complete,
          headersMs,
          pieces,
        });
      });
    });
    outgoing.end(body);
  });

/** The body as JSON of a shape that the test claims. */
export const jsonOf = <Shape = Record<string, unknown>>(answer: { readonly body: Buffer }): Shape =>
  JSON.parse(answer.body.toString('utf8')) as Shape;

/** An OpenAI-shaped error body. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly code: string;
    readonly param: unknown;
  };
}

let nextId = 1;

/** An `x-request-id` no other request of this run has. */
export const freshId = (): string => {
  nextId += 1;
  return `test-${process.pid}-${nextId}`;
};
