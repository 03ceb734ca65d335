/** What an engine says for people among the lines that it writes. Pure. */
import { jsonRecordIn } from './shape.ts';

/**
 * A line as a person reads it: of an event for programs, as the embedded engine writes them, its message. Undefined: it
 * has none.
 */
export const engineWords = (line: string): string | undefined => {
  const { event, message } = jsonRecordIn(line) ?? {};
  if (typeof event !== 'string') return line;
  return typeof message === 'string' ? message : undefined;
};
