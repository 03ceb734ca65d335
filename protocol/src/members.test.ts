import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { cuts, pieces, text } from '../testing/bytes-in-pieces.ts';
import { choices, jsonValue, type Member, trickyString, writeObject } from '../testing/json-text.ts';
import { utf8 } from './bytes.ts';
import { MemberScanner, type MemberSpan, scanMembers } from './members.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const name = fc.oneof(
  trickyString,
  fc.constantFrom('model', 'usage', '', '__proto__', 'a'.repeat(120), 'a'.repeat(150)),
);
const memberList: fc.Arbitrary<Member[]> = fc.array(fc.tuple(name, jsonValue), { maxLength: 6 });
const document = fc
  .tuple(memberList, choices, fc.constantFrom('', ' ', '\n\t'), fc.constantFrom('', '\n', ' {"model":1}'))
  .map(([members, choose, before, after]) => {
    const objectText = writeObject(members, choose);
    const objectEnd = utf8(before + objectText).length - 1;
    return { members, bytes: utf8(before + objectText + after), objectStart: before.length, objectEnd };
  });

const scan = (pushes: readonly Uint8Array[]) => {
  const spans: MemberSpan[] = [];
  const scanner = new MemberScanner((member) => spans.push(member));
  for (const push of pushes) scanner.push(push);
  return { scanner, spans };
};

test('each member is found with the bytes of its value, however the input is cut', () => {
  fc.assert(
    fc.property(document, cuts, ({ members, bytes, objectStart, objectEnd }, at) => {
      const { scanner, spans } = scan(pieces(bytes, at));
      expect(scanner.done).toBe(true);
      expect(scanner.objectStart).toBe(objectStart);
      expect(scanner.objectEnd).toBe(objectEnd);
      const found = spans.map((span) => JSON.parse(text(bytes.subarray(span.valueStart, span.valueEnd))));
      expect(found).toEqual(members.map(([, value]) => JSON.parse(JSON.stringify(value))));
    }),
    { numRuns: 1000 },
  );
});

test('a span begins at the quote of its name and its value has no white space around it', () => {
  fc.assert(
    fc.property(document, ({ members, bytes }) => {
      const { spans } = scan([bytes]);
      for (const [at, span] of spans.entries()) {
        const key = text(bytes.subarray(span.keyStart, span.valueStart));
        expect(JSON.parse(key.slice(0, key.lastIndexOf(':')))).toBe(members[at]?.[0]);
        const value = text(bytes.subarray(span.valueStart, span.valueEnd));
        expect(value).toBe(value.trim());
      }
    }),
    { numRuns: 300 },
  );
});

test('an ASCII name is reported as written, a long one as none', () => {
  fc.assert(
    fc.property(document, ({ bytes }) => {
      for (const span of scan([bytes]).spans) {
        const key = text(bytes.subarray(span.keyStart, span.valueStart));
        const written = key.slice(1, key.lastIndexOf('"'));
        if (written.length > 144) expect(span.name).toBe('');
        else if (/^[\x20-\x7e]*$/.test(written)) expect(span.name).toBe(written);
      }
    }),
    { numRuns: 300 },
  );
});

test('an escape in a name does not make it look like another name', () => {
  const { members } = scanMembers(utf8(String.raw`{"i\nclude_usage":1,"\u006dodel":2,"mod\\el":3}`));
  expect([...members.keys()]).toEqual([
    String.raw`i\nclude_usage`,
    String.raw`\u006dodel`,
    String.raw`mod\\el`,
  ]);
});

test('of equal names the last is kept', () => {
  const bytes = utf8('{"model":"a","x":{"model":"b"},"model":"c"}');
  const span = scanMembers(bytes).members.get('model');
  expect(text(bytes.subarray(span?.valueStart, span?.valueEnd))).toBe('"c"');
});

test('an object scanned whole agrees with JSON.parse', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.stringMatching(/^[a-z_]{1,12}$/), fc.jsonValue()),
      choices,
      (object, choose) => {
        const bytes = utf8(writeObject(Object.entries(object), choose, 10_000_000));
        const { members } = scanMembers(bytes);
        const values = [...members].map(([key, { valueStart, valueEnd }]) => [
          key,
          JSON.parse(text(bytes.subarray(valueStart, valueEnd))),
        ]);
        expect(Object.fromEntries(values)).toEqual(JSON.parse(text(bytes)));
      },
    ),
  );
});

test('the open member is known while its value is read, and only then', () => {
  const scanner = new MemberScanner(() => {});
  scanner.push(utf8('{"model" : '));
  expect(scanner.openMember).toBeUndefined();
  scanner.push(utf8('"ab'));
  expect(scanner.openMember).toEqual({ name: 'model', valueStart: 11 });
  scanner.push(utf8('c", "n'));
  expect(scanner.openMember).toBeUndefined();
});

test('what is not JSON gives spans inside the input or none, and the same for every cut', () => {
  const soup = fc.string({ unit: fc.constantFrom(...'{}[]":,\\ a1\n'), maxLength: 40 });
  fc.assert(
    fc.property(fc.oneof(soup.map(utf8), fc.uint8Array({ maxLength: 40 })), cuts, (bytes, at) => {
      const { spans } = scan([bytes]);
      expect(scan(pieces(bytes, at)).spans).toEqual(spans);
      for (const span of spans) {
        expect(span.keyStart).toBeGreaterThanOrEqual(0);
        expect(span.valueStart).toBeGreaterThan(span.keyStart);
        expect(span.valueEnd).toBeLessThanOrEqual(bytes.length);
      }
    }),
    { numRuns: 2000 },
  );
});

/** How many bytes all searches of a run look at. */
const searchedBytes = (run: () => void): number => {
  let searched = 0;
  const { indexOf } = Uint8Array.prototype;
  vi.spyOn(Uint8Array.prototype, 'indexOf').mockImplementation(function (this: Uint8Array, value, from = 0) {
    const found = indexOf.call(this, value, from);
    searched += (found < 0 ? this.length : found + 1) - from;
    return found;
  });
  run();
  vi.restoreAllMocks();
  return searched;
};

test('a long string full of escapes is searched a few times over, not once per escape', () => {
  const bytes = utf8(JSON.stringify({ content: '\n'.repeat(20_000), model: 'm' }));
  expect(searchedBytes(() => scanMembers(bytes))).toBeLessThan(4 * bytes.length);
});
