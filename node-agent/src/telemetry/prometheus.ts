/**
 * Prometheus' text format as engines write it: the samples of the families that are asked for, whatever else stands on
 * the page. Pure and tolerant: a line that cannot be read says nothing. Knows no metric and no engine.
 */

/** All samples of one name together. */
export interface Samples {
  readonly sum: number;
  readonly count: number;
}

const nameEnd = /[{\s]/;

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

/** Of each name that has any sample. */
export const samplesOf = (page: string, names: ReadonlySet<string>): ReadonlyMap<string, Samples> => {
  const found = new Map<string, Samples>();
  for (let from = 0; from < page.length; ) {
    const lineEnd = page.indexOf('\n', from);
    const line = page.slice(from, lineEnd < 0 ? page.length : lineEnd).trim();
    from = lineEnd < 0 ? page.length : lineEnd + 1;
    if (line === '' || line.startsWith('#')) continue;
    const nameLength = line.search(nameEnd);
    const name = line.slice(0, Math.max(0, nameLength));
    if (!names.has(name)) continue;
    const value = valueIn(line, nameLength);
    if (value === undefined) continue;
    const { sum, count } = found.get(name) ?? { sum: 0, count: 0 };
    found.set(name, { sum: sum + value, count: count + 1 });
  }
  return found;
};
