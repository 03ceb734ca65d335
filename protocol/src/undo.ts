/**
 * The way back of the edits: turns an engine's response bytes into what the engine would have sent to the request as
 * the client wrote it, and reads the usage on the way. Pure; one reader per response; holds at most two SSE events or
 * one captured JSON value. Untouched bytes are views of the input, never copies.
 */
import { findBytes, joinBytes, sameBytes, utf8 } from './bytes.ts';
import { applyCuts, type Cut, memberCut } from './cuts.ts';
import { nameCharsMax, usageBytesMax } from './limits.ts';
import type { Usage } from './link.ts';
import { isSpace, MemberScanner, type MemberSpan, scanMembers } from './members.ts';
import { isRecord, type JsonRecord, jsonValueIn } from './shape.ts';
import { SseSplitter } from './sse.ts';
import { errorOf, failureOf, StreamEnd } from './stream-end.ts';
import { endsChoice, type FinishMember, type Volunteered } from './volunteered.ts';

export interface UndoOptions {
  /** Set when the `model` edit was applied: which name to turn into which. */
  readonly renamed: { readonly served: string; readonly public: string } | undefined;
  /** Set when the `usage` edit was applied; what the engine volunteers stays in. */
  readonly dropUsage: Volunteered | undefined;
  /** A stream of choices that was asked for. Where the engine says that it failed it ends: that event is kept back. */
  readonly isOfChoices?: boolean;
  /** The engine answered the request, by its status: where its body is an error, it has not. */
  readonly isAnswer?: boolean;
  /** The body ends with its connection, which says nothing of whether it is whole. */
  readonly endsByClose?: boolean;
}

export interface ResponseReader {
  /** The usage read so far. */
  readonly usage: Usage | undefined;
  /** The engine says what its probe did not: it is another one by now. */
  readonly isOutdated: boolean;
  /** What the engine said of its failure, in the midst of its answer. */
  readonly failure: string | undefined;
  /** The body has ended, and its answer has not: what was half of an event is kept back. */
  readonly isUnfinished: boolean;
  push(bytes: Uint8Array): readonly Uint8Array[];
  /** What was still held when the engine's body ended. */
  end(): readonly Uint8Array[];
  /** What was still held, and is whole, when the engine's body broke off. */
  broken(): readonly Uint8Array[];
}

const tokenCount = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;

/** An engine's `usage` object as our own type; undefined when it is not one. */
export const readUsageObject = (value: unknown): Usage | undefined => {
  if (!isRecord(value)) return undefined;
  const promptTokens = tokenCount(value.prompt_tokens);
  if (promptTokens === undefined) return undefined;
  const details = value.prompt_tokens_details;
  const cachedTokens = isRecord(details) ? tokenCount(details.cached_tokens) : undefined;
  return {
    promptTokens,
    completionTokens: tokenCount(value.completion_tokens) ?? 0,
    ...(cachedTokens === undefined ? {} : { cachedTokens }),
  };
};

/** With the cached tokens that an older llama.cpp tells among its timings alone. */
const withTimings = (usage: Usage | undefined, timings: unknown): Usage | undefined => {
  if (usage === undefined || usage.cachedTokens !== undefined || !isRecord(timings)) return usage;
  const cachedTokens = tokenCount(timings.cache_n);
  return cachedTokens === undefined ? usage : { ...usage, cachedTokens };
};

const usageNeedle = utf8('"usage"');

/** What llama.cpp's server appends to the last event of a stream: asking for usage moves it to the usage event. */
const lastEventMembers = ['timings', '__tool_call_incomplete'] as const;

const openBrace = 0x7b;
const openBracket = 0x5b;
const closeBrace = 0x7d;

/** Reads and undoes an SSE response, event by event. */
export class SseResponseReader implements ResponseReader {
  usage: Usage | undefined;
  isOutdated = false;
  isUnfinished = false;
  readonly #options: UndoOptions;
  readonly #splitter = new SseSplitter();
  readonly #end: StreamEnd | undefined;
  /** Usage that the engine moves out of the event that ends a choice is undone. */
  readonly #holdsFinish: boolean;
  readonly #servedName: Uint8Array | undefined;
  readonly #publicName: Uint8Array;
  /** The event that ended a choice, until the next one has come or none will. Engines send that in the same breath. */
  #finish: Uint8Array | undefined;

  constructor(options: UndoOptions) {
    this.#options = options;
    this.#servedName = options.renamed && utf8(JSON.stringify(options.renamed.served));
    this.#publicName = utf8(JSON.stringify(options.renamed?.public ?? ''));
    this.#end = options.isOfChoices === true ? new StreamEnd() : undefined;
    this.#holdsFinish = options.dropUsage !== undefined && options.dropUsage.usage !== 'usage';
  }

  get failure(): string | undefined {
    return this.#end?.failure;
  }

  push(bytes: Uint8Array): readonly Uint8Array[] {
    const out: Uint8Array[] = [];
    this.#splitter.push(bytes, (event, whole) => this.#event(event, whole, out));
    return out;
  }

  end(): readonly Uint8Array[] {
    const rest = this.#splitter.end();
    const out: Uint8Array[] = [];
    if (rest.length > 0) this.#event(rest, true, out);
    this.#releaseFinish(out);
    this.isUnfinished = this.#end?.isMissing === true;
    return rest.length > 0 && this.isUnfinished ? [] : out;
  }

  broken(): readonly Uint8Array[] {
    const out: Uint8Array[] = [];
    this.#releaseFinish(out);
    return out;
  }

  #event(event: Uint8Array, whole: boolean, out: Uint8Array[]): void {
    const isAsked = this.#end !== undefined || this.#holdsFinish;
    const ends = whole && isAsked && endsChoice(event);
    if (whole) this.#end?.see(event, ends);
    else this.#end?.skip();
    if (this.failure !== undefined) return;
    const hasUsage = whole && findBytes(event, usageNeedle) >= 0;
    if (!hasUsage && (this.#servedName === undefined || !whole)) {
      this.#emit([event], ends, out);
      return;
    }
    const start = event.indexOf(openBrace);
    const { members } = scanMembers(start < 0 ? new Uint8Array() : event.subarray(start));
    const cuts: Cut[] = [];
    const usage = members.get('usage');
    if (usage !== undefined && this.#readUsage(event, members, usage, start, cuts)) {
      this.#moveBack(event, members, start);
      this.#releaseFinish(out);
      return;
    }
    const model = members.get('model');
    if (model !== undefined) this.#rename(event, start + model.valueStart, start + model.valueEnd, cuts);
    this.#emit(applyCuts(event, cuts), ends, out);
  }

  /** Sends an event on, but for one that ends a choice: the usage event behind it may hold what belongs in it. */
  #emit(parts: readonly Uint8Array[], ends: boolean, out: Uint8Array[]): void {
    this.#releaseFinish(out);
    if (ends && this.#holdsFinish) this.#finish = joinBytes(parts);
    else out.push(...parts);
  }

  #releaseFinish(out: Uint8Array[]): void {
    if (this.#finish !== undefined) {
      out.push(...withFinishMembers(this.#finish, this.#options.dropUsage?.finish ?? []));
    }
    this.#finish = undefined;
  }

  /** The usage event goes: what belongs in the event before it, where nobody asks for usage, returns there. */
  #moveBack(event: Uint8Array, members: ReadonlyMap<string, MemberSpan>, start: number): void {
    const learned = this.#options.dropUsage?.finish ?? [];
    const said = learned.map((member) => this.#asSaid(member, event, members, start));
    if (this.#finish === undefined) return;
    const finish = joinBytes(withFinishMembers(this.#finish, said));
    const end = finish.lastIndexOf(closeBrace);
    const parts = [finish.subarray(0, end)];
    for (const name of lastEventMembers) {
      const member = members.get(name);
      if (member === undefined) continue;
      parts.push(utf8(','), event.subarray(start + member.keyStart, start + member.valueEnd));
    }
    this.#finish = joinBytes([...parts, finish.subarray(end)]);
  }

  /** This very answer counts more than the probe. */
  #asSaid(
    member: FinishMember,
    event: Uint8Array,
    members: ReadonlyMap<string, MemberSpan>,
    start: number,
  ): FinishMember {
    const said = members.get(member.name);
    if (said === undefined) return member;
    const value = event.subarray(start + said.valueStart, start + said.valueEnd);
    if (!sameBytes(value, member.value)) this.isOutdated = true;
    return { ...member, value };
  }

  /** Notes the event's usage; true when the whole event has to go. */
  #readUsage(
    event: Uint8Array,
    members: ReadonlyMap<string, MemberSpan>,
    usage: MemberSpan,
    start: number,
    cuts: Cut[],
  ): boolean {
    const valueIn = (member: MemberSpan): unknown =>
      jsonValueIn(event.subarray(start + member.valueStart, start + member.valueEnd));
    const value = valueIn(usage);
    const timings = members.get('timings');
    const read = withTimings(readUsageObject(value), timings && valueIn(timings));
    if (read !== undefined) this.usage = read;
    const drop = this.#options.dropUsage;
    if (drop === undefined || drop.usage === 'usage') return false;
    const isNull = value === null;
    if (!isNull && isUsageEvent(event, members, start)) return true;
    if (drop.usage === 'nothing') cuts.push(memberCut(event, usage, start));
    else if (drop.usage === 'null' && !isNull) {
      cuts.push({ from: start + usage.valueStart, to: start + usage.valueEnd, insert: utf8('null') });
    }
    return false;
  }

  #rename(event: Uint8Array, from: number, to: number, cuts: Cut[]): void {
    const served = this.#servedName;
    if (served === undefined) return;
    const value = event.subarray(from, to);
    if (!sameBytes(value, served) && !writesName(value, this.#options.renamed?.served)) return;
    cuts.push({ from, to, insert: this.#publicName });
  }
}

const nothing = new Uint8Array();

/** A JSON string longer than this holds no model's name, even with each character as an escape. */
const writtenNameBytesMax = 6 * nameCharsMax + 2;

/** Whether a JSON value is this name, however the engine escapes it. */
const writesName = (value: Uint8Array, name: string | undefined): boolean =>
  name !== undefined && value.length <= writtenNameBytesMax && jsonValueIn(value) === name;

/** The event that exists only to carry usage: its `choices` is an empty list. */
const isUsageEvent = (
  event: Uint8Array,
  members: ReadonlyMap<string, MemberSpan>,
  start: number,
): boolean => {
  const choices = members.get('choices');
  if (choices === undefined) return false;
  const [from, to] = [start + choices.valueStart, start + choices.valueEnd];
  return event[from] === openBracket && event.subarray(from + 1, to - 1).every((byte) => isSpace(byte));
};

/** An event that ends a choice, with the members that it lacks because usage was asked for. */
const withFinishMembers = (event: Uint8Array, finish: readonly FinishMember[]): readonly Uint8Array[] => {
  if (finish.length === 0) return [event];
  const start = event.indexOf(openBrace);
  const { members } = scanMembers(event.subarray(start));
  const ends = new Map([...members].map(([name, { valueEnd }]) => [name, start + valueEnd]));
  const cuts: Cut[] = [];
  for (const { name, after, lead, value } of finish) {
    const at = ends.get(after);
    if (at === undefined || ends.has(name)) continue;
    cuts.push({ from: at, to: at, insert: joinBytes([lead, value]) });
    ends.set(name, at);
  }
  return applyCuts(event, cuts);
};

/** Members by one of which an answer is one, whatever else it says. */
const answerMembers: readonly string[] = ['choices', 'data'];
/** Those of which the value is read. */
const readMembers: readonly string[] = ['usage', 'timings', 'error'];

/** Reads and undoes a JSON response of any length, holding only the value of `model` or a copy of `usage`. */
export class JsonResponseReader implements ResponseReader {
  usage: Usage | undefined;
  readonly isOutdated = false;
  failure: string | undefined;
  isUnfinished = false;
  readonly #renamed: UndoOptions['renamed'];
  readonly #isAnswer: boolean;
  readonly #endsByClose: boolean;
  #error: JsonRecord | undefined;
  #hasAnswer = false;
  #members: MemberSpan[] = [];
  readonly #scanner = new MemberScanner((member) => this.#members.push(member));
  /** Bytes from the start of an open `model` or `usage` value, not yet sent on if `model`. */
  #held: Uint8Array = nothing;
  #sentOfHeld = 0;
  #offset = 0;

  constructor(options: UndoOptions) {
    this.#renamed = options.renamed;
    this.#isAnswer = options.isAnswer === true;
    this.#endsByClose = options.endsByClose === true;
  }

  push(bytes: Uint8Array): readonly Uint8Array[] {
    const start = this.#offset - this.#held.length;
    const from = this.#held.length === 0 ? bytes : joinBytes([this.#held, bytes]);
    this.#offset += bytes.length;
    this.#members = [];
    this.#scanner.push(bytes);
    const out: Uint8Array[] = [];
    let at = this.#sentOfHeld;
    for (const member of this.#members) {
      const value = from.subarray(Math.max(0, member.valueStart - start), member.valueEnd - start);
      if (member.valueStart < start) continue;
      if (member.name === 'usage' && value.length <= usageBytesMax) {
        this.usage = readUsageObject(jsonValueIn(value));
      }
      if (member.name === 'timings' && value.length <= usageBytesMax) {
        this.usage = withTimings(this.usage, jsonValueIn(value));
      }
      if (answerMembers.includes(member.name)) this.#hasAnswer = true;
      if (member.name === 'error') this.#error = errorOf(jsonValueIn(value));
      if (member.name !== 'model' || !writesName(value, this.#renamed?.served)) continue;
      if (member.valueStart - start > at) out.push(from.subarray(at, member.valueStart - start));
      out.push(utf8(JSON.stringify(this.#renamed?.public)));
      at = member.valueEnd - start;
    }
    const open = this.#scanner.openMember;
    const keepFrom = this.#keepFrom(open, start, from.length);
    const sendTo = open?.name === 'model' ? Math.max(at, keepFrom) : from.length;
    if (sendTo > at) out.push(from.subarray(at, sendTo));
    this.#held = keepFrom < from.length ? from.slice(keepFrom) : nothing;
    this.#sentOfHeld = Math.max(0, sendTo - keepFrom);
    return out;
  }

  end(): readonly Uint8Array[] {
    const rest = this.#held.subarray(this.#sentOfHeld);
    this.#held = nothing;
    this.#sentOfHeld = 0;
    if (!this.#isAnswer) return rest.length === 0 ? [] : [rest];
    const isCut = this.#offset === 0 || (this.#scanner.objectStart !== undefined && !this.#scanner.done);
    this.isUnfinished = this.#endsByClose && isCut;
    if (this.#error !== undefined && !this.#hasAnswer) this.failure = failureOf(this.#error);
    return rest.length === 0 ? [] : [rest];
  }

  broken(): readonly Uint8Array[] {
    return [];
  }

  /** From where bytes must be held for the next push: an open value that matters and is not too long. */
  #keepFrom(open: MemberScanner['openMember'], start: number, length: number): number {
    const isRead = open !== undefined && readMembers.includes(open.name);
    const matters = open !== undefined && (isRead || (open.name === 'model' && this.#renamed));
    if (!matters) return length;
    const keepFrom = open.valueStart - start;
    return keepFrom >= 0 && length - keepFrom <= usageBytesMax ? keepFrom : length;
  }
}
