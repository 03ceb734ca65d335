/**
 * Changes in the bytes of one JSON text: members go, or values are others, and all else stays as it is. Positions are
 * those of `scanMembers`; nothing is parsed and written again.
 */
import { isSpace, type MemberSpan } from './members.ts';

/** A byte range and what stands there instead. */
export interface Cut {
  readonly from: number;
  readonly to: number;
  readonly insert: Uint8Array;
}

const comma = 0x2c;
const nothing = new Uint8Array();

/** A member with the comma that joins it to its neighbours; `start` is where the scanned bytes begin in `text`. */
export const memberCut = (text: Uint8Array, member: MemberSpan, start: number): Cut => {
  let from = start + member.keyStart;
  let to = start + member.valueEnd;
  let before = from - 1;
  while (isSpace(text[before])) before -= 1;
  if (text[before] === comma) from = before;
  else {
    while (isSpace(text[to])) to += 1;
    if (text[to] === comma) to += 1;
    while (isSpace(text[to])) to += 1;
  }
  return { from, to, insert: nothing };
};

/** The pieces of the text with its cuts, which do not overlap: views of it, and what was inserted. */
export const applyCuts = (text: Uint8Array, cuts: readonly Cut[]): readonly Uint8Array[] => {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const cut of [...cuts].sort((left, right) => left.from - right.from)) {
    if (cut.from > at) parts.push(text.subarray(at, cut.from));
    if (cut.insert.length > 0) parts.push(cut.insert);
    at = cut.to;
  }
  if (at < text.length) parts.push(text.subarray(at));
  return parts;
};
