/** One request served by the agent's own code against an engine, with all that the edge would hear of it. */

import type { Engine } from '../../node-agent/src/engines/engine.ts';
import { ServedRequest } from '../../node-agent/src/serve.ts';
import { openOf } from '../../node-agent/testing/scripted-edge.ts';
import { utf8 } from '../../protocol/src/bytes.ts';
import type { ErrorCode } from '../../protocol/src/errors.ts';
import type { ResponseHead, Usage } from '../../protocol/src/link.ts';
import { type InferencePath, parseInferenceRequest } from '../../protocol/src/openai.ts';
import { until } from '../harness/until.ts';

export interface Served {
  readonly heads: readonly ResponseHead[];
  readonly text: () => string;
  /** Resolves when it is over. */
  readonly over: Promise<{ readonly code: ErrorCode | undefined; readonly usage: Usage | undefined }>;
  readonly firstBytes: () => Promise<unknown>;
  readonly cancel: () => void;
  /** As if so much time had passed. */
  readonly sweepAfter: (ms: number) => void;
}

let count = 0;

export const serve = (engine: Engine, request: Readonly<Record<string, unknown>>): Served => {
  const path: InferencePath = request.messages === undefined ? '/v1/completions' : '/v1/chat/completions';
  const body = utf8(JSON.stringify(request));
  const { model, stream, spans } = parseInferenceRequest(path, [body]);
  const served = engine.use(model);
  if (served === undefined) throw new Error(`the engine does not serve ${model}`);
  let nowMs = 0;
  const heads: ResponseHead[] = [];
  const parts: Uint8Array[] = [];
  let tell: (end: Awaited<Served['over']>) => void = () => {};
  const over = new Promise<Awaited<Served['over']>>((resolve) => {
    tell = resolve;
  });
  count += 1;
  const running: ServedRequest = new ServedRequest({
    engine,
    model: served,
    open: openOf(body.length, {
      ...{ model, stream, spans, path, remainingMs: Number.MAX_SAFE_INTEGER },
      headers: [
        ['content-type', 'application/json'],
        ['x-request-id', `req-${count}`],
      ],
    }),
    reply: {
      head: (head) => heads.push(head),
      data: (bytes) => {
        parts.push(bytes.slice());
        return true;
      },
      end: ({ usage }) => tell({ code: undefined, usage }),
      fail: ({ code, record }) => tell({ code, usage: record.usage }),
      consumed: () => {},
    },
    clock: { wallMs: () => 0, monotonicMs: () => nowMs },
    onOver: () => {},
  });
  running.body(body, true);
  return {
    heads,
    over,
    text: () => Buffer.concat(parts).toString(),
    firstBytes: () => until('the first bytes of an answer', () => parts.length > 0),
    cancel: () => running.cancel(),
    sweepAfter: (ms) => {
      nowMs += ms;
      running.sweep(nowMs);
    },
  };
};
