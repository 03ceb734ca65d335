import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { errorOf, json } from '../testing/bytes-in-pieces.ts';
import { codecs, type FrameName, type GoldenFrame } from '../testing/golden-frames.ts';
import { editNames } from './edits.ts';
import { errorTable } from './errors.ts';
import { frameTypes } from './frame.ts';
import { parseKvDelta } from './kv.ts';
import * as limits from './limits.ts';
import { cancelReasons, enrolPath, linkPath, pingText, pongText, replicaStates, versionMax } from './link.ts';
import { alwaysHeadFields, marks } from './prefix/parts.ts';
import { profileVersion } from './prefix/profile.ts';

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
    return /Ms(Max|Min|Default|Continuable)?$/.test(name) ? 'ms' : '';
  };
  const expected = Object.entries(limits).map(
    ([name, value]) => `| \`${name}\` | ${value.toLocaleString('en-US')} | ${unitOf(name)} |`,
  );
  const written = table('## Limits').map(([name, value, unit]) => `| \`${name}\` | ${value} | ${unit} |`);
  expect(written.sort()).toEqual(expected.sort());
});

test('the error codes are those of the code, with status, type, what is tried next, and fault', () => {
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
  for (const heading of ['## Frames', '## Limits', '## Error codes', '## Edits', '## Prefix digests']) {
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

test('the marks of canonical bytes, the fields of their head and their version are those of the code', () => {
  const expected = Object.entries(marks).map(([name, mark]) => [mark.slice(1), name]);
  expect(columns(table('## Prefix digests'), 2)).toEqual(expected);
  const names = alwaysHeadFields.map((name) => `\`${name}\``).join(', ');
  expect(page.replaceAll('\n', ' ')).toContain(names);
  expect(page).toContain(`\`cognitora prefix v${profileVersion}\``);
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
  const sizeOf = (message: object): number =>
    Object.keys(message).length * 65_536 + JSON.stringify(message).length;
  return messages.toSorted((a, b) => sizeOf(b) - sizeOf(a))[0] ?? {};
};

/** Where a described object stands in the example of a frame. */
const described: readonly [heading: string, type: FrameName, path: readonly (string | number)[]][] = [
  ['### HELLO', 'hello', []],
  ['A replica:', 'hello', ['replicas', 0]],
  ['A model:', 'hello', ['replicas', 0, 'models', 0]],
  ['### WELCOME', 'welcome', []],
  ['Prefix terms, which', 'welcome', ['prefix']],
  ['### REPLICAS', 'replicas', []],
  ['### GOAWAY', 'goaway', []],
  ['### OPEN', 'open', []],
  ['Spans, in bytes', 'open', ['spans']],
  ['A splice, inside', 'open', ['spans', 'usage']],
  ['A KV source. ', 'open', ['kvFrom']],
  ['### RESUME', 'resume', []],
  ['### HEAD', 'head', []],
  ['### END', 'end', []],
  ['Usage:', 'end', ['usage']],
  ['### FAIL', 'fail', []],
  ['### KVFEED', 'kvfeed', []],
  ['### TELEMETRY', 'telemetry', []],
  ['A load, which', 'telemetry', ['replicas', 0]],
  ['A GPU, told', 'telemetry', ['gpus', 0]],
  ['### KVPEER', 'kvpeer', []],
  ['An address:', 'kvpeer', ['addresses', 0]],
  ['A reached node:', 'kvpeer', ['reach', 0]],
  ['A mover, which', 'kvpeer', ['replicas', 0]],
  ['### KVFABRIC', 'kvfabric', []],
  ['A peer:', 'kvfabric', ['peers', 0]],
  ['### KVHOLDERS', 'kvholders', []],
  ['A profile, whose', 'kvfeed', ['profile']],
  ['Reasoning rules, for', 'kvfeed', ['profile', 'reasoning']],
];

const at = (value: unknown, path: readonly (string | number)[]): Record<string, unknown> =>
  path.reduce((inner, key) => (inner as Record<string, unknown>)[key], value) as Record<string, unknown>;

/** What the type's parser makes of JSON: for OPEN the JSON stands behind its length. */
const decoded = (type: FrameName, message: object): object => {
  if (type !== 'open') return codecs[type].decode(json(message));
  const { meta } = codecs.open.decode(codecs.open.encode({ meta: message, body: '' } as never)) as {
    meta: object;
  };
  return meta;
};

const errorFor = (type: FrameName, message: object): string | undefined =>
  errorOf(() => decoded(type, message))?.code;

/** Values that a type takes as they are, its ends above all, and values that it refuses. */
interface Examples {
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
}

const wholeNumbers = (from: number, to: number): Examples => ({
  good: [from, to],
  bad: [from - 1, to + 1, from + 0.5, String(from), true, [from], {}],
});
/** All of one kind, so that they are queries where those are asked for. */
const strings = (from: number, to: number): Examples => {
  const ofLength = (length: number): string => '?'.padEnd(length, 'x').slice(0, length);
  return {
    good: [ofLength(from), ofLength(to)],
    bad: [...(from > 0 ? [ofLength(from - 1)] : []), ofLength(to + 1), 7, true, ['x'], {}],
  };
};
const records: Examples = { good: [], bad: ['x', 7, true, []] };
const lists = (
  itemsMax: number,
  item: (index: number) => unknown,
  badItems: readonly unknown[],
): Examples => {
  const ofLength = (length: number): unknown[] => Array.from({ length }, (_, index) => item(index));
  return {
    good: [[], ofLength(itemsMax)],
    bad: [ofLength(itemsMax + 1), 'x', 7, {}, ...badItems.map((bad) => [item(0), bad])],
  };
};

const listOfChoices = (choices: readonly string[]): Examples => ({
  good: [[], choices.slice(1), choices],
  bad: [[...choices, choices[0]], ['other'], [choices[0], 7], choices[0], 7, {}],
});

/** In HELLO, where one version is the lower end of another. */
const versionsWithRoom = { versionMin: 5, versionMax: 65_535 };

/** A number as the page writes it, or by the name of a limit, or of another field of the same message. */
const numberOf = (text: string, fields: Record<string, unknown> = {}): number => {
  const [, exponent, less] = /^2\^(\d+)(-1)?$/.exec(text) ?? [];
  if (exponent !== undefined) return 2 ** Number(exponent) - (less === undefined ? 0 : 1);
  const named = { ...limits, ...fields }[text];
  const value = typeof named === 'number' ? named : Number(text.replaceAll(',', ''));
  if (text === '' || Number.isNaN(value))
    throw new Error(`docs/protocol.md has a number that nobody knows: "${text}"`);
  return value;
};

/** The two ends of a word for a type, as the page explains it under "JSON messages". */
const endsOf = (word: string): [from: number, to: number] => {
  const explained = new RegExp(`"${word}" a [\\w ]+? from (\\S+) to (\\S+?),?\\s`).exec(page);
  const text =
    explained ?? new RegExp(`"${word}" (?:is )?a string of (\\S+) to (\\S+) characters`).exec(page);
  const [, from = '', to = ''] = text ?? [];
  return [numberOf(from), numberOf(to.replaceAll('`', ''))];
};

const nodeId = `n${'a2'.repeat(13)}`;
const publicKey = 'A'.repeat(43);
const peerAddress = { transport: 'tls', host: 'h', port: 1 };
const reached = { node: nodeId, transport: 'quic', rttMs: 0.5, bytesPerMs: 1 };
const peer = { node: nodeId, name: 'h', publicKey, addresses: [] };
const mover = { name: 'r', namespace: 'n', bytesPerToken: 1, insertBytesPerMs: 1 };
const model = (index: number) => ({ id: `m${index}`, createdSeconds: 1, ownedBy: 'x' });
const replica = (index: number) => ({ name: `r${index}`, state: 'ready', models: [model(0)] });

interface Row {
  readonly field: string;
  readonly type: string;
  readonly meaning: string;
}

/** What each wording of a type means; `fields` are the others of the same object. */
const readings: readonly [
  wording: RegExp,
  read: (match: readonly string[], row: Row, fields: Record<string, unknown>) => Examples,
][] = [
  [/^name$/, () => strings(...endsOf('name'))],
  [/^message$/, () => strings(...endsOf('message'))],
  [/^count$/, () => wholeNumbers(...endsOf('count'))],
  [/^window$/, () => wholeNumbers(...endsOf('window'))],
  [/^string of (\S+) to (\S+)$/, ([, from = '', to = '']) => strings(numberOf(from), numberOf(to))],
  [
    /^(\S+) to (\S+)$/,
    ([, from = '', to = ''], _, fields) => wholeNumbers(numberOf(from, fields), numberOf(to, fields)),
  ],
  [/^true or false$/, () => ({ good: [true, false], bad: ['true', 1, 0, [], {}] })],
  [
    /^an error code, or leaving$/,
    () => ({ good: [...Object.keys(errorTable), 'leaving'], bad: ['', 7, {}] }),
  ],
  [/^an error code$/, () => ({ good: Object.keys(errorTable), bad: ['', 7, {}] })],
  [
    /^a region's name$/,
    () => ({ good: ['a', `w${'-9z'.repeat(10)}x`], bad: ['', 'A', '9', 'a b', 'x'.repeat(33), 7] }),
  ],
  [/^[\w-]+(?:, [\w-]+)+$/, ([all = '']) => ({ good: all.split(', '), bad: ['', 'other', all, 7] })],
  [/^list of (\w+(?:, \w+)+)$/, ([, all = '']) => listOfChoices(all.split(', '))],
  [/^(\d+), or later$/, ([, version = '']) => ({ good: [Number(version)], bad: [0, -1, 0.5, version, []] })],
  [/^list of replicas$/, (_, row) => lists(atMost(row), replica, [{}, 'x', replica(0)])],
  [/^list of loads$/, (_, row) => lists(atMost(row), (at) => ({ name: `r${at}` }), [{}, 'x', { name: '' }])],
  [/^list of GPUs$/, (_, row) => lists(atMost(row), (gpu) => ({ gpu }), [{}, 'x', { gpu: -1 }])],
  [/^list of GPU numbers$/, (_, row) => lists(atMost(row), (gpu) => gpu, [-1, 64, 0.5, '0'])],
  [/^list of models$/, (_, row) => lists(atMost(row), model, [{}, 'x'])],
  [
    /^list of \[name, value\]$/,
    (_, row) => lists(atMost(row), () => ['a', 'b'], ['x', ['a'], ['a', 1], ['a', 'b', 'c']]),
  ],
  [
    /^number from (\S+) to (\S+)$/,
    ([, from = '', to = '']) => ({
      good: [numberOf(from), numberOf(from) + 0.5, numberOf(to)],
      bad: [numberOf(from) - 0.5, numberOf(to) + 0.5, from, true, [], {}],
    }),
  ],
  [/^a node's id$/, () => ({ good: [nodeId], bad: ['', 'n', `${nodeId}a`, nodeId.toUpperCase(), 7] })],
  [
    /^a public key$/,
    () => ({ good: [publicKey], bad: ['', publicKey.slice(1), `${publicKey}A`, `${publicKey}=`, 7] }),
  ],
  [
    /^a host$/,
    () => ({
      good: ['h', 'a.example', '10.0.0.1', 'fe80::1%eth0', 'x'.repeat(253)],
      bad: ['', 'a b', '[::1]', 'a/b', 'x'.repeat(254), 7],
    }),
  ],
  [
    /^32 lower-case hex digits$/,
    () => ({
      good: ['0'.repeat(32), 'f9'.repeat(16)],
      bad: ['', 'a'.repeat(31), 'a'.repeat(33), 'F'.repeat(32), 7],
    }),
  ],
  [/^list of addresses$/, (_, row) => lists(atMost(row), () => peerAddress, [{}, 'x'])],
  [/^list of reached nodes$/, (_, row) => lists(atMost(row), () => reached, [{}, 'x'])],
  [/^list of movers$/, (_, row) => lists(atMost(row), () => mover, [{}, 'x'])],
  [/^list of peers$/, (_, row) => lists(atMost(row), () => peer, [{}, 'x'])],
  [
    /^list of nodes' ids$/,
    (_, row) => {
      const { good, bad } = lists(atMost(row), () => nodeId, ['', 7, {}]);
      // Places of the example point into it: it is not empty.
      return { good: good.slice(1), bad };
    },
  ],
  [
    /^list of places$/,
    (_, row) => lists(atMost(row), () => [], ['x', 7, [-1], [256], ['0'], [0, 0, 0, 0, 0]]),
  ],
  [/^(?:a KV source|spans|a splice|usage|prefix terms|a profile|reasoning rules)$/, () => records],
  [/^as END$/, () => ({ ...records, bad: [...records.bad, {}, { bodyBytes: 1 }] })],
  [
    /^\[start, end\)$/,
    () => ({
      good: [
        [9, 19],
        [9, 10],
      ],
      bad: [[9, 9], [10, 9], [-1, 9], [0.5, 9], [9], [9, 2 ** 20], 'x'],
    }),
  ],
  [/^offset$/, () => ({ good: [0, 9, 19], bad: [-1, 0.5, 2 ** 20, '0'] })],
];

/** How many items a list may have: said where it occurs first. */
const atMost = ({ field, meaning }: Row): number => {
  const said = /at most (\w+)/.exec(meaning)?.[1];
  if (said !== undefined) return numberOf(said);
  const first = /^as in (\w+)$/.exec(meaning)?.[1];
  const row = table(`### ${first}`).find(([name]) => name === field);
  return atMost({ field, type: '', meaning: row?.[3] ?? 'nowhere' });
};

/** Ends of a range that other fields of the message rule out. */
const ruledOut: Readonly<Record<string, readonly unknown[]>> = {
  // A body without bytes has no model in it.
  '0 to bodyBytesMaxSelfHosted': [0],
};

const examplesOf = (row: Row, fields: Record<string, unknown>): Examples => {
  // How many bytes go is a count, within the body.
  if (row.field === 'removeBytes') return { good: [0, 8], bad: [-1, 9, 2 ** 20, 0.5, '0'] };
  for (const [wording, read] of readings) {
    const match = wording.exec(row.type);
    if (match === null) continue;
    const { good, bad } = read(match, row, fields);
    return { good: good.filter((value) => !ruledOut[row.type]?.includes(value)), bad };
  }
  throw new Error(`docs/protocol.md has a type that nobody holds to the code: "${row.type}"`);
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

  const typed = rows.map(([field = '', typeText = '', required = '', meaning = '']) => {
    return { field, type: typeText, required, meaning };
  });
  test.each(typed)('$field is of type: $type', (row) => {
    const base = { ...structuredClone(exampleOf(type)), ...(type === 'hello' ? versionsWithRoom : {}) };
    const withValue = (value: unknown): object => {
      const message = structuredClone(base);
      at(message, path)[row.field] = value;
      return message;
    };
    const { good, bad } = examplesOf(row, at(base, path));
    const absent = [undefined, null];
    for (const value of good) {
      expect([value, at(decoded(type, withValue(value)), path)[row.field]]).toEqual([value, value]);
    }
    for (const value of [...bad, ...(row.required === 'yes' ? absent : [])]) {
      expect([value, errorFor(type, withValue(value))]).toEqual([value, 'protocol_error']);
    }
    for (const value of row.required === 'no' ? absent : []) {
      expect([value, errorFor(type, withValue(value))]).toEqual([value, undefined]);
    }
  });
});

/** Whole messages that are no JSON: their tables have the fields in order, with how many bytes each takes. */
const layouts: readonly [heading: string, type: FrameName, lists: readonly string[]][] = [
  ['### KVDELTA', 'kvdelta', ['added', 'removed']],
  ['### KVSNAPSHOT', 'kvsnapshot', ['blocks']],
  ['### KVMARK', 'kvmark', []],
  ['### KVWANT', 'kvwant', []],
  ['### KVHELD', 'kvheld', ['added', 'removed']],
  ['### KVASK', 'kvask', ['digests']],
];

const bytesOf = ({ type, payload }: GoldenFrame): Uint8Array => codecs[type].encode(payload as never);
const numberAt = (bytes: Uint8Array, from: number, length: number): number =>
  bytes.subarray(from, from + length).reduce((value, byte) => value * 256 + byte, 0);

describe.each(layouts)('the bytes under "%s"', (heading, type, listNames) => {
  const rows = table(heading);

  test.each(vectors.filter((vector) => vector.type === type))('are those of $name', (vector) => {
    const bytes = bytesOf(vector);
    const fields: Record<string, unknown> = {};
    const withoutLists = bytes.slice();
    let at = 0;
    for (const [field = '', width = '', meaning = ''] of rows) {
      if (width === 'the rest') break;
      const value = numberAt(bytes, at, Number(width));
      // A list may have its length among the numbers.
      if (listNames.includes(field)) withoutLists.fill(0, at, at + Number(width));
      at += Number(width);
      const flag = /^bit 0, (\w+):/.exec(meaning)?.[1];
      if (field === 'reserved') expect(value).toBe(0);
      else if (flag === undefined) fields[field] = value;
      else fields[flag] = value === 1;
    }
    for (const list of listNames.filter((name) => name in fields)) {
      expect(messageOf(vector)[list]).toHaveLength(Number(fields[list]));
    }
    const lists = Object.fromEntries(listNames.map((list) => [list, expect.anything()]));
    expect({ ...fields, ...lists }).toEqual(vector.payload);
    const isOpenEnded = rows.some(([, width]) => width === 'the rest');
    expect(isOpenEnded ? bytes.length >= at : bytes.length === at).toBe(true);
    // The head is as long as the page says: a byte less is refused.
    expect(errorOf(() => codecs[type].decode(withoutLists.subarray(0, at)))).toBeUndefined();
    expect(errorOf(() => codecs[type].decode(withoutLists.subarray(0, at - 1)))?.code).toBe('protocol_error');
  });
});

test('sections are laid out as the page says, and their kinds are those of the code', () => {
  const widths = table('### Sections').map(([, width = '']) => Number.parseInt(width, 10));
  expect(widths).toEqual([1, 3, 4, 8]);
  const empty = codecs.kvdelta.encode({
    feed: 0,
    sequence: 0,
    isCleared: false,
    added: [],
    removed: [],
  } as never);
  const withSection = (kind: number): Uint8Array =>
    Uint8Array.from([...empty, kind, 0, 0, 0, 0, 0, 0, 1, ...Array(8).fill(7)]);
  const kinds = table('| kind | change | tier |');
  for (const [kind, change, tier] of kinds) {
    const { added, removed } = parseKvDelta(withSection(Number(kind)));
    expect([added, removed].map((list) => list.map((blocks) => blocks.tier))).toEqual(
      change === 'added' ? [[tier], []] : [[], [tier]],
    );
  }
  const { added, removed } = parseKvDelta(withSection(kinds.length));
  expect([...added, ...removed]).toEqual([]);
});
