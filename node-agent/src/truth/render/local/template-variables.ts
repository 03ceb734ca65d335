/**
 * What a chat template is given of a request, as the engine would give it. Pure. Whatever is not known for sure makes
 * it undefined: such a prompt is not rendered here, and nothing is claimed of it.
 */
import { isRecord, type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import type { ChatInput } from '../../../engines/chat-input.ts';

/** Given to the template on top of these, or read by whoever renders it: a request that names them means to. */
const ownVariables = [
  ...['messages', 'tools', 'documents', 'chat_template', 'add_generation_prompt', 'continue_final_message'],
  ...['tokenize', 'return_dict', 'return_tensors', 'padding', 'truncation', 'max_length', 'tokenizer_kwargs'],
];
const roles = ['system', 'developer', 'user', 'assistant', 'tool'];
/** Engines look for these to tell whether a template reads parts itself; without a loop over them that is open. */
const mediaWords = /image|audio|video|vision/;
const partsLoop = /for\s+\w+\s+in\s+(?:message|msg|m)(?:\.content|\[\s*['"]content['"]\s*\])/;

/** Undefined, thrown: a prompt that nobody here knows how the engine writes. */
class NotKnown extends Error {}
const notKnown = (): never => {
  throw new NotKnown();
};

const textOf = (part: unknown): string =>
  isRecord(part) && part.type === 'text' && typeof part.text === 'string' ? part.text : notKnown();

const contentOf = (content: unknown, input: ChatInput, template: string): unknown => {
  if (content === undefined || content === null) return input.fields === undefined ? notKnown() : '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content) || input.partSeparator === undefined) return notKnown();
  const texts = (content as readonly unknown[]).map(textOf);
  if (input.keepsParts && partsLoop.test(template)) return texts.map((text) => ({ type: 'text', text }));
  return input.keepsParts && mediaWords.test(template) ? notKnown() : texts.join(input.partSeparator);
};

/** Arguments come as JSON and go to the template as an object. */
const callOf = (call: unknown): JsonRecord => {
  const { id, function: named } = isRecord(call) ? call : notKnown();
  const { name, arguments: text } = isRecord(named) ? named : notKnown();
  const values = typeof text === 'string' ? (jsonRecordIn(text) ?? notKnown()) : notKnown();
  return { id: id ?? null, type: 'function', function: { name, arguments: values } };
};

const fieldOf = (name: string, value: unknown): unknown => {
  if (name !== 'tool_calls') return value;
  return Array.isArray(value) ? value.map(callOf) : notKnown();
};

const messageOf = (message: unknown, input: ChatInput, template: string): JsonRecord => {
  const { role, content, ...more } = isRecord(message) ? message : notKnown();
  if (typeof role !== 'string' || !roles.includes(role)) return notKnown();
  if (input.fields === undefined && Object.keys(more).length > 0) return notKnown();
  const names = input.fields?.[role] ?? input.fields?.['*'] ?? [];
  const said = names.filter((name) => more[name] !== undefined && more[name] !== null);
  const reasoning = role === 'assistant' ? input.reasoning.map((name) => more[name] ?? undefined) : [];
  const thought = reasoning.find((value) => value !== undefined);
  return {
    role,
    content: contentOf(content, input, template),
    ...(thought === undefined ? {} : { reasoning_content: thought }),
    ...Object.fromEntries(said.map((name) => [name, fieldOf(name, more[name])])),
  };
};

const toolOf = (tool: unknown, parts: NonNullable<ChatInput['tools']>): JsonRecord => {
  const { type, function: named } = isRecord(tool) ? tool : notKnown();
  if (type !== 'function' || !isRecord(named)) return notKnown();
  const listed = Object.entries(parts).map(([name, absent]) => [name, named[name] ?? absent]);
  return { type, function: Object.fromEntries(listed) };
};

/** None is null: templates tell it from a variable that is not there. */
const toolsOf = (body: JsonRecord, { tools: parts, choosesTools }: ChatInput): unknown => {
  const { tools, tool_choice: choice } = body;
  if (tools === undefined || tools === null) return null;
  if (!Array.isArray(tools) || parts === undefined) return notKnown();
  const listed = (tools as readonly unknown[]).map((tool) => toolOf(tool, parts));
  if (choice === undefined || choice === null || choice === 'auto' || choice === 'required') {
    return choosesTools && listed.length === 0 ? null : listed;
  }
  if (!choosesTools) return notKnown();
  if (choice === 'none') return null;
  const named = isRecord(choice) && isRecord(choice.function) ? choice.function.name : notKnown();
  return listed.filter((tool) => isRecord(tool.function) && tool.function.name === named);
};

const optionsOf = (body: JsonRecord, { tellsEffort }: ChatInput): JsonRecord => {
  const { chat_template_kwargs: more = null, reasoning_effort: effort = null } = body;
  if (more !== null && !isRecord(more)) return notKnown();
  if (Object.keys(more ?? {}).some((name) => ownVariables.includes(name))) return notKnown();
  return { ...(tellsEffort && effort !== null ? { reasoning_effort: effort } : {}), ...more };
};

/** For a chat with its generation prompt. */
export const templateVariables = (
  body: JsonRecord,
  input: ChatInput,
  template: string,
): JsonRecord | undefined => {
  const { messages } = body;
  try {
    if (!Array.isArray(messages) || messages.length === 0) return undefined;
    const listed = (messages as readonly unknown[]).map((message) => messageOf(message, input, template));
    // Some engines go on with it, some take it as the user's, and releases differ.
    if (listed.at(-1)?.role === 'assistant') return undefined;
    const given = { messages: listed, tools: toolsOf(body, input), documents: null };
    return { ...optionsOf(body, input), ...given, add_generation_prompt: true };
  } catch (thrown) {
    if (thrown instanceof NotKnown) return undefined;
    throw thrown;
  }
};
