import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { errorOf, json } from '../testing/bytes-in-pieces.ts';
import { codecs, type FrameName, type GoldenFrame } from '../testing/golden-frames.ts';
import { editNames } from './edits.ts';
import { errorTable } from './errors.ts';
import { frameTypes } from './frame.ts';
import * as limits from './limits.ts';
import { cancelReasons, enrolPath, linkPath, pingText, pongText, replicaStates, versionMax } from './link.ts';

// `docs/protocol.md` is what others build on. Change it together with the code: a failure shows the row that is due.
const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

/** The cells of the table's rows that follows `after`, without back quotes. */
const table = (after: string): string[][] => {
  const from = page.indexOf(after);
  if (from < 0) throw new Error(`docs/protocol.md has no "${after}"`);
  const lines = page.slice(from).split('\n');
  const start = lines.findIndex((line) => line.startsWith('|---'));
  const length = lines.slice(start).findIndex((line) => !line.startsWith('|'));
  return lines.slice(start + 1, start + length).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
};

const columns = (rows: readonly string[][], count: number): string[][] =>
  rows.map((row) => row.slice(0, count));

test('the frame types are those of the code, with number and direction', () => {
  const expected = Object.entries(frameTypes).map(([name, number]) => [
    `0x${number.toString(16).padStart(2, '0')}`,
    name.toUpperCase(),
  ]);
  const rows = table('## Frames');
  expect(columns(rows, 2)).toEqual(expected);
  for (const [number, name, direction] of rows) {
    const value = Number(number);
    if (value >= 0x20) expect([name, direction]).toEqual([name, 'agent to edge']);
    else if (value >= 0x10) expect([name, direction]).toEqual([name, 'edge to agent']);
  }
});

test('the limits are those of the code, with value and unit', () => {
  const unitOf = (name: string): string => {
    if (name.includes('Bytes')) return 'bytes';
    if (name.includes('Chars')) return 'characters';
    return /Ms(Max|Min|Default)?$/.test(name) ? 'ms' : '';
  };
  const expected = Object.entries(limits).map(
    ([name, value]) => `| \`${name}\` | ${value.toLocaleString('en-US')} | ${unitOf(name)} |`,
  );
  const written = table('## Limits').map(([name, value, unit]) => `| \`${name}\` | ${value} | ${unit} |`);
  expect(written.sort()).toEqual(expected.sort());
});

test('the error codes are those of the code, with status, type, retry and fault', () => {
  const expected = Object.entries(errorTable).map(([code, row]) => [
    code,
    String(row.status),
    row.type,
    row.retryable ? 'yes' : 'no',
    row.fault,
  ]);
  expect(columns(table('## Error codes'), 5).sort()).toEqual(expected.sort());
});

test('every row says what it means', () => {
  for (const heading of ['## Frames', '## Limits', '## Error codes', '## Edits']) {
    for (const row of table(heading)) expect([row[0], (row.at(-1) ?? '').length > 3]).toEqual([row[0], true]);
  }
});

test('the edits are those of the code, in its own words', () => {
  const source = readFileSync(new URL('./edits.ts', import.meta.url), 'utf8');
  const inSource = source
    .split('\n')
    .filter((line) => line.startsWith(' * | `'))
    .map((line) =>
      line
        .slice(4, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  expect(table('## Edits')).toEqual(inSource);
  expect(inSource.map(([name]) => name)).toEqual([...editNames]);
});

test('the reasons to cancel are those of the code, in order', () => {
  expect(table('### CANCEL')).toEqual(cancelReasons.map((reason, number) => [String(number), reason]));
});

test('paths, heartbeat texts, replica states and the version are those of the code', () => {
  expect(page).toContain(`POST ${enrolPath}`);
  expect(page).toContain(`WebSocket to \`${linkPath}\``);
  expect(page).toContain(`\`${pingText}\``);
  expect(page).toContain(`\`${pongText}\``);
  expect(page).toContain(replicaStates.map((state) => `\`${state}\``).join(', '));
  expect(page).toContain(`# The link protocol, version ${versionMax}`);
});

/** Of each type some vector has every field. */
const { vectors } = JSON.parse(readFileSync(new URL('../golden/link-v1.json', import.meta.url), 'utf8')) as {
  vectors: GoldenFrame[];
};

const messageOf = ({ payload }: GoldenFrame): Record<string, unknown> => ({
  ...('meta' in payload ? (payload.meta as object) : payload),
});

const exampleOf = (type: FrameName): Record<string, unknown> => {
  const messages = vectors.filter((vector) => vector.type === type).map(messageOf);
  return messages.toSorted((a, b) => Object.keys(b).length - Object.keys(a).length)[0] ?? {};
};

/** Where a described object stands in the example of a frame. */
const described: readonly [heading: string, type: FrameName, path: readonly (string | number)[]][] = [
  ['### HELLO', 'hello', []],
  ['A replica:', 'hello', ['replicas', 0]],
  ['A model:', 'hello', ['replicas', 0, 'models', 0]],
  ['### WELCOME', 'welcome', []],
  ['### REPLICAS', 'replicas', []],
  ['### GOAWAY', 'goaway', []],
  ['### OPEN', 'open', []],
  ['Spans, in bytes', 'open', ['spans']],
  ['A splice, inside', 'open', ['spans', 'usage']],
  ['### HEAD', 'head', []],
  ['### END', 'end', []],
  ['Usage:', 'end', ['usage']],
  ['### FAIL', 'fail', []],
];

const at = (value: unknown, path: readonly (string | number)[]): Record<string, unknown> =>
  path.reduce((inner, key) => (inner as Record<string, unknown>)[key], value) as Record<string, unknown>;

/** What the type's parser says of JSON: for OPEN the JSON stands behind its length. */
const errorFor = (type: FrameName, message: object): string | undefined => {
  const bytes = type === 'open' ? codecs.open.encode({ meta: message, body: '' } as never) : json(message);
  return errorOf(() => codecs[type].decode(bytes))?.code;
};

describe.each(described)('the fields under "%s"', (heading, type, path) => {
  const rows = table(heading);

  test('are those of the message', () => {
    const fields = rows.map(([field]) => field).sort();
    expect(fields).toEqual(Object.keys(at(exampleOf(type), path)).sort());
  });

  test.each(rows.map(([field, , required]) => [field ?? '', required ?? '']))(
    '%s is required: %s',
    (field, required) => {
      const message = structuredClone(exampleOf(type));
      expect(errorFor(type, message)).toBeUndefined();
      delete at(message, path)[field];
      expect(errorFor(type, message)).toBe(required === 'yes' ? 'protocol_error' : undefined);
    },
  );
});
