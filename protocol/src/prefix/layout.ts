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
  /** The user's last message that is no tool result: reasoning behind it is of the turn under way. */
  readonly lastQuery: number;
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

/** A user's message that only wraps a tool's result does not end a turn, in templates that know this form. */
const wrapsToolResult = (message: unknown): boolean => {
  const content = isRecord(message) ? message.content : undefined;
  if (typeof content !== 'string') return false;
  return content.startsWith('<tool_response>') && content.endsWith('</tool_response>');
};

const lastUserIn = (messages: readonly unknown[], isOne: (message: unknown) => boolean): number =>
  messages.findLastIndex((message) => roleOf(message) === 'user' && isOne(message));

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
  const lastUser = toCome ?? lastUserIn(messages, () => true);
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
    lastQuery: toCome ?? lastUserIn(messages, (message) => !wrapsToolResult(message)),
    endsPrompt: reply === undefined,
  };
};
