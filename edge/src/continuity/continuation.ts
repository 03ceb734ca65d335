/**
 * The request with which another engine goes on: the client's own bytes with the text that was sent put behind the
 * prompt, and its limits less what was used. Splices only, so that what nobody knows stays as it was. Whether an
 * answer may be continued at all is decided before (`continuable.ts`, `Sent.blocker`).
 */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { type RequestSpans, type Splice, Splicer } from '@cognitora/protocol/edits';
import { type MemberSpan, scanMembers } from '@cognitora/protocol/members';
import { type InferencePath, parseInferenceRequest } from '@cognitora/protocol/openai';
import { isHidden, type Outline, outlineOf } from '@cognitora/protocol/outline';
import type { JsonRecord } from '@cognitora/protocol/shape';
import { limitNames } from './continuable.ts';
import { type Seam, type Sent, seamOf } from './sent.ts';

export interface Continuation {
  readonly body: Uint8Array;
  readonly spans: RequestSpans;
  readonly seam: Seam;
}

/** Members that count an answer's tokens. */
const countNames = ['min_tokens', ...limitNames] as const;

/** Names that a splice has to find where a JSON reader does. */
const splicedNames: readonly string[] = ['messages', 'prompt', ...countNames];

const openBrace = 0x7b;
const quote = 0x22;

const insertAt = (at: number, text: string): Splice => ({ at, removeBytes: 0, insert: utf8(text) });

/** A string's inside as JSON, to stand in a string. */
const inString = (text: string): string => JSON.stringify(text).slice(1, -1);

/** Where the last object of a list begins. */
const lastObjectAt = (body: Uint8Array, { valueStart, valueEnd }: MemberSpan): number | undefined => {
  let found: number | undefined;
  for (let at = body.indexOf(openBrace, valueStart); at >= 0 && at < valueEnd; ) {
    const end = scanMembers(body.subarray(at, valueEnd)).objectEnd;
    if (end === undefined) return undefined;
    found = at;
    at = body.indexOf(openBrace, at + end + 1);
  }
  return found;
};

/** A new message of the assistant, or the rest of the one that the client began. */
const messageSplice = (body: Uint8Array, fields: JsonRecord, list: MemberSpan, text: string) => {
  if (fields.continue_final_message !== true) {
    const message = JSON.stringify({ role: 'assistant', content: text });
    return insertAt(list.valueEnd - 1, `,${message}`);
  }
  const last = lastObjectAt(body, list);
  if (last === undefined) return undefined;
  const { members } = scanMembers(body.subarray(last, list.valueEnd));
  for (const name of members.keys()) if (isHidden(name, ['content'])) return undefined;
  const content = members.get('content');
  return content && insertAt(last + content.valueEnd - 1, inString(text));
};

const textSplice = (body: Uint8Array, outline: Outline, path: InferencePath, text: string) => {
  const isChat = path === '/v1/chat/completions';
  const found = outline.members.get(isChat ? 'messages' : 'prompt');
  if (found === undefined) return undefined;
  if (isChat) return messageSplice(body, outline.fields, found, text);
  // The string's own end, in a list of one as well.
  return insertAt(body.lastIndexOf(quote, found.valueEnd - 1), inString(text));
};

const isLimit = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0;

/** Some engines read a limit that is written as a text, or as a fraction; what they make of it nobody here knows. */
const isOddLimit = (value: unknown): boolean =>
  value !== undefined && value !== null && !Number.isSafeInteger(value);

/** Each limit less the tokens that the next engine is told of. */
const limitSplices = ({ fields, members }: Outline, { events }: Seam): readonly Splice[] =>
  countNames.flatMap((name) => {
    const [value, span] = [fields[name], members.get(name)];
    if (!isLimit(value) || span === undefined || events === 0) return [];
    const { valueStart: at, valueEnd } = span;
    return [{ at, removeBytes: valueEnd - at, insert: utf8(String(Math.max(0, value - events))) }];
  });

const stopsIn = ({ stop }: JsonRecord): readonly string[] =>
  (Array.isArray(stop) ? stop : [stop]).filter((text): text is string => typeof text === 'string');

/**
 * The request for the rest of an answer. `spent`: the client's limit of tokens is used up, so nothing is missing but
 * the answer's end. `unreadable`: the body is written in a way in which no splice finds its place.
 */
export const continuationOf = (
  path: InferencePath,
  body: Uint8Array,
  sent: Sent,
): Continuation | 'spent' | 'unreadable' => {
  const outline = outlineOf([body]);
  const { fields, members } = outline;
  for (const name of members.keys()) if (isHidden(name, splicedNames)) return 'unreadable';
  if (countNames.some((name) => isOddLimit(fields[name]))) return 'unreadable';
  const limits = limitNames.map((name) => fields[name]).filter(isLimit);
  if (limits.some((limit) => limit <= sent.textEvents)) return 'spent';
  const seam = seamOf(sent, stopsIn(fields));
  const isAsked = seam.text !== '';
  const text = isAsked ? textSplice(body, outline, path, seam.text) : undefined;
  if (isAsked && text === undefined) return 'unreadable';
  const splices = [...limitSplices(outline, seam), ...(text === undefined ? [] : [text])];
  const splicer = new Splicer(splices.toSorted((left, right) => left.at - right.at));
  const spliced = joinBytes(splicer.push(body));
  const spans = parseInferenceRequest(path, [spliced]).spans;
  const end = isAsked ? scanMembers(spliced).objectEnd : undefined;
  return { body: spliced, spans: { ...spans, ...(end === undefined ? {} : { continue: end }) }, seam };
};
