/**
 * Where a conversation's parts stand in the rendered prompt, by its template's profile: before which message tools and
 * system text come, and behind which one reasoning is still rendered. Positions only, no text. It reads whatever JSON
 * a client sent: a message may be anything.
 */
import type { InferencePath } from '../openai.ts';
import { isRecord, type JsonRecord } from '../shape.ts';
import type { PromptProfile } from './profile.ts';

/** What a prompt is made from. */
export interface PromptRequest {
  readonly path: InferencePath;
  /** The request body, as it was parsed. */
  readonly body: JsonRecord;
  /**
   * The engine's answer, an assistant's message, when the prompt is that of the turn after: as far as any turn that
   * follows this answer begins alike. A turn with tool results follows tool calls, a turn of the user anything else.
   */
  readonly reply?: JsonRecord;
}

/** Before all messages. */
export const atHead = -1;
/** Behind all that the prompt is known to hold. */
const nowhere = Number.POSITIVE_INFINITY;

export interface Layout {
  readonly messages: readonly unknown[];
  readonly leadsWithSystem: boolean;
  /** Without a message of the user templates do as they like, with tools and system text above all. */
  readonly hasUser: boolean;
  /** The index of the message that tools, and system text, stand before; `atHead` or beyond the last one. */
  readonly toolsAt: number;
  readonly systemAt: number;
  /** The user's last message: reasoning behind it is of the turn under way. */
  readonly lastUser: number;
  /** The last message ends the prompt: some templates render an answer to be continued in its own way. */
  readonly endsPrompt: boolean;
}

export const roleOf = (message: unknown): unknown => (isRecord(message) ? message.role : undefined);

export const isSystem = (message: unknown, profile: PromptProfile): boolean => {
  const role = roleOf(message);
  return role === 'system' || (role === 'developer' && profile.developerIsSystem);
};

export const hasCalls = (message: JsonRecord): boolean =>
  Array.isArray(message.tool_calls) && message.tool_calls.length > 0;

const resultTag = '<tool_response>';

/**
 * A user's message that may only wrap a tool's result: to some templates (Qwen3) it does not end a turn, to others
 * (GLM) it does. Text that begins it may stand in parts.
 */
export const mayWrapResult = (message: unknown): boolean => {
  if (!isRecord(message) || message.role !== 'user') return false;
  const first: unknown = Array.isArray(message.content) ? message.content[0] : message.content;
  const text = isRecord(first) ? first.text : first;
  return typeof text === 'string' && (text.startsWith(resultTag) || isOpening(text, message.content));
};

/** The tag may go on in the next part. */
const isOpening = (text: string, content: unknown): boolean =>
  Array.isArray(content) && content.length > 1 && resultTag.startsWith(text);

const lastUserIn = (messages: readonly unknown[]): number =>
  messages.findLastIndex((message) => roleOf(message) === 'user');

/** Where the message after the reply will stand, when the user sends it. */
const turnToCome = ({ body, reply }: PromptRequest): number | undefined => {
  if (reply === undefined || hasCalls(reply)) return undefined;
  return Array.isArray(body.messages) ? body.messages.length + 1 : undefined;
};

const systemPosition = (profile: PromptProfile, lastUser: number, lastMessage: number): number => {
  if (profile.system === 'first') return atHead;
  return profile.system === 'last-user' || lastUser === lastMessage ? lastUser : nowhere;
};

/** Lays out a conversation. */
export const layOut = (request: PromptRequest, profile: PromptProfile): Layout => {
  const { body, reply } = request;
  const asked: readonly unknown[] = Array.isArray(body.messages) ? body.messages : [];
  const messages = reply === undefined ? asked : [...asked, reply];
  const toCome = turnToCome(request);
  const lastUser = toCome ?? lastUserIn(messages);
  return {
    messages,
    leadsWithSystem: isSystem(messages[0], profile),
    hasUser: messages.some((message) => roleOf(message) === 'user'),
    toolsAt: profile.tools === 'last-user' ? lastUser : atHead,
    systemAt: systemPosition(
      profile,
      lastUser,
      toCome ?? messages.length - 1 + (reply === undefined ? 0 : 1),
    ),
    lastUser,
    endsPrompt: reply === undefined,
  };
};
