/**
 * Prompts as the template in `node-agent/testing/tokenizers/chatml` writes them, by hand, from what an engine makes of
 * a request: each lists the parts of a tool's function in an order of its own, some with what the client left out.
 */
import { join } from 'node:path';

export const chatmlFolder = join(import.meta.dirname, '../../node-agent/testing/tokenizers/chatml');

interface Message {
  readonly role: string;
  readonly content?: string | null;
}
interface Tool {
  readonly function: Readonly<Record<string, unknown>>;
}
export interface Chat {
  readonly messages: readonly Message[];
  readonly tools?: readonly Tool[];
}
/** Parts of a function, each with its value where the client gives none. */
export type ToolParts = Readonly<Record<string, unknown>>;

/** As Python's `json.dumps` writes it. */
const pythonJson = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const parts = Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${pythonJson(part)}`);
  return `{${parts.join(', ')}}`;
};

const turn = (role: string, text: string): string => `<|im_start|>${role}\n${text}<|im_end|>\n`;

export const chatmlPrompt = ({ messages, tools = [] }: Chat, parts: ToolParts): string => {
  const [first] = messages;
  const isSystem = first?.role === 'system';
  const listed = tools.map(({ function: named }) => {
    const made = Object.entries(parts).map(([name, absent]) => [name, named[name] ?? absent]);
    return `\n${pythonJson({ type: 'function', function: Object.fromEntries(made) })}`;
  });
  const system = isSystem ? `${first.content}\n\n` : '';
  const shown = tools.length === 0 ? '' : turn('system', `${system}Tools:${listed.join('')}`);
  const rest = messages.slice(tools.length > 0 && isSystem ? 1 : 0);
  return `${shown}${rest.map(({ role, content }) => turn(role, content ?? '')).join('')}<|im_start|>assistant\n`;
};
