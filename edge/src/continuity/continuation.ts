/** Stand-in until the branch that continues lands. */
import type { RequestSpans } from '@cognitora/protocol/edits';
import type { InferencePath } from '@cognitora/protocol/openai';
import type { Sent } from './sent-stream.ts';
export interface Continuation {
  readonly body: Uint8Array;
  readonly spans: RequestSpans;
}
export const continuationOf = (path: InferencePath, body: Uint8Array, sent: Sent): Continuation | 'spent' => {
  void path;
  void body;
  void sent;
  return 'spent';
};
