/** Chat answers on the wire: the whole object, and the chunks of a stream. Shapes only. */
import type { PlacedLogprob } from '../generation/generate.ts';
import type { Vocabulary } from '../generation/vocabulary.ts';
import type { Usage } from './usage.ts';

export interface AnswerHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

export type FinishReason = 'stop' | 'length';

export interface WireLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** A token's text; a token that is only part of a character shows U+FFFD here and its truth in `bytes`. */
export function tokenText(vocabulary: Vocabulary, token: number): string {
  return decoder.decode(vocabulary.pieceBytes(token));
}

function wireLogprob(entry: { token: number; logprob: number }, vocabulary: Vocabulary): WireLogprob {
  const bytes = vocabulary.pieceBytes(entry.token);
  return { token: decoder.decode(bytes), logprob: entry.logprob, bytes: [...bytes] };
}

export function chatLogprobs(entries: readonly PlacedLogprob[] | undefined, vocabulary: Vocabulary) {
  if (entries === undefined) return null;
  return {
    content: entries.map((entry) => ({
      ...wireLogprob(entry, vocabulary),
      top_logprobs: entry.top.map((other) => wireLogprob(other, vocabulary)),
    })),
    refusal: null,
  };
}

export interface ChatChoice {
  readonly text: string;
  readonly logprobs: readonly PlacedLogprob[] | undefined;
  readonly finishReason: FinishReason;
}

export function chatAnswer(
  head: AnswerHead,
  choices: readonly ChatChoice[],
  usage: Usage,
  vocabulary: Vocabulary,
) {
  return {
    id: head.id,
    object: 'chat.completion',
    created: head.created,
    model: head.model,
    choices: choices.map((choice, index) => ({
      index,
      message: { role: 'assistant', content: choice.text, refusal: null },
      logprobs: chatLogprobs(choice.logprobs, vocabulary),
      finish_reason: choice.finishReason,
    })),
    usage,
  };
}

export interface ChatDelta {
  readonly role?: 'assistant';
  readonly content?: string;
}

export function chatChunk(
  head: AnswerHead,
  choice: {
    index: number;
    delta: ChatDelta;
    logprobs?: ReturnType<typeof chatLogprobs>;
    finishReason?: FinishReason;
  },
  includeUsage: boolean,
) {
  return {
    id: head.id,
    object: 'chat.completion.chunk',
    created: head.created,
    model: head.model,
    choices: [
      {
        index: choice.index,
        delta: choice.delta,
        logprobs: choice.logprobs ?? null,
        finish_reason: choice.finishReason ?? null,
      },
    ],
    ...(includeUsage ? { usage: null } : {}),
  };
}

export function chatUsageChunk(head: AnswerHead, usage: Usage) {
  return {
    id: head.id,
    object: 'chat.completion.chunk',
    created: head.created,
    model: head.model,
    choices: [],
    usage,
  };
}
