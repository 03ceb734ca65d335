/**
 * One line per event on standard error: JSON for programs, plain words on a terminal. Never a prompt, a key or a
 * token; never a line per frame.
 */
import { printable } from '@cognitora/protocol/printable';

export type LogFields = { readonly [name: string]: string | number | boolean | undefined };

export type Log = (level: 'info' | 'warn' | 'error', event: string, fields?: LogFields) => void;

/** For a terminal: whatever an engine or a peer says of itself cannot move its cursor. */
export const plain = (level: string, event: string, fields: LogFields): string => {
  const details = Object.entries(fields).filter(([, value]) => value !== undefined);
  const text = details.map(([name, value]) => `${name}=${String(value)}`).join(' ');
  const told = printable(`${event}${text === '' ? '' : ` (${text})`}`);
  return `${level === 'info' ? '' : `${level}: `}${told}\n`;
};

/** Writes to standard error. */
export const standardErrorLog: Log = (level, event, fields = {}) => {
  const line = process.stderr.isTTY
    ? plain(level, event, fields)
    : `${JSON.stringify({ level, event, ...fields })}\n`;
  process.stderr.write(line);
};
