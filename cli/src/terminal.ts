/**
 * How `cgn` talks: results on standard output, progress and problems on standard error, tables for people. Nothing
 * else in this room writes to either.
 */
import { existsSync } from 'node:fs';
import { printable } from '@cognitora/protocol/printable';

/** A failure that is the user's to fix: printed without a stack; the message says what to do. */
export class UserError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Commands as a person types them where it is no npm, which keeps options to itself, that runs us. */
export const asCalled = (text: string): string =>
  text
    .replace('Options go after "--": npm', 'Write it so: npm')
    .replace(/\bnpm run (?:-s )?cgn --(?= )/g, 'cgn')
    .replace(/\bnpm start --(?= )/g, 'cgn up');

/** Commands as a person types them in a clone: in quotes, in brackets or behind a colon; for a shell's `$()` alone. */
export const asNpmRuns = (text: string): string =>
  text
    .replace(/(?<=\$\()cgn (?=[a-z])/g, 'npm run -s cgn -- ')
    .replace(/(?<=["(]|: )cgn (?=[a-z])/g, 'npm run cgn -- ');

/** Node stands beside us in a release alone. */
const isRelease = existsSync(new URL('../../runtime/bin/node', import.meta.url));
/** By one of our scripts in package.json; npx, and whatever else runs a `cgn`, names another. */
const isByNpm = !isRelease && ['cgn', 'start'].includes(process.env.npm_lifecycle_event ?? '');
const spoken = isByNpm ? asNpmRuns : asCalled;

export const say = (text: string): void => {
  process.stdout.write(`${spoken(text)}\n`);
};

export const sayJson = (value: unknown): void => {
  const line = JSON.stringify(value);
  // What stands in quotes may be anybody's name.
  process.stdout.write(`${isByNpm ? line : asCalled(line)}\n`);
};

/** In place of what was there, on a terminal; below it elsewhere. */
export const redraw = (text: string): void => {
  const told = spoken(text);
  process.stdout.write(process.stdout.isTTY ? `\x1b[H\x1b[2J${told}\n` : `${told}\n\n`);
};

export const warn = (text: string): void => {
  process.stderr.write(`${spoken(text)}\n`);
};

/** Steps of long work: one line each; on a terminal a step's line is rewritten while it goes on. */
export class Progress {
  readonly #quiet: boolean;
  readonly #said = new Map<string, string>();
  #open = '';

  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }

  /** What goes on now under `step`; replaces what that step said before. */
  update(step: string, text: string): void {
    // A wait that looks again and again has nothing new to say each time.
    if (this.#quiet || this.#said.get(step) === text) return;
    this.#said.set(step, text);
    const line = `  ${step.padEnd(9)} ${printable(spoken(text))}`;
    if (process.stderr.isTTY) {
      const width = Math.max(20, (process.stderr.columns || 80) - 1);
      process.stderr.write(
        `${this.#open === step ? '\r\x1b[K' : this.#open === '' ? '' : '\n'}${line.slice(0, width)}`,
      );
      this.#open = step;
    } else process.stderr.write(`${line}\n`);
  }

  /** Ends the line that is open. */
  done(): void {
    if (this.#open !== '') process.stderr.write('\n');
    this.#open = '';
  }
}

/** Rows as aligned columns under a header; numbers to the right. */
export const table = (header: readonly string[], raw: readonly (readonly (string | number)[])[]): string => {
  const rows = raw.map((row) => row.map((cell) => (typeof cell === 'number' ? cell : printable(cell))));
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => String(row[column] ?? '').length)),
  );
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)].join('\n');
};

/** `3 min ago`, `in 2 h`: times for people. */
export const relativeTime = (atMs: number, nowMs: number): string => {
  const seconds = Math.round(Math.abs(atMs - nowMs) / 1000);
  const [amount, unit] =
    seconds < 90
      ? [seconds, 's']
      : seconds < 5_400
        ? [Math.round(seconds / 60), 'min']
        : seconds < 172_800
          ? [Math.round(seconds / 3600), 'h']
          : [Math.round(seconds / 86_400), 'd'];
  return atMs > nowMs ? `in ${amount} ${unit}` : `${amount} ${unit} ago`;
};

/** `1.5 MB`: sizes for people; a MB is a million bytes. */
export const byteSize = (bytes: number): string => {
  let size = bytes;
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (size < 1_000) return `${size < 10 && unit !== 'B' ? size.toFixed(1) : Math.round(size)} ${unit}`;
    size /= 1_000;
  }
  return `${size.toFixed(1)} TB`;
};
