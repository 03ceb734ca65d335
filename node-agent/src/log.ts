/**
 * One line per event: JSON for programs, plain words on a terminal, each of bounded length and without a character that
 * moves a cursor. Never a prompt, a key or a token; never a line per frame. It is `line-writer.ts` that writes.
 */
import { printable } from '@cognitora/protocol/printable';
import { isoTime } from './clock.ts';
import type { LogFormat, LogLevel } from './config/agent-config.ts';

export type LogFields = { readonly [name: string]: string | number | boolean | undefined };

export type Log = (level: LogLevel, event: string, fields?: LogFields) => void;

export interface LogOptions {
  readonly format: LogFormat;
  /** The least that is written. */
  readonly level: LogLevel;
  readonly isTerminal: boolean;
  readonly wallMs: () => number;
  /** Never shown, wherever they occur. */
  readonly secrets: readonly string[];
  /** False: there was no room for the line. */
  readonly write: (line: string) => boolean;
}

/** A line longer than this is cut by what collects lines: syslog's receivers accept 8 KiB. */
export const logLineCharsMax = 8 * 1024;
/** One value of a line: an error's message with the text it quotes. */
const valueCharsMax = 2_000;
/** Of a line with too many of those. */
const shortCharsMax = 100;
/** A shorter "secret" occurs in any text. */
const secretCharsMin = 6;

const rank: Readonly<Record<LogLevel, number>> = { info: 0, warn: 1, error: 2 };

/** Keys and tokens of ours, of usual engines and hubs, and what follows "Bearer". */
const tokenPattern = /\b(?:cg[a-z]_|sk-|hf_)[A-Za-z0-9_-]{6,}|(?<=\bBearer\s)[^\s"',]+/gi;

/** The text without anything that looks like a key or a token. */
export const hideTokens = (text: string): string => text.replaceAll(tokenPattern, '[hidden]');

/** A function that hides these secrets wherever they occur, and what looks like one. */
export const hiding = (secrets: readonly string[]): ((text: string) => string) => {
  const known = secrets.filter((secret) => secret.length >= secretCharsMin);
  return (text) => hideTokens(known.reduce((shown, secret) => shown.replaceAll(secret, '[hidden]'), text));
};

const cut = (text: string, charsMax: number): string =>
  text.length <= charsMax ? text : `${text.slice(0, charsMax)}...`;

type Line = readonly (readonly [name: string, value: string | number | boolean])[];

/** JSON has escapes of its own; what it leaves as it is would still move a cursor. */
const asJson = (line: Line): string => printable(JSON.stringify(Object.fromEntries(line)));

const asWords = (line: Line): string => {
  const { level, event, time: _, ...fields } = Object.fromEntries(line);
  const details = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`);
  const text = `${level === 'info' ? '' : `${level}: `}${event}`;
  return printable(details.length === 0 ? text : `${text} (${details.join(' ')})`);
};

export const createLog = (options: LogOptions): Log => {
  const { level: least, isTerminal, wallMs, write } = options;
  const hidden = hiding(options.secrets);
  const isJson = options.format === 'json' || (options.format === 'auto' && !isTerminal);
  const render = isJson ? asJson : asWords;
  let lost = 0;

  const lineOf = (level: LogLevel, event: string, fields: LogFields, charsMax: number): string => {
    const line: [string, string | number | boolean][] = [
      ['time', isoTime(wallMs())],
      ['level', level],
      ['event', cut(hidden(event), charsMax)],
    ];
    for (const [name, value] of Object.entries(fields)) {
      if (value === undefined) continue;
      line.push([name, typeof value === 'string' ? cut(hidden(value), charsMax) : value]);
    }
    return render(line);
  };

  const bounded = (level: LogLevel, event: string, fields: LogFields): string => {
    const line = lineOf(level, event, fields, valueCharsMax);
    if (line.length <= logLineCharsMax) return line;
    const short = lineOf(level, event, fields, shortCharsMax);
    return short.length <= logLineCharsMax ? short : lineOf(level, event, {}, shortCharsMax);
  };

  return (level, event, fields = {}) => {
    if (rank[level] < rank[least]) return;
    if (lost > 0 && write(`${lineOf('warn', 'log lines were lost', { lines: lost }, valueCharsMax)}\n`))
      lost = 0;
    if (!write(`${bounded(level, event, fields)}\n`)) lost += 1;
  };
};
