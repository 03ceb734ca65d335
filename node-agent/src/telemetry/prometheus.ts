/**
 * Prometheus' text format as engines write it: the samples of the families that are asked for, whatever else stands on
 * the page. Pure and tolerant: a line that cannot be read says nothing. Knows no metric and no engine.
 */

/** All samples of one name together. */
export interface Samples {
  readonly sum: number;
  readonly count: number;
}

/** vLLM's page has about a thousand for each model. */
export const linesMax = 20_000;

const nameEnd = /[{\s]/;
const blanks: ReadonlySet<string> = new Set([' ', '\t', '\r']);

/** Where the labels that begin at `from` end: braces and blanks inside quotes are text. -1: nowhere. */
const labelsEnd = (line: string, from: number): number => {
  let isQuoted = false;
  for (let at = from; at < line.length; at += 1) {
    const char = line[at];
    if (isQuoted && char === '\\') at += 1;
    else if (char === '"') isQuoted = !isQuoted;
    else if (char === '}' && !isQuoted) return at + 1;
  }
  return -1;
};

/** The number behind a sample's name and labels; undefined for what is no finite number. */
const valueIn = (line: string, nameLength: number): number | undefined => {
  const rest = line.slice(nameLength).trimStart();
  const end = rest.startsWith('{') ? labelsEnd(rest, 1) : 0;
  if (end < 0) return undefined;
  // A time may follow.
  const [text = ''] = rest.slice(end).trim().split(/\s/);
  const value = text === '' ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : undefined;
};

const hasTooManyLines = (page: string): boolean => {
  let lines = 1;
  for (let at = page.indexOf('\n'); at >= 0 && lines <= linesMax; at = page.indexOf('\n', at + 1)) lines += 1;
  return lines > linesMax;
};

/** Whether only blanks stand before it in its line. */
const beginsLine = (page: string, at: number): boolean => {
  let before = at - 1;
  while (before >= 0 && blanks.has(page[before] ?? '')) before -= 1;
  return before < 0 || page[before] === '\n';
};

const samplesOfName = (page: string, name: string): Samples => {
  let sum = 0;
  let count = 0;
  for (let at = page.indexOf(name); at >= 0; at = page.indexOf(name, at + name.length)) {
    if (!nameEnd.test(page[at + name.length] ?? '') || !beginsLine(page, at)) continue;
    const lineEnd = page.indexOf('\n', at);
    const line = page.slice(at, lineEnd < 0 ? page.length : lineEnd);
    const value = valueIn(line, name.length);
    if (value === undefined) continue;
    sum += value;
    count += 1;
  }
  return { sum, count };
};

/**
 * Of each name that has any sample. Looks for the names, since most of a page is of no interest: this process carries
 * streams. Throws where the page has more lines than it may; of a part of it the sums would be wrong.
 */
export const samplesOf = (page: string, names: ReadonlySet<string>): ReadonlyMap<string, Samples> => {
  if (hasTooManyLines(page)) throw new RangeError(`the page has more than ${linesMax} lines`);
  const found = new Map<string, Samples>();
  for (const name of names) {
    const samples = samplesOfName(page, name);
    if (samples.count > 0) found.set(name, samples);
  }
  return found;
};
