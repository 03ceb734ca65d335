/** Legacy completions on the wire: the whole object, and the chunks of a stream. Shapes only. */
import type { PlacedLogprob } from '../generation/generate.ts';
import type { Vocabulary } from '../generation/vocabulary.ts';
import { type AnswerHead, type FinishReason, tokenText } from './chat-response.ts';
import type { Usage } from './usage.ts';

/** OpenAI's legacy shape: parallel arrays, and always the chosen token among the alternatives. */
export function completionLogprobs(entries: readonly PlacedLogprob[] | undefined, vocabulary: Vocabulary) {
  if (entries === undefined) return null;
  return {
    tokens: entries.map((entry) => tokenText(vocabulary, entry.token)),
    token_logprobs: entries.map((entry) => entry.logprob),
    top_logprobs: entries.map((entry) =>
      Object.fromEntries(
        [...entry.top, entry].map((other) => [tokenText(vocabulary, other.token), other.logprob]),
      ),
    ),
    text_offset: entries.map((entry) => entry.textOffset),
  };
}

export interface CompletionChoice {
  readonly text: string;
  readonly logprobs: ReturnType<typeof completionLogprobs>;
  readonly finishReason: FinishReason | null;
}

/** The same object serves as the whole answer and as a chunk; a chunk has one choice. */
export function completionAnswer(
  head: AnswerHead,
  choices: readonly (CompletionChoice & { readonly index: number })[],
  usage: Usage | null | undefined,
) {
  return {
    id: head.id,
    object: 'text_completion',
    created: head.created,
    model: head.model,
    choices: choices.map((choice) => ({
      index: choice.index,
      text: choice.text,
      logprobs: choice.logprobs,
      finish_reason: choice.finishReason,
    })),
    ...(usage === undefined ? {} : { usage }),
  };
}
