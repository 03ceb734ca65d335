/**
 * Another engine's answer as the rest of the first one: under its id, without a second beginning, without what was
 * said before, with the counts of both. Splices only: what nobody knows of an event stays. Works alike for a second
 * and a third rest, since it compares with all that the client was sent. Pure.
 */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { applyCuts, type Cut, memberCut } from '@cognitora/protocol/cuts';
import { type MemberSpan, scanMembers } from '@cognitora/protocol/members';
import { sharedLength } from '@cognitora/protocol/prefix/shared-length';
import { isRecord, type JsonRecord, jsonValueIn } from '@cognitora/protocol/shape';
import { SseSplitter } from '@cognitora/protocol/sse';
import type { Seam, Sent } from './sent.ts';

const openBrace = 0x7b;
const nothing = new Uint8Array();

type Members = ReadonlyMap<string, MemberSpan>;

const shifted = (span: MemberSpan, by: number): MemberSpan => ({
  name: span.name,
  keyStart: span.keyStart + by,
  valueStart: span.valueStart + by,
  valueEnd: span.valueEnd + by,
});

/** The members of the first object in a part of an event, at their places in the event. */
const membersIn = (event: Uint8Array, from: number, to: number): Members => {
  const at = event.indexOf(openBrace, from);
  if (at < 0 || at >= to) return new Map();
  const { members } = scanMembers(event.subarray(at, to));
  return new Map([...members].map(([name, span]) => [name, shifted(span, at)]));
};

const membersOf = (event: Uint8Array, span: MemberSpan | undefined): Members =>
  span === undefined ? new Map() : membersIn(event, span.valueStart, span.valueEnd);

const valueAt = (event: Uint8Array, span: MemberSpan | undefined): unknown =>
  span && jsonValueIn(event.subarray(span.valueStart, span.valueEnd));

const replacing = ({ valueStart, valueEnd }: MemberSpan, value: string | number): Cut => ({
  from: valueStart,
  to: valueEnd,
  insert: utf8(JSON.stringify(value)),
});

const isEmpty = (value: unknown): boolean => value === undefined || value === null || value === '';

/** A choice as its event has it: what it says, and where that stands. */
interface Choice {
  readonly value: JsonRecord;
  readonly delta: JsonRecord;
  readonly role: MemberSpan | undefined;
  /** Its piece of the text: `content` of a delta, or `text`. */
  readonly text: MemberSpan | undefined;
}

const choiceIn = (event: Uint8Array, members: Members): Choice | undefined => {
  const choices = members.get('choices');
  const list = valueAt(event, choices);
  const value: unknown = Array.isArray(list) ? list[0] : undefined;
  if (!isRecord(value)) return undefined;
  const inside = membersOf(event, choices);
  const delta = membersOf(event, inside.get('delta'));
  return {
    value,
    delta: isRecord(value.delta) ? value.delta : {},
    role: delta.get('role'),
    text: delta.get('content') ?? inside.get('text'),
  };
};

export class Stitch {
  readonly #first: Sent;
  readonly #events: number;
  readonly #splitter = new SseSplitter();
  /** What the engine is still to say again. */
  #repeats: string;

  constructor(first: Sent, seam: Seam) {
    this.#first = first;
    this.#events = seam.events;
    this.#repeats = seam.repeats;
  }

  /** What of these bytes belongs to the client's answer: whole events. */
  push(bytes: Uint8Array): Uint8Array {
    const out: Uint8Array[] = [];
    this.#splitter.push(bytes, (event, isWhole) => out.push(isWhole ? this.#event(event) : event));
    return joinBytes(out);
  }

  /** What is left of an answer that ended as its engine meant it to. */
  end(): Uint8Array {
    const rest = this.#splitter.end();
    return rest.length === 0 ? rest : this.#event(rest);
  }

  #event(event: Uint8Array): Uint8Array {
    const members = membersIn(event, 0, event.length);
    if (members.size === 0) return event;
    const cuts: Cut[] = [...this.#nameCuts(members), ...this.#usageCuts(event, members)];
    const choice = choiceIn(event, members);
    if (choice !== undefined) {
      const said = this.#choiceCuts(event, choice);
      if (said === undefined) return nothing;
      cuts.push(...said);
    }
    return joinBytes(applyCuts(event, cuts));
  }

  /** One answer has one id, and was begun once. */
  #nameCuts(members: Members): readonly Cut[] {
    const { id, created, model } = this.#first;
    return Object.entries({ id, created, model }).flatMap(([name, value]) => {
      const span = members.get(name);
      return span === undefined || value === undefined ? [] : [replacing(span, value)];
    });
  }

  /** Undefined: the event says nothing that was not said. */
  #choiceCuts(event: Uint8Array, { value, delta, role, text }: Choice): readonly Cut[] | undefined {
    const cuts: Cut[] = [];
    const isBegun = this.#first.hasBegun;
    if (isBegun && role !== undefined && typeof delta.role === 'string') cuts.push(memberCut(event, role, 0));
    const said: unknown = delta.content ?? value.text;
    const rest = typeof said === 'string' ? this.#withoutRepeats(said) : said;
    if (text !== undefined && typeof rest === 'string' && rest !== said) cuts.push(replacing(text, rest));
    if (cuts.length === 0) return cuts;
    // What was cut may be all that it had.
    const others = Object.entries(delta).filter(([name]) => name !== 'role' && name !== 'content');
    const isSaid = [rest, value.finish_reason, ...others.map(([, other]) => other)].some(
      (one) => !isEmpty(one),
    );
    return isSaid ? cuts : undefined;
  }

  #withoutRepeats(text: string): string {
    if (this.#repeats === '' || text === '') return text;
    const shared = sharedLength(this.#repeats, text);
    // Once it says something else it repeats nothing more.
    this.#repeats = shared === text.length ? this.#repeats.slice(shared) : '';
    return text.slice(shared);
  }

  /** The prompt that was counted had a part of the answer in it. */
  #usageCuts(event: Uint8Array, members: Members): readonly Cut[] {
    const span = members.get('usage');
    const usage = valueAt(event, span);
    if (!isRecord(usage) || typeof usage.prompt_tokens !== 'number') return [];
    const inside = membersOf(event, span);
    const prompt = Math.max(0, usage.prompt_tokens - this.#events);
    const { completion_tokens: given } = usage;
    const completion = (typeof given === 'number' ? given : 0) + this.#events;
    const details = inside.get('prompt_tokens_details');
    const cached = membersOf(event, details).get('cached_tokens');
    const cachedTokens = valueAt(event, cached);
    const isMore = typeof cachedTokens === 'number' && cachedTokens > prompt;
    const counts = {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
    };
    const cuts = Object.entries(counts).flatMap(([name, count]) => {
      const place = inside.get(name);
      return place === undefined ? [] : [replacing(place, count)];
    });
    return cached !== undefined && isMore ? [...cuts, replacing(cached, prompt)] : cuts;
  }
}

const endings = {
  '/v1/chat/completions': {
    object: 'chat.completion.chunk',
    choice: { index: 0, delta: {}, logprobs: null, finish_reason: 'length' },
  },
  '/v1/completions': {
    object: 'text_completion',
    choice: { index: 0, text: '', logprobs: null, finish_reason: 'length' },
  },
} as const;

/** What a stream gets that lacks nothing but its end: `[DONE]`, and before it why it ended, if nobody has said so. */
export const finishEvents = (sent: Sent): Uint8Array => {
  const { path, id, created, model, finishReason, isDone } = sent;
  if (isDone) return nothing;
  const ending = path === '/v1/embeddings' ? undefined : endings[path];
  const isMissing = finishReason === undefined && ending !== undefined;
  const event = isMissing && { id, object: ending.object, created, model, choices: [ending.choice] };
  return utf8(`${event ? `data: ${JSON.stringify(event)}\n\n` : ''}data: [DONE]\n\n`);
};
