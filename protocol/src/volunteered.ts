/**
 * What an engine's streams say although nobody asked for usage, read from the agent's probe: what the undoing of the
 * `usage` edit restores. Knows members by name, no engine. Pure.
 */
import { findBytes, utf8 } from './bytes.ts';
import { isSpace, type MemberSpan, scanMembers } from './members.ts';
import { isRecord, jsonValueIn } from './shape.ts';
import { SseSplitter } from './sse.ts';

export interface Volunteered {
  /** `usage` in any event: not there, always null, or counts. */
  readonly usage: 'nothing' | 'null' | 'usage';
  /** What stands in the events that end a choice, in the order in which it stands there. */
  readonly finish: readonly FinishMember[];
}

/** A member of the events that end a choice, as the engine writes it. */
export interface FinishMember {
  readonly name: string;
  /** The member that it stands behind. */
  readonly after: string;
  /** From the end of that member to its own value: comma, name and colon, with the engine's spaces. */
  readonly lead: Uint8Array;
  readonly value: Uint8Array;
}

export const volunteersNothing: Volunteered = { usage: 'nothing', finish: [] };

/**
 * Members that an engine moves from the events that end a choice to the usage event once it is asked for usage, and
 * whose value is that of the engine's process. (vLLM 0.32 makes its `system_fingerprint` from version and configuration
 * when it starts.)
 */
const finishMemberNames = ['system_fingerprint'];
/** A longer member, its lead included, is not kept. */
const finishMemberBytesMax = 1024;

const openBrace = 0x7b;
const colon = 0x3a;
const quote = 0x22;
const reasonNeedle = utf8('"finish_reason"');

/** What a whole SSE stream carries. */
export const volunteeredIn = (stream: Uint8Array): Volunteered => {
  let usage: Volunteered['usage'] = 'nothing';
  let finish: readonly FinishMember[] | undefined;
  new SseSplitter().push(stream, (event) => {
    const start = event.indexOf(openBrace);
    if (start < 0) return;
    const json = event.subarray(start);
    const { members } = scanMembers(json);
    const found = members.get('usage');
    if (found !== undefined) {
      const isNull = json[found.valueStart] === 0x6e;
      if (!isNull) usage = 'usage';
      else if (usage === 'nothing') usage = 'null';
    }
    if (finish === undefined && endsChoice(event)) finish = finishMembersIn(json, members);
  });
  return { usage, finish: finish ?? [] };
};

const finishMembersIn = (
  json: Uint8Array,
  members: ReadonlyMap<string, MemberSpan>,
): readonly FinishMember[] => {
  const found: FinishMember[] = [];
  let before: MemberSpan | undefined;
  for (const member of members.values()) {
    const { name, valueStart, valueEnd } = member;
    const isShort = before !== undefined && valueEnd - before.valueEnd <= finishMemberBytesMax;
    if (before !== undefined && isShort && finishMemberNames.includes(name)) {
      const lead = json.slice(before.valueEnd, valueStart);
      found.push({ name, after: before.name, lead, value: json.slice(valueStart, valueEnd) });
    }
    before = member;
  }
  return found;
};

/** Some servers say `""` for none. */
export const isFinishReason = (value: unknown): value is string => typeof value === 'string' && value !== '';

/** HOT. Whether an event ends a choice: one of its choices has a `finish_reason`. */
export const endsChoice = (event: Uint8Array): boolean => {
  if (!namesReason(event)) return false;
  const json = event.subarray(Math.max(0, event.indexOf(openBrace)));
  const choices = scanMembers(json).members.get('choices');
  const value = choices && jsonValueIn(json.subarray(choices.valueStart, choices.valueEnd));
  return (
    Array.isArray(value) &&
    value.some((choice: unknown) => isRecord(choice) && isFinishReason(choice.finish_reason))
  );
};

/** Whether a text stands behind a `finish_reason` anywhere: what an event of each token is asked, so bytes will do. */
const namesReason = (event: Uint8Array): boolean => {
  for (let at = findBytes(event, reasonNeedle); at >= 0; at = findBytes(event, reasonNeedle, at + 1)) {
    let next = at + reasonNeedle.length;
    while (isSpace(event[next])) next += 1;
    if (event[next] !== colon) continue;
    next += 1;
    while (isSpace(event[next])) next += 1;
    if (event[next] === quote && event[next + 1] !== quote) return true;
  }
  return false;
};
