/**
 * HOT. The parts of a prompt in the order in which its template renders them: for chat, completions and embeddings, one
 * walk over the parsed request. Whoever takes the parts decides what becomes of them: bytes to hash (`canonical.ts`),
 * or places in the rendered text (`align.ts`). A mark stands before each part, so that no two prompts give the same
 * sequence; what a mark says is known before the text behind it. Reads whatever JSON a client sent and never throws.
 */
import { utf8 } from '../bytes.ts';
import { isRecord, type JsonRecord } from '../shape.ts';
import { blake3, hashHex } from './blake3.ts';
import {
  atHead,
  hasCalls,
  isSystem,
  type Layout,
  layOut,
  mayWrapResult,
  type PromptRequest,
  roleOf,
} from './layout.ts';
import type { PromptProfile, ReasoningField, TextRole } from './profile.ts';

/** Whose text a part is; `meta` is what templates render in some way of their own, or not at all, `media` no text. */
export type PartKind = TextRole | 'prompt' | 'reasoning' | 'media' | 'meta';

export interface PartSink {
  /** Nothing more is wanted. */
  readonly isFull: boolean;
  mark(mark: Mark): void;
  text(text: string, kind: PartKind): void;
  /** A tool's definition, as JSON and as it was. */
  tool(json: string, tool: unknown): void;
  /** Token ids of a prompt: nothing comes after them. */
  tokens(ids: readonly number[]): void;
  /** What follows cannot be known, so the prompt ends here. */
  stop(): void;
}

/** Marks are two characters: NUL, which text holds only doubled, and one more. */
export const marks = {
  chat: '\0c',
  completion: '\0l',
  embedding: '\0e',
  withTools: '\0t',
  withSystem: '\0s',
  field: '\0n',
  value: '\0v',
  system: '\0S',
  developer: '\0D',
  user: '\0U',
  assistant: '\0A',
  /** An assistant's message that calls tools, and one that the engine is to continue: templates may begin them in
   * ways of their own. */
  caller: '\0C',
  unfinished: '\0F',
  tool: '\0R',
  otherRole: '\0O',
  text: '\0T',
  noText: '\0N',
  part: '\0P',
  media: '\0M',
  json: '\0J',
  definition: '\0K',
  call: '\0k',
  callee: '\0f',
  reasoning: '\0r',
  /** An answer with reasoning in its text, of the turn under way and of one that is over. */
  thinking: '\0h',
  thought: '\0H',
  prompt: '\0p',
  tokens: '\0i',
  digest: '\0d',
} as const;
export type Mark = (typeof marks)[keyof typeof marks];

/** With one of these a prompt is rendered by rules that no profile knows. */
const unknowableFields = ['chat_template', 'truncate_prompt_tokens'] as const;
/** Fields that may change what stands before the messages, or what the engine's cache takes for equal. */
export const alwaysHeadFields = [
  'cache_salt',
  'chat_template_kwargs',
  'documents',
  'functions',
  'function_call',
  'add_special_tokens',
  'reasoning',
  'thinking',
  'enable_thinking',
  'suffix',
  'lora',
  'lora_path',
  'extra_key',
  'mm_processor_kwargs',
  'media_io_kwargs',
] as const;
/** Values that mean the same as no value. */
const defaultValues: Readonly<Record<string, string>> = {
  tool_choice: '"auto"',
  response_format: '{"type":"text"}',
};

/** Strings in media parts longer than this (data URLs, base64) stand as their digest. */
const mediaCharsMax = 256;
/** Token ids are four bytes each. */
const tokenMax = 0xffff_ffff;

const thinkEnd = '</think>';

/** JSON text, or undefined for a value too deep to write. */
const jsonOf = (value: unknown, replacer?: (name: string, value: unknown) => unknown): string | undefined => {
  try {
    return JSON.stringify(value, replacer) ?? 'null';
  } catch {
    return undefined;
  }
};

/** Strings begin with a letter that says which they are, so that a digest cannot be forged by a short string. */
const digestLongStrings = (_: string, value: unknown): unknown => {
  if (typeof value !== 'string') return value;
  return value.length > mediaCharsMax ? `d${hashHex(blake3(utf8(value)))}` : `s${value}`;
};

const isBlank = (code: number): boolean => code === 32 || (code >= 9 && code <= 13);

/** Without ASCII white space around it: less than any template trims, so that equal means equal to all of them. */
const trimmed = (text: string): string => {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return to - from === text.length ? text : text.slice(from, to);
};

const afterLineBreaks = (text: string): string => text.replace(/^\n+/, '');

const isTextPart = (part: unknown): part is { readonly text: string } =>
  isRecord(part) && part.type === 'text' && typeof part.text === 'string';

const hasReasoningText = ({ reasoning_content, reasoning, thinking }: JsonRecord): boolean =>
  [reasoning_content, reasoning, thinking].some((field) => typeof field === 'string');

/** Whether some reasoning is rendered only while its turn is under way. */
const followsTurns = ({ reasoning }: PromptProfile): boolean =>
  Object.values(reasoning).includes('after-last-user');

const kindOf = (role: unknown): PartKind => {
  if (role === 'user' || role === 'assistant' || role === 'tool') return role;
  return 'meta';
};

class PromptWalk {
  readonly #body: JsonRecord;
  readonly #profile: PromptProfile;
  readonly #sink: PartSink;

  constructor(body: JsonRecord, profile: PromptProfile, sink: PartSink) {
    this.#body = body;
    this.#profile = profile;
    this.#sink = sink;
  }

  chat(layout: Layout): void {
    const { claims, toolsBeforeSystem, tools } = this.#profile;
    const hasTools = tools !== 'left-out' && this.#hasTools();
    if (this.#isUnknown(layout, hasTools)) this.#sink.stop();
    this.#head(marks.chat);
    if (hasTools) this.#sink.mark(marks.withTools);
    if (layout.leadsWithSystem) this.#sink.mark(marks.withSystem);
    if (hasTools && roleOf(layout.messages[0]) === 'developer' && !this.#profile.developerIsSystem) {
      // Which of the two comes first, nobody has tried.
      this.#digest(this.#body.tools);
    }
    const standBefore = (index: number): void => {
      if (toolsBeforeSystem && hasTools && layout.toolsAt === index) this.#tools();
      if (layout.systemAt === index) this.#system(layout);
      if (!toolsBeforeSystem && hasTools && layout.toolsAt === index) this.#tools();
    };
    standBefore(atHead);
    if (claims === 'head') return;
    for (let index = 0; index < layout.messages.length && !this.#sink.isFull; index += 1) {
      standBefore(index);
      if (!this.#standsApart(layout, index)) this.message(layout, index);
    }
  }

  /** A prompt that no template renders: text, token ids, or a list of which the first is meant. */
  input(value: unknown, kind: typeof marks.completion | typeof marks.embedding, more: string): void {
    this.#head(kind);
    const first: unknown = Array.isArray(value) && typeof value[0] !== 'number' ? value[0] : value;
    if (typeof first === 'string') {
      this.#sink.mark(marks.prompt);
      this.#sink.text(first, 'prompt');
      if (more !== '') this.#sink.text(more, 'prompt');
    } else if (Array.isArray(first)) {
      this.#tokens(first);
    }
  }

  message(layout: Layout, index: number): void {
    const message = layout.messages[index];
    if (!isRecord(message)) {
      this.#json(message);
      return;
    }
    const calls = hasCalls(message);
    const endsPrompt = layout.endsPrompt && index === layout.messages.length - 1;
    this.#role(message, calls, endsPrompt);
    this.#fields(message, layout, index);
    if (this.#profile.dropsCallText && calls) this.#sink.mark(marks.noText);
    else this.#content(message, layout, index);
    if (!calls) return;
    for (const call of message.tool_calls as readonly unknown[]) {
      if (this.#sink.isFull) return;
      this.#call(call);
    }
  }

  /** Field by field, because JSON would escape the arguments once more, which may be a whole file. */
  #call(call: unknown): void {
    this.#sink.mark(marks.call);
    if (!isRecord(call)) {
      this.#json(call);
      return;
    }
    for (const name in call) {
      const value = call[name];
      if (name !== 'function' || !isRecord(value)) this.#field(name, value);
      else {
        this.#sink.mark(marks.callee);
        for (const inner in value) this.#field(inner, value[inner]);
        this.#sink.mark(marks.call);
      }
    }
  }

  /** The request has something of which nobody knows where its template puts it. */
  #isUnknown({ messages, hasUser }: Layout, hasTools: boolean): boolean {
    const { laterSystem, tools } = this.#profile;
    if (!hasUser || (hasTools && tools === 'unknown')) return true;
    // Which message ends a turn, and so what became of the reasoning before it, is the template's own affair.
    if (followsTurns(this.#profile) && messages.some(mayWrapResult)) return true;
    if (laterSystem !== 'unknown') return false;
    return messages.some((message, index) => index > 0 && isSystem(message, this.#profile));
  }

  #hasTools(): boolean {
    const { tools } = this.#body;
    return Array.isArray(tools) && tools.length > 0;
  }

  #head(kind: Mark): void {
    if (unknowableFields.some((name) => (this.#body[name] ?? null) !== null)) this.#sink.stop();
    this.#sink.mark(kind);
    for (const name of alwaysHeadFields) this.#headField(name);
    for (const name of this.#profile.headFields) this.#headField(name);
    if (!Array.isArray(this.#body.tools)) this.#headField('tools');
  }

  #headField(name: string): void {
    const value = this.#body[name];
    if (value === undefined || value === null) return;
    const json = jsonOf(value);
    if (json === defaultValues[name]) return;
    this.#sink.mark(marks.field);
    this.#sink.text(name, 'meta');
    this.#sink.mark(marks.value);
    if (json === undefined) this.#sink.stop();
    else this.#sink.text(json, 'meta');
  }

  #tools(): void {
    for (const tool of this.#body.tools as readonly unknown[]) {
      if (this.#sink.isFull) return;
      const json = jsonOf(tool);
      this.#sink.mark(marks.definition);
      if (json === undefined) this.#sink.stop();
      else this.#sink.tool(json, tool);
    }
  }

  /** The leading system message, with all others where the template gathers them. */
  #system(layout: Layout): void {
    const { messages } = layout;
    for (let index = 0; index < messages.length && !this.#sink.isFull; index += 1) {
      if (this.#standsApart(layout, index)) this.message(layout, index);
      if (this.#profile.laterSystem !== 'first') return;
    }
  }

  #standsApart(layout: Layout, index: number): boolean {
    if (index > 0 && this.#profile.laterSystem !== 'first') return false;
    return isSystem(layout.messages[index], this.#profile);
  }

  #role(message: JsonRecord, calls: boolean, endsPrompt: boolean): void {
    const { role } = message;
    const sink = this.#sink;
    if (role === 'user') sink.mark(marks.user);
    else if (role === 'assistant') {
      sink.mark(endsPrompt ? marks.unfinished : calls ? marks.caller : marks.assistant);
    } else if (role === 'tool') sink.mark(marks.tool);
    else if (isSystem(message, this.#profile)) sink.mark(marks.system);
    else if (role === 'developer') sink.mark(marks.developer);
    else {
      sink.mark(marks.otherRole);
      if (typeof role === 'string') sink.text(role, 'meta');
    }
  }

  /** Whatever else a message says (name, call id, what nobody has invented yet) may be rendered before its text. */
  #fields(message: JsonRecord, layout: Layout, index: number): void {
    for (const name in message) {
      switch (name) {
        case 'role':
        case 'content':
        case 'tool_calls':
        // Where a client wants a cache to end, and where an answer found its words: never rendered.
        case 'cache_control':
        case 'annotations':
          break;
        case 'reasoning_content':
        case 'reasoning':
        case 'thinking':
          if (this.#keepsReasoning(name, layout, index)) this.#reasoning(name, message[name]);
          break;
        default:
          this.#field(name, message[name]);
      }
    }
  }

  #field(name: string, value: unknown): void {
    if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) return;
    this.#sink.mark(marks.field);
    this.#sink.text(name, 'meta');
    this.#sink.mark(marks.value);
    if (typeof value === 'string') this.#sink.text(value, 'meta');
    else this.#json(value);
  }

  #keepsReasoning(field: ReasoningField, layout: Layout, index: number): boolean {
    const rule = this.#profile.reasoning[field];
    return rule === 'kept' || (rule === 'after-last-user' && index > layout.lastUser);
  }

  #reasoning(name: ReasoningField, value: unknown): void {
    if (typeof value !== 'string') {
      this.#field(name, value);
      return;
    }
    this.#sink.mark(marks.reasoning);
    this.#sink.text(name, 'meta');
    this.#sink.mark(marks.text);
    this.#sink.text(value, 'reasoning');
  }

  #content(message: JsonRecord, layout: Layout, index: number): void {
    const { content } = message;
    const kind = isSystem(message, this.#profile) ? 'system' : kindOf(message.role);
    const text = typeof content === 'string' ? content : this.#joined(content);
    if (text !== undefined && message.role === 'assistant') this.#answer(text, message, layout, index);
    else if (text !== undefined) this.#text(text, kind);
    else if (content === null || content === undefined) this.#sink.mark(marks.noText);
    else if (Array.isArray(content)) this.#parts(content, kind);
    else this.#json(content);
  }

  /** A list of nothing but text parts as the one text that it renders to, where it does. */
  #joined(content: unknown): string | undefined {
    const { partSeparator } = this.#profile;
    if (partSeparator === undefined || !Array.isArray(content) || !content.every(isTextPart))
      return undefined;
    if (content.length === 0) return undefined;
    return content.map((part) => part.text).join(partSeparator);
  }

  #text(text: string, kind: PartKind): void {
    const isTrimmed = (this.#profile.trimmed as readonly PartKind[]).includes(kind);
    this.#sink.mark(marks.text);
    this.#sink.text(isTrimmed ? trimmed(text) : text, kind);
  }

  /** An assistant's text, whose reasoning may stand in it up to a `</think>`. */
  #answer(text: string, message: JsonRecord, layout: Layout, index: number): void {
    const { reasoning, trimsAfterThink, keepsThinkAfterResult } = this.#profile;
    const isKept =
      reasoning.inline === 'kept' || (keepsThinkAfterResult && roleOf(layout.messages[index - 1]) === 'tool');
    const end = isKept ? -1 : text.lastIndexOf(thinkEnd);
    const answer = text.slice(end + thinkEnd.length);
    const isOfThisTurn = index > layout.lastUser;
    if (end < 0) this.#text(text, 'assistant');
    else if (hasReasoningText(message)) {
      // Which of the two the template takes for the reasoning is its own affair.
      this.#sink.mark(isOfThisTurn ? marks.thinking : marks.thought);
      this.#sink.text(text, 'meta');
    } else if (reasoning.inline === 'after-last-user' && isOfThisTurn) {
      this.#sink.mark(marks.thinking);
      this.#sink.text(text.slice(0, end), 'meta');
      this.#text(answer, 'assistant');
    } else this.#text(trimsAfterThink ? afterLineBreaks(answer) : answer, 'assistant');
  }

  #parts(parts: readonly unknown[], kind: PartKind): void {
    for (const part of parts) {
      if (this.#sink.isFull) return;
      this.#sink.mark(marks.part);
      if (isTextPart(part)) this.#sink.text(part.text, kind);
      else this.#media(part);
    }
  }

  /** An image, a sound, a file: its JSON, with a digest for each long string. */
  #media(part: unknown): void {
    const json = jsonOf(part, digestLongStrings);
    this.#sink.mark(marks.media);
    if (json === undefined) this.#sink.stop();
    else this.#sink.text(json, 'media');
  }

  #json(value: unknown): void {
    const json = jsonOf(value);
    this.#sink.mark(marks.json);
    if (json === undefined) this.#sink.stop();
    else this.#sink.text(json, 'meta');
  }

  #digest(value: unknown): void {
    const json = jsonOf(value);
    this.#sink.mark(marks.digest);
    if (json === undefined) this.#sink.stop();
    else this.#sink.text(hashHex(blake3(utf8(json))), 'meta');
  }

  #tokens(ids: readonly unknown[]): void {
    this.#sink.mark(marks.tokens);
    const isToken = (id: unknown): id is number =>
      Number.isInteger(id) && Number(id) >= 0 && Number(id) <= tokenMax;
    const wrong = ids.findIndex((id) => !isToken(id));
    this.#sink.tokens((wrong < 0 ? ids : ids.slice(0, wrong)) as readonly number[]);
  }
}

/** Walks the parts of a request's prompt, in the order of its profile. */
export const walkPrompt = (request: PromptRequest, profile: PromptProfile, sink: PartSink): void => {
  if (profile.claims === 'none') return;
  const { path, body, reply } = request;
  const walk = new PromptWalk(body, profile, sink);
  const more = typeof reply?.content === 'string' ? reply.content : '';
  if (Array.isArray(body.messages)) walk.chat(layOut(request, profile));
  else if (path === '/v1/completions') walk.input(body.prompt, marks.completion, more);
  else if (path === '/v1/embeddings') walk.input(body.input, marks.embedding, more);
};

/** True when `after`, a request with its reply, begins with all that the request alone gives. */
const onlyAppends = (before: Layout, after: Layout, profile: PromptProfile): boolean => {
  const last = before.messages.length - 1;
  if (before.toolsAt !== after.toolsAt || before.systemAt !== after.systemAt) return false;
  if (roleOf(before.messages[last]) === 'assistant') return false;
  if (before.lastUser === after.lastUser) return true;
  // The reasoning of the turn under way falls away when the user answers, or is marked in another way.
  return before.lastUser === last || (!followsTurns(profile) && profile.reasoning.inline === 'kept');
};

/** Only sees whether a walk comes to its end. */
class StopWatch implements PartSink {
  isFull = false;
  mark(): void {}
  text(): void {}
  tool(): void {}
  tokens(): void {}
  stop(): void {
    this.isFull = true;
  }
}

/**
 * Walks just what a request's reply adds behind the parts of the request. False, with nothing walked, when the turn
 * after changes what stands before it, or nothing can be known of it: then the whole has to be walked.
 */
export const walkReply = (
  request: PromptRequest & { readonly reply: JsonRecord },
  profile: PromptProfile,
  sink: PartSink,
): boolean => {
  const { path, body } = request;
  if (profile.claims !== 'all' || !Array.isArray(body.messages)) return false;
  const after = layOut(request, profile);
  if (!onlyAppends(layOut({ path, body }, profile), after, profile)) return false;
  const watch = new StopWatch();
  walkPrompt({ path, body }, profile, watch);
  if (watch.isFull) return false;
  new PromptWalk(body, profile, sink).message(after, after.messages.length - 1);
  return true;
};
