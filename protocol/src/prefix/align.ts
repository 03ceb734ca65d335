/**
 * Where each block of a prompt's canonical bytes ends in the prompt that the engine's template rendered: what lets an
 * agent say at which token a digest stands. Off the hot path, agent only. It searches the texts of the request in the
 * rendered prompt and never claims what it has not found: each block gets two positions, and the truth lies between.
 *
 * ```
 *   canonical   \0S \0T system text \0K {"tool"} \0U \0T user text
 *   rendered    <|im_start|>system\n system text # Tools {"tool": ..} <|im_end|>\n<|im_start|>user\n user text ...
 *   a block that ends within      covers                           needs
 *     a text that was found       up to that character             up to that character
 *     anything else               to the end of the text before    to the start of the text after
 * ```
 *
 * A short text may occur earlier or later than where it belongs. When all texts are rendered in this order, taking each
 * as far left as it goes gives positions at or before the true ones, as far right as it goes at or behind them: the
 * first serve `covers`, the second `needs`.
 */
import { escapeMarks } from './canonical.ts';
import type { PromptRequest } from './layout.ts';
import { type PartKind, type PartSink, walkPrompt } from './parts.ts';
import type { PromptProfile } from './profile.ts';
import { type ToolText, toolTextOf } from './tool-text.ts';

/** How a template writes what it is given; it stays in the agent, because no digest depends on it. */
export interface RenderFacts {
  /** Texts of these kinds stand in the rendered prompt as they are, but for white space around them. */
  readonly verbatim: readonly PartKind[];
  /** How a tool's definition is written, when it is JSON of a known form. */
  readonly toolText: ToolText | undefined;
}

/**
 * Positions per block, first to last: in characters (UTF-16 units), or in tokens. Of the blocks behind an image there
 * are none, because nobody can tell from the rendered text how many tokens it takes.
 */
export interface BlockPositions {
  /** Everyone who shares the block's digest shares at least so much of the rendered prompt. */
  readonly covers: Int32Array;
  /** Who has cached so much of the rendered prompt has all that the digest stands for. */
  readonly needs: Int32Array;
}

interface Part {
  /** Its bytes in the canonical form: from `start` up to `end`. */
  readonly start: number;
  readonly end: number;
  /** As in the request. */
  readonly text: string;
  /** What to look for in the rendered prompt. */
  readonly sought: string;
  /** `text` stands in the prompt character by character, so that a place within it can be told. */
  readonly isVerbatim: boolean;
}

const markBytes = 2;
const tokenBytes = 4;

/** Bytes of a character in the canonical form. A pair's second half has none, a NUL is doubled. */
const canonicalBytesAt = (text: string, at: number): number => {
  const code = text.charCodeAt(at);
  if (code === 0) return 2;
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  if (code >= 0xd800 && code <= 0xdbff && isLow(text.charCodeAt(at + 1))) return 4;
  return isLow(code) && at > 0 && isHigh(text.charCodeAt(at - 1)) ? 0 : 3;
};
const isHigh = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;
const isLow = (code: number): boolean => code >= 0xdc00 && code <= 0xdfff;

const encoder = new TextEncoder();

/** Gathers what can be searched, with its place in the canonical bytes. */
class PartList implements PartSink {
  readonly parts: Part[] = [];
  tokensStart: number | undefined;
  #at = 0;
  #bytesMax: number;
  readonly #facts: RenderFacts;

  constructor(facts: RenderFacts, bytesMax: number) {
    this.#facts = facts;
    this.#bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.#at >= this.#bytesMax;
  }

  /** Bytes that the canonical form has. */
  get bytes(): number {
    return Math.min(this.#at, this.#bytesMax);
  }

  mark(): void {
    if (!this.isFull) this.#at += markBytes;
  }

  text(text: string, kind: PartKind): void {
    if (kind === 'media') {
      this.stop();
      return;
    }
    const isVerbatim = this.#facts.verbatim.includes(kind);
    this.#add(text, isVerbatim ? text.trim() : '', isVerbatim);
  }

  tool(json: string, tool: unknown): void {
    const { toolText } = this.#facts;
    this.#add(json, toolText === undefined ? '' : toolTextOf(tool, toolText), false);
  }

  tokens(ids: readonly number[]): void {
    if (this.isFull) return;
    this.tokensStart = this.#at;
    this.#at += ids.length * tokenBytes;
  }

  stop(): void {
    this.#bytesMax = Math.min(this.#bytesMax, this.#at);
  }

  #add(text: string, sought: string, isVerbatim: boolean): void {
    if (this.isFull) return;
    const start = this.#at;
    this.#at += encoder.encode(escapeMarks(text)).length;
    if (sought !== '') this.parts.push({ start, end: this.#at, text, sought, isVerbatim });
  }
}

/** A long text is searched by its beginning, so many times at most: a hostile one must not take forever. */
const soughtCharsMax = 64;
const triesMax = 64;

const findFrom = (rendered: string, sought: string, from: number): number => {
  const head = sought.slice(0, soughtCharsMax);
  let at = rendered.indexOf(head, from);
  for (let tries = 0; at >= 0 && tries < triesMax; tries += 1) {
    if (rendered.startsWith(sought, at)) return at;
    at = rendered.indexOf(head, at + 1);
  }
  return -1;
};

const findBefore = (rendered: string, sought: string, end: number): number => {
  const head = sought.slice(0, soughtCharsMax);
  let at = end < sought.length ? -1 : rendered.lastIndexOf(head, end - sought.length);
  for (let tries = 0; at >= 0 && tries < triesMax; tries += 1) {
    if (rendered.startsWith(sought, at)) return at;
    at = at === 0 ? -1 : rendered.lastIndexOf(head, at - 1);
  }
  return -1;
};

interface Anchor {
  readonly part: Part;
  /** Where its text begins at the earliest, and at the latest. */
  readonly left: number;
  readonly right: number;
}

/**
 * Where the parts are. Undefined when a text that should be there is not, or not in its order: then the facts do not
 * hold for this prompt, and one of the texts that were found may be another's.
 */
const findAll = (parts: readonly Part[], rendered: string): readonly Anchor[] | undefined => {
  const found: { part: Part; left: number }[] = [];
  let from = 0;
  for (const part of parts) {
    const left = findFrom(rendered, part.sought, from);
    if (left < 0 && part.isVerbatim) return undefined;
    // A tool may be written in another way, say with another number format: it is no landmark then.
    if (left < 0) continue;
    found.push({ part, left });
    from = left + part.sought.length;
  }
  const anchors: Anchor[] = [];
  let end = rendered.length;
  for (const { part, left } of found.reverse()) {
    const right = findBefore(rendered, part.sought, end);
    if (right < left) return undefined;
    anchors.push({ part, left, right });
    end = right;
  }
  return anchors.reverse();
};

/** Walks the characters of one text as block ends move through its bytes. */
class Place {
  readonly #text: string;
  #chars = 0;
  #bytes = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Characters that end at or before this many bytes, and that begin before it. */
  at(bytes: number): { readonly whole: number; readonly begun: number } {
    while (this.#chars < this.#text.length) {
      const next = this.#bytes + canonicalBytesAt(this.#text, this.#chars);
      if (next > bytes) break;
      this.#bytes = next;
      this.#chars += 1;
    }
    const isInside = this.#bytes < bytes;
    const width = isHigh(this.#text.charCodeAt(this.#chars)) ? 2 : 1;
    return { whole: this.#chars, begun: this.#chars + (isInside ? width : 0) };
  }
}

const clamp = (value: number, max: number): number => Math.max(0, Math.min(value, max));

/** The position behind the last character before `end` that is not white space: what is trimmed is never claimed. */
const withoutSpace = (rendered: string, end: number): number => {
  let at = end;
  while (at > 0 && /\s/.test(rendered.charAt(at - 1))) at -= 1;
  return at;
};

export interface AlignOptions {
  readonly request: PromptRequest;
  readonly profile: PromptProfile;
  readonly facts: RenderFacts;
  /** The prompt as the template renders it; of a request with a reply, with the turn after it. */
  readonly rendered: string;
  readonly blockBytes: number;
  readonly blocksMax: number;
}

/**
 * Where the blocks of a request's chain stand in its rendered prompt, in characters. Undefined when the prompt is not
 * what the facts say: then nothing may be claimed of it.
 */
export const alignBlocks = (options: AlignOptions): BlockPositions | undefined => {
  const { request, profile, facts, rendered, blockBytes, blocksMax } = options;
  const list = new PartList(facts, blockBytes * blocksMax);
  walkPrompt(request, profile, list);
  const anchors = findAll(list.parts, rendered);
  if (anchors === undefined) return undefined;
  const blocks = Math.floor(list.bytes / blockBytes);
  const covers = new Int32Array(blocks);
  const needs = new Int32Array(blocks);
  let next = 0;
  let before = 0;
  let place: Place | undefined;
  for (let block = 0; block < blocks; block += 1) {
    const end = (block + 1) * blockBytes;
    for (let anchor = anchors[next]; anchor !== undefined && anchor.part.end <= end; anchor = anchors[next]) {
      before = anchor.left + anchor.part.sought.length;
      place = undefined;
      next += 1;
    }
    const anchor = anchors[next];
    const last = anchors[next - 1];
    covers[block] = before;
    needs[block] = anchor?.right ?? rendered.length;
    if (last !== undefined && last.part.end === end) needs[block] = last.right + last.part.sought.length;
    else if (anchor !== undefined && anchor.part.start < end) {
      const { part, left, right } = anchor;
      needs[block] = right + part.sought.length;
      if (part.isVerbatim) {
        place ??= new Place(part.text);
        const { whole, begun } = place.at(end - part.start);
        const lead = part.text.length - part.text.trimStart().length;
        covers[block] = left + clamp(whole - lead, part.sought.length);
        needs[block] = right + clamp(begun - lead, part.sought.length);
      }
    }
    covers[block] = withoutSpace(rendered, covers[block] ?? 0);
  }
  return { covers, needs };
};

/** The same for a prompt of token ids, in tokens; undefined for any other. */
export const alignTokenPrompt = (
  options: Omit<AlignOptions, 'rendered' | 'facts'>,
): BlockPositions | undefined => {
  const { request, profile, blockBytes, blocksMax } = options;
  const list = new PartList({ verbatim: [], toolText: undefined }, blockBytes * blocksMax);
  walkPrompt(request, profile, list);
  const { tokensStart } = list;
  if (tokensStart === undefined) return undefined;
  const tokensAt = (block: number): number => ((block + 1) * blockBytes - tokensStart) / tokenBytes;
  const blocks = Math.floor(list.bytes / blockBytes);
  return {
    covers: Int32Array.from({ length: blocks }, (_, block) => Math.max(0, Math.floor(tokensAt(block)))),
    needs: Int32Array.from({ length: blocks }, (_, block) => Math.max(0, Math.ceil(tokensAt(block)))),
  };
};

/**
 * Positions in characters as numbers of tokens that reach them. `tokenEnds` has, for each token of the rendered prompt,
 * the character that it ends before.
 */
export const tokensReaching = (positions: Int32Array, tokenEnds: ArrayLike<number>): Int32Array => {
  let tokens = 0;
  return positions.map((position) => {
    while (tokens < tokenEnds.length && (tokenEnds[tokens - 1] ?? 0) < position) tokens += 1;
    return tokens;
  });
};
