/**
 * What a client has been sent of an answer, and the seam at which another engine takes over: how much of the text that
 * engine is told, and how much of it it will say again. Pure.
 */
import type { InferencePath } from '@cognitora/protocol/openai';

/** Why no other engine can go on from what was sent. */
export type SentBlocker =
  | 'tool_call'
  | 'function_call'
  | 'reasoning'
  | 'choices'
  | 'logprobs'
  | 'refusal'
  | 'audio'
  /** An event that is no part of a text, or none that we understand: an engine's error is one. */
  | 'unreadable'
  | 'too_long';

export interface Sent {
  readonly path: InferencePath;
  /** An event with data was passed on: without one the client knows no id, no role, nothing. */
  readonly hasBegun: boolean;
  /** Empty where there is a blocker. */
  readonly text: string;
  /** Events that had a part of it: as many tokens, with an engine that sends each token by itself. */
  readonly textEvents: number;
  /** Where the parts of the last of these events end in the text, in order; of events before them nobody knows. */
  readonly tailEnds: readonly number[];
  readonly id: string | undefined;
  readonly created: number | undefined;
  readonly model: string | undefined;
  /** Why the only choice ended. A request for several may get them one after the other: ask what it asks for, too. */
  readonly finishReason: string | undefined;
  /** Counts of the whole answer were passed on. */
  readonly usageSent: boolean;
  /** `[DONE]` was passed on. */
  readonly isDone: boolean;
  readonly blocker: SentBlocker | undefined;
}

export interface Seam {
  /** What the next engine is told of the answer; empty: it is asked anew. */
  readonly text: string;
  /** Text events that are wholly in it. */
  readonly events: number;
  /** The end of what was sent, which the next engine says again. */
  readonly repeats: string;
}

/**
 * How much of a text's end is the beginning of a stop sequence, and not all of it. By Knuth, Morris and Pratt, as a
 * client may send a stop of any length: it costs its length, not the square of it.
 */
const stopOverlap = (text: string, stop: string): number => {
  /** Of each beginning of the stop, the length of the longest shorter one that it ends with. */
  const borders = new Uint32Array(stop.length);
  const next = (matched: number, unit: number): number => {
    let length = matched;
    while (length > 0 && stop.charCodeAt(length) !== unit) length = borders[length - 1] ?? 0;
    return stop.charCodeAt(length) === unit ? length + 1 : 0;
  };
  for (let at = 1; at < stop.length; at += 1) borders[at] = next(borders[at - 1] ?? 0, stop.charCodeAt(at));
  let matched = 0;
  for (let at = Math.max(0, text.length - stop.length + 1); at < text.length; at += 1) {
    matched = next(matched, text.charCodeAt(at));
  }
  return matched;
};

const endsInHalf = (text: string): boolean => /[\ud800-\udbff]$/.test(text);

/**
 * The seam stands before white space at the end of the text: some chat templates trim it away, and tokenizers join it
 * with the word behind it. And before what may become a stop sequence, which engines look for in their own text alone.
 * But never before events whose lengths are not known any more, or a limit of tokens would be wrong.
 */
export const seamOf = ({ text, textEvents, tailEnds }: Sent, stops: readonly string[]): Seam => {
  const trimmed = text.trimEnd();
  const overlap = stops.reduce((longest, stop) => Math.max(longest, stopOverlap(trimmed, stop)), 0);
  const wanted = trimmed.slice(0, trimmed.length - overlap).trimEnd().length;
  const known = textEvents > tailEnds.length ? (tailEnds[0] ?? text.length) : 0;
  let told = text.slice(0, Math.max(wanted, known));
  if (endsInHalf(told)) told = told.slice(0, -1);
  const repeated = tailEnds.filter((end) => end > told.length).length;
  return { text: told, events: textEvents - repeated, repeats: text.slice(told.length) };
};
