/** `/tokenize`, `/detokenize`, `/apply-template` and `/slots`, in llama-server's shapes. */
import { invalid } from './errors.ts';
import * as f from './fields.ts';
import { type ChatMessage, messages } from './messages.ts';

const tokens: f.Reader<readonly number[] | undefined> = (value, name) =>
  f.array(value, name)?.map((entry) => {
    if (typeof entry === 'number' && Number.isInteger(entry) && entry >= 0) return entry;
    throw invalid(name, `"${name}" must be an array of token ids.`);
  });

const tokenizeFields = {
  content: f.required(f.string),
  add_special: f.withDefault(f.boolean, false),
  parse_special: f.withDefault(f.boolean, true),
  with_pieces: f.withDefault(f.boolean, false),
} as const;

const detokenizeFields = { tokens: f.required(tokens) } as const;

/** A bare name: no way out of the directory, and nothing hidden in it. */
const fileNamePattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/;

const fileName: f.Reader<string | undefined> = (value, name) => {
  const text = f.string(value, name);
  if (text === undefined || fileNamePattern.test(text)) return text;
  throw invalid(name, `"${name}" must be a bare file name.`);
};

const slotFields = { filename: f.required(fileName) } as const;

const templateFields = {
  messages: f.required(messages),
  tools: f.refused('this engine does not call tools.', []),
  add_generation_prompt: f.withDefault(f.boolean, true),
} as const;

export function parseTokenizeRequest(body: f.JsonObject): f.Fields<typeof tokenizeFields> {
  return f.readFields(tokenizeFields, body);
}

export function parseDetokenizeRequest(body: f.JsonObject): readonly number[] {
  return f.readFields(detokenizeFields, body).tokens;
}

export function parseSlotRequest(body: f.JsonObject): string {
  return f.readFields(slotFields, body).filename;
}

export function parseTemplateRequest(body: f.JsonObject): {
  messages: readonly ChatMessage[];
  addGenerationPrompt: boolean;
} {
  const fields = f.readFields(templateFields, body);
  return { messages: fields.messages, addGenerationPrompt: fields.add_generation_prompt };
}
