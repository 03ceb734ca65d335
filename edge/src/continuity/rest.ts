/**
 * How another replica goes on with an answer that broke off: the request that asks for the rest of it, or why none can
 * be made, in words for the client. Pure.
 */
import type { InferencePath } from '@cognitora/protocol/openai';
import { parseJsonRecord } from '@cognitora/protocol/shape';
import type { AttemptBody } from './attempt.ts';
import { type RequestBlocker, requestBlockerOf } from './continuable.ts';
import { continuationOf } from './continuation.ts';
import type { Seam, Sent, SentBlocker } from './sent.ts';

export interface RestOptions {
  readonly path: InferencePath;
  /** The client's body; undefined when it is not here any more. */
  readonly body: Uint8Array | undefined;
  /** The client does not want it. */
  readonly isRefused: boolean;
  /** It is over when one choice has ended: some engines begin the next of several when the last one has. */
  readonly isOneAnswer: boolean;
}

/** A request and where its answer is joined, `spent` where nothing but the end is missing, or why there is none. */
export type Rest =
  | { readonly body: AttemptBody; readonly seam: Seam }
  | 'spent'
  | { readonly because: string };

const words: Readonly<Record<SentBlocker | RequestBlocker | 'unreadable', string>> = {
  tool_call: 'a tool call has begun',
  function_call: 'a function call has begun',
  reasoning: 'the model has begun to reason',
  choices: 'the request asks for several answers',
  logprobs: 'the request asks for log probabilities',
  refusal: 'the model has begun to refuse',
  audio: 'the request asks for audio',
  unreadable: 'what was said, or asked, cannot be read',
  too_long: 'the answer is too long',
  endpoint: 'the endpoint writes no text',
  token_ids: 'the request asks for the ids of tokens',
  structured_output: 'the answer has a prescribed form',
  tool_choice: 'the request prescribes a tool call',
  echo: 'the request asks for its prompt back',
  suffix: 'the request has a suffix',
  prompt: 'text cannot be put behind its prompt',
  no_limit: 'the request sets no limit of tokens',
};

export const restOf = (sent: Sent, { path, body, isRefused, isOneAnswer }: RestOptions): Rest => {
  if (sent.finishReason !== undefined && isOneAnswer) return 'spent';
  if (isRefused) return { because: 'the request says so' };
  if (body === undefined) return { because: 'the request is too large to be kept, or too many are' };
  if (sent.blocker !== undefined) return { because: words[sent.blocker] };
  const blocker = requestBlockerOf(path, parseJsonRecord(body, 'bad_json', 'The request body'));
  if (blocker !== undefined) return { because: words[blocker] };
  const continuation = continuationOf(path, body, sent);
  if (continuation === 'spent') return 'spent';
  if (continuation === 'unreadable') return { because: words.unreadable };
  const { body: bytes, spans, seam } = continuation;
  return { body: { bytes: bytes.length, spans, toSend: () => bytes }, seam };
};
