/**
 * A tool's definition as templates write it into a prompt: JSON, but each library spaces it in its own way, and some
 * templates write only the function of a tool. Pure text, for finding the definition in a rendered prompt.
 */
import { isRecord } from '../shape.ts';

export const toolTextScopes = ['tool', 'function'] as const;
/** `compact` as JavaScript writes it, `spaced` as Python does, else on lines of their own. */
export const toolTextStyles = ['spaced', 'compact', 'indent-2', 'indent-4'] as const;

export interface ToolText {
  readonly scope: (typeof toolTextScopes)[number];
  readonly style: (typeof toolTextStyles)[number];
}

const spaced = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (!isRecord(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${spaced(inner)}`);
  return `{${members.join(', ')}}`;
};

const write: Readonly<Record<ToolText['style'], (value: unknown) => string>> = {
  spaced,
  compact: (value) => JSON.stringify(value),
  'indent-2': (value) => JSON.stringify(value, null, 2),
  'indent-4': (value) => JSON.stringify(value, null, 4),
};

/** How the tool would stand in the prompt; empty for one without what the scope names, or too deep to write. */
export const toolTextOf = (tool: unknown, { scope, style }: ToolText): string => {
  const written = scope === 'tool' ? tool : isRecord(tool) ? tool.function : undefined;
  try {
    return written === undefined ? '' : write[style](written);
  } catch {
    return '';
  }
};
