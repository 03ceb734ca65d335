/**
 * How engines go on from a part of an answer that stands at the end of the request, by endpoint: the members that the
 * request needs for that, as JSON between the braces of an object. None, where it needs none; no row, where it can't.
 */
import type { InferencePath } from '@cognitora/protocol/openai';

export type Continuing = ReadonlyMap<InferencePath, string>;

/** A completion's prompt is text as it is: what is behind it comes of itself. */
export const behindPrompt = ['/v1/completions', ''] as const;

/** A chat whose last message stays open, in the words of `transformers`, which others took over. */
export const inFinalMessage = [
  '/v1/chat/completions',
  '"continue_final_message":true,"add_generation_prompt":false',
] as const;
