/** `/tokenize`, `/detokenize` and `/apply-template`, in llama-server's shapes. */
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

export function parseTemplateRequest(body: f.JsonObject): {
  messages: readonly ChatMessage[];
  addGenerationPrompt: boolean;
} {
  const fields = f.readFields(templateFields, body);
  return { messages: fields.messages, addGenerationPrompt: fields.add_generation_prompt };
}
