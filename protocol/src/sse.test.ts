import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { cuts, pieces, singleBytes, text } from '../testing/bytes-in-pieces.ts';
import { utf8 } from './bytes.ts';
import { CognitoraError } from './errors.ts';
import { sseEventBytesMax } from './limits.ts';
import { endOfEvent, endsEvent, FieldLines, keepAliveComment, SseSplitter, sseError } from './sse.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

interface Cut {
  readonly event: string;
  readonly whole: boolean;
}

const split = (pushes: readonly Uint8Array[]): { readonly events: Cut[]; readonly rest: string } => {
  const splitter = new SseSplitter();
  const events: Cut[] = [];
  for (const push of pushes) {
    splitter.push(push, (event, whole) => events.push({ event: text(event), whole }));
  }
  return { events, rest: text(splitter.end()) };
};

/** Where a blank line ends, found with a regular expression over the whole text. */
const expectedEvents = (stream: string): string[] => {
  const events: string[] = [];
  let rest = stream;
  for (;;) {
    const blank = /(\r\n|\n|\r(?!$|\n)){2}/.exec(rest);
    if (blank === null) return [...events, rest];
    const end = blank.index + blank[0].length;
    events.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
};

const stream = fc
  .array(fc.constantFrom('\n', '\r', '\r\n', '\n\n', '\r\n\r\n', 'data: x', '{"a":1}', ':'), {
    maxLength: 25,
  })
  .map((parts) => parts.join(''));

test('events end at blank lines of LF, CRLF or CR, however the bytes are cut', () => {
  fc.assert(
    fc.property(stream, cuts, (bytes, at) => {
      const { events, rest } = split(pieces(utf8(bytes), at));
      expect([...events.map(({ event }) => event), rest]).toEqual(expectedEvents(bytes));
      expect(split(singleBytes(utf8(bytes))).events).toEqual(events);
    }),
    { numRuns: 2000 },
  );
});

test('a stream is at a boundary exactly between its events', () => {
  const splitter = new SseSplitter();
  const states: boolean[] = [splitter.atBoundary];
  for (const push of ['data: a', '\n', '\n', 'data: b\n\n', 'd']) {
    splitter.push(utf8(push), () => {});
    states.push(splitter.atBoundary);
  }
  expect(states).toEqual([true, false, false, true, true, false]);
});

test('an event beyond the limit passes in pieces that are not whole, and the next is whole again', () => {
  const long = `data: ${'x'.repeat(sseEventBytesMax + 100)}\n\n`;
  for (const size of [sseEventBytesMax * 3, 300_000, 65_536]) {
    const bytes = utf8(`data: a\n\n${long}data: b\n\n`);
    const pushes: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) pushes.push(bytes.slice(at, at + size));
    const { events, rest } = split(pushes);
    expect(events.map(({ event }) => event).join('') + rest).toBe(text(bytes));
    expect(events.filter(({ whole }) => whole).map(({ event }) => event)).toEqual([
      'data: a\n\n',
      'data: b\n\n',
    ]);
  }
});

test('an event of just the limit is whole, however it is cut', () => {
  const event = `data: ${'x'.repeat(sseEventBytesMax - 8)}\n\n`;
  for (const at of [[], [0.5], [0.9999999], [0.3, 0.6]]) {
    expect(split(pieces(utf8(event), at)).events).toEqual([{ event, whole: true }]);
  }
});

test('a splitter holds no more than the limit', () => {
  const splitter = new SseSplitter();
  let passed = 0;
  let pushed = 0;
  for (let count = 0; count < 100; count += 1) {
    splitter.push(new Uint8Array(50_000).fill(120), (piece) => (passed += piece.length));
    pushed += 50_000;
    expect(pushed - passed).toBeLessThanOrEqual(sseEventBytesMax);
  }
  expect(passed + splitter.end().length).toBe(pushed);
});

test('an event in many pieces is copied a few times, not once per piece', () => {
  const bytes = utf8(`data: ${'x'.repeat(200_000)}\n\n`);
  let copied = 0;
  const { set } = Uint8Array.prototype;
  vi.spyOn(Uint8Array.prototype, 'set').mockImplementation(function (this: Uint8Array, from, at) {
    copied += from.length;
    return set.call(this, from, at);
  });
  const splitter = new SseSplitter();
  let events = 0;
  for (let at = 0; at < bytes.length; at += 100)
    splitter.push(bytes.subarray(at, at + 100), () => (events += 1));
  expect(events).toBe(1);
  expect(copied).toBeLessThan(3 * bytes.length);
});

test('no end is found in bytes without a blank line, nor before the given place', () => {
  const bytes = utf8('a\nb\n\nc\nd\n\n');
  expect(endOfEvent(bytes, 0)).toBe(5);
  expect(endOfEvent(bytes, 5)).toBe(10);
  expect(endOfEvent(bytes, 10)).toBe(-1);
  expect(endOfEvent(utf8('a\r\nb\n'), 0)).toBe(-1);
  expect(endOfEvent(utf8('a\n\r'), 0)).toBe(-1);
});

test('a stream may be cut just where an event has ended', () => {
  fc.assert(
    fc.property(stream, (bytes) => {
      const { events } = split([utf8(bytes)]);
      for (const { event } of events) expect(endsEvent(utf8(event))).toBe(true);
    }),
  );
  for (const torn of ['', 'a', 'a\n', '\n', 'a\r\n', '\r', 'a\n\nb'])
    expect(endsEvent(utf8(torn))).toBe(false);
});

test('a byte counts where its line is neither blank nor a comment, however the bytes are cut', () => {
  fc.assert(
    fc.property(stream, cuts, (bytes, at) => {
      const counts = bytes.split(/(?<=[\r\n])/).flatMap((line) => {
        const isField = line.trim() !== '' && !line.startsWith(':');
        return Array.from(line, (character) => isField && character !== '\r' && character !== '\n');
      });
      const fields = new FieldLines();
      let from = 0;
      for (const piece of pieces(utf8(bytes), at)) {
        expect(fields.push(piece)).toBe(counts.slice(from, from + piece.length).includes(true));
        from += piece.length;
      }
    }),
    { numRuns: 2000 },
  );
});

test.each([
  [': ping\n\n', false],
  ['\n\r\n\r', false],
  [':', false],
  ['event: ping\n\n', true],
  ['id: 1\n\n', true],
  [' : ping\n', true],
  [': ping\rdata: x', true],
])('whether %j says anything: %j', (bytes, says) => {
  expect(new FieldLines().push(utf8(bytes))).toBe(says);
});

test('what Cognitora itself says is one whole event', () => {
  const error = sseError(new CognitoraError('link_lost', 'Two\n\nlines.'));
  for (const said of [keepAliveComment, error]) expect(split([said]).events).toHaveLength(1);
  expect(JSON.parse(text(error).slice('data: '.length)).error.code).toBe('link_lost');
});
