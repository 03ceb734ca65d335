/**
 * One request served as the agent serves it, and all that the edge, and who watches, would hear of it. Only tests
 * import it.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import type { FinalRecord, ResponseHead, StreamFailure } from '@cognitora/protocol/link';
import { parseInferenceRequest } from '@cognitora/protocol/openai';
import { type Volunteered, volunteersNothing } from '@cognitora/protocol/volunteered';
import type { Engine } from '../src/engines/engine.ts';
import { ServedRequest } from '../src/serve.ts';
import { deferred } from './http-engine.ts';
import { openOf } from './scripted-edge.ts';

export const path = '/v1/chat/completions';

/** What a stream is made of. */
export const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
export const chunk = event({ model: 'm', choices: [{ delta: { content: 'Hi' } }] });
export const usageChunk = event({
  model: 'm',
  choices: [],
  usage: { prompt_tokens: 5, completion_tokens: 2 },
});
export const doneEvent = 'data: [DONE]\n\n';

export interface Serving {
  readonly engine: Engine;
  readonly request: string;
  readonly served?: string;
  readonly volunteered?: Volunteered | 'unknown';
  /** Cut the request's body into pieces of this size. */
  readonly pieceBytes?: number;
  readonly remainingMs?: number;
  readonly query?: string;
  /** The request ends with a part of the answer. */
  readonly isContinued?: boolean;
  /** Who watches holds the request back until then. */
  readonly ready?: Promise<void>;
  /** Whether the link has room for more. */
  readonly hasRoom?: () => boolean;
}

/** Serves one request and writes down what the edge would hear. */
export const serve = ({
  engine,
  request,
  served = 'm',
  volunteered = volunteersNothing,
  ...more
}: Serving) => {
  const body = utf8(request);
  const { model, stream, spans: found } = parseInferenceRequest('/v1/chat/completions', [body]);
  const spans = { ...found, ...(more.isContinued ? { continue: body.lastIndexOf(0x7d) } : {}) };
  const time = { nowMs: 5000 };
  const heads: ResponseHead[] = [];
  const parts: Uint8Array[] = [];
  const ends: (FinalRecord | StreamFailure)[] = [];
  /** What a watch sees. */
  const seen: string[] = [];
  const over = deferred();
  const firstBytes = deferred();
  let consumed = 0;
  const running: ServedRequest = new ServedRequest({
    engine,
    model: { served, volunteered: volunteered === 'unknown' ? undefined : new Map([[path, volunteered]]) },
    open: openOf(body.length, {
      model,
      stream,
      spans,
      path,
      ...(more.query === undefined ? {} : { query: more.query }),
      remainingMs: more.remainingMs ?? 3_600_000,
      headers: [
        ['content-type', 'application/json'],
        ['x-request-id', 'req-1'],
      ],
    }),
    reply: {
      head: (head) => heads.push(head),
      data: (bytes) => {
        parts.push(bytes.slice());
        firstBytes.resolve();
        return more.hasRoom?.() ?? true;
      },
      end: (record) => ends.push(record),
      fail: (failure) => ends.push(failure),
      consumed: (bytes) => {
        consumed += bytes;
      },
    },
    clock: { wallMs: () => 0, monotonicMs: () => time.nowMs },
    onOver: () => over.resolve(),
    watch: {
      ready: more.ready,
      body: (bytes, last) => seen.push(`body ${bytes.length}${last ? ' last' : ''}`),
      head: (status) => seen.push(`head ${status}`),
      data: (bytes) => seen.push(Buffer.from(bytes).toString()),
      ended: (isClean, usage) => seen.push(`ended ${isClean ? 'clean' : 'early'} ${usage?.promptTokens}`),
    },
  });
  const piece = more.pieceBytes ?? body.length;
  for (let at = 0; at < body.length; at += piece) {
    running.body(body.subarray(at, at + piece), at + piece >= body.length);
  }
  return {
    running,
    seen,
    time,
    heads,
    ends,
    over: over.promise,
    firstBytes: firstBytes.promise,
    text: () => Buffer.concat(parts).toString(),
    bytes: () => parts.reduce((sum, part) => sum + part.length, 0),
    consumed: () => consumed,
    sweepAfter: (ms: number) => {
      time.nowMs += ms;
      running.sweep(time.nowMs);
    },
  };
};
