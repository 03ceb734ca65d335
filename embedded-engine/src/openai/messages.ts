/**
 * The `messages` of a chat: roles and text. Pictures, sound, files and tool calls are refused, by name.
 */
import { invalid, unsupported } from './errors.ts';
import * as f from './fields.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
}

/** `developer` is OpenAI's newer word for `system`; chat templates know only the latter. */
const roles: Readonly<Record<string, string>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
};

const content: f.Reader<string | undefined> = (value, name) => {
  if (value === undefined || typeof value === 'string') return value;
  if (!Array.isArray(value)) throw invalid(name, `"${name}" must be a string or an array of text parts.`);
  return value.map((part, at) => textPart(part, `${name}[${at}]`)).join('');
};

function textPart(part: f.Json, where: string): string {
  if (!f.isObject(part)) throw invalid('messages', `"${where}" must be an object.`);
  if (part.type !== 'text') {
    const type = typeof part.type === 'string' ? part.type : 'untyped';
    throw unsupported('messages', `"${where}": ${type} parts are not supported, only text.`);
  }
  return f.readFields({ type: f.string, text: f.required(f.string) }, part, `${where}.`).text;
}

const messageFields = {
  role: f.required(f.string),
  content,
  name: f.string,
  refusal: f.refused('refusals are not supported.'),
  tool_calls: f.refused('tool calls are not supported.', []),
  function_call: f.refused('function calls are not supported.'),
  audio: f.refused('audio is not supported.'),
  annotations: f.refused('annotations are not supported.', []),
} as const;

function message(value: f.Json, where: string): ChatMessage {
  if (!f.isObject(value)) throw invalid('messages', `"${where}" must be an object.`);
  if (value.role === 'tool' || value.role === 'function') {
    throw unsupported('messages', `"${where}": the role "${value.role}" is not supported.`);
  }
  const fields = f.readFields(messageFields, value, `${where}.`);
  const role = Object.hasOwn(roles, fields.role) ? roles[fields.role] : undefined;
  if (role === undefined) throw invalid('messages', `"${where}.role" is unknown: "${fields.role}".`);
  if (fields.content === undefined) throw invalid('messages', `"${where}.content" is required.`);
  const named = fields.name === undefined ? {} : { name: fields.name };
  return { role, content: fields.content, ...named };
}

export const messages: f.Reader<readonly ChatMessage[] | undefined> = (value, name) => {
  const list = f.array(value, name);
  if (list?.length === 0) throw invalid(name, `"${name}" must not be empty.`);
  return list?.map((entry, at) => message(entry, `${name}[${at}]`));
};
