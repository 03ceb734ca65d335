/**
 * How another replica goes on with an answer that broke off: the request that asks for the rest of it, or why none can
 * be made, in words for the client. Pure.
 */
import type { InferencePath } from '@cognitora/protocol/openai';
import type { AttemptBody } from './attempt.ts';
import { continuationOf } from './continuation.ts';
import type { Sent } from './sent-stream.ts';

export interface RestOptions {
  readonly path: InferencePath;
  /** The client's body; undefined when it is not here any more. */
  readonly body: Uint8Array | undefined;
  /** The client does not want it. */
  readonly isRefused: boolean;
}

export type Rest = AttemptBody | 'spent' | { readonly because: string };

const refusals: Readonly<Record<string, string>> = {};

export const restOf = (sent: Sent, { path, body, isRefused }: RestOptions): Rest => {
  if (isRefused) return { because: 'the request says so' };
  if (body === undefined) return { because: 'the request is too large to be kept' };
  if (sent.blocker !== undefined) return { because: refusals[sent.blocker] ?? sent.blocker };
  const continuation = continuationOf(path, body, sent);
  if (continuation === 'spent') return 'spent';
  const { body: bytes, spans } = continuation;
  return { bytes: bytes.length, spans, toSend: () => bytes };
};
