import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8 } from '../bytes.ts';
import { isRecord, type JsonRecord } from '../shape.ts';
import { readReply } from './reply.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const call = fc
  .record({ id: text, name: text, args: text })
  .map(({ id, name, args }) => ({ id, type: 'function', function: { name, arguments: args } }));
const message = fc.record({
  content: fc.option(text),
  reasoning_content: fc.option(fc.string({ minLength: 1, maxLength: 12 }), { nil: undefined }),
  tool_calls: fc.array(call, { maxLength: 3 }),
});
type Message = typeof message extends fc.Arbitrary<infer Value> ? Value : never;

/** A text cut in two somewhere. */
const cutIn = (whole: string, at: number): [string, string] => {
  const place = Math.floor(at * (whole.length + 1));
  return [whole.slice(0, place), whole.slice(place)];
};

/** The message in deltas: of each text the first part, then of each the second. */
const deltasOf = ({ content, reasoning_content: reasoning, tool_calls: calls }: Message, at: number) => {
  const [first, second]: [JsonRecord[], JsonRecord[]] = [[], []];
  for (const [name, value] of Object.entries({ reasoning_content: reasoning, content })) {
    if (typeof value !== 'string') continue;
    const [head, rest] = cutIn(value, at);
    first.push({ [name]: head });
    second.push({ [name]: rest });
  }
  for (const [index, { id, type, function: called }] of calls.entries()) {
    const [head, rest] = cutIn(called.arguments, at);
    first.push({ tool_calls: [{ index, id, type, function: { name: called.name, arguments: head } }] });
    second.push({ tool_calls: [{ index, function: { arguments: rest } }] });
  }
  return [{ role: 'assistant', content: null }, ...first, ...second];
};

const eventOf = (index: number, delta: JsonRecord, ending: string | null): string =>
  `data: ${JSON.stringify({ choices: [{ index, delta, finish_reason: ending }] })}\n\n`;

test('a message that is sent in pieces, among those of another answer, comes out whole', () => {
  const fraction = fc.double({ min: 0, max: 0.999, noNaN: true });
  fc.assert(
    fc.property(message, message, fraction, fc.boolean(), (one, other, at, otherFirst) => {
      const deltas = [deltasOf(one, at), deltasOf(other, at)];
      const stream: string[] = [];
      for (let turn = 0; turn < Math.max(...deltas.map(({ length }) => length)); turn += 1) {
        for (const index of otherFirst ? [1, 0] : [0, 1]) {
          const delta = deltas[index]?.[turn];
          if (delta !== undefined) stream.push(eventOf(index, delta, null));
        }
      }
      stream.push(eventOf(1, {}, 'length'), eventOf(0, {}, 'stop'), 'data: [DONE]\n\n');
      const { content, reasoning_content: reasoning, tool_calls: calls } = one;
      expect(readReply(utf8(stream.join('')), true)).toEqual({
        role: 'assistant',
        content,
        ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
        ...(calls.length === 0 ? {} : { tool_calls: calls }),
      });
    }),
    { numRuns: 300 },
  );
});

test('whatever a response holds, there is a message of an assistant or none', () => {
  const oddChoice = fc.record(
    {
      index: fc.jsonValue(),
      message: fc.jsonValue(),
      delta: fc.jsonValue(),
      finish_reason: fc.constant('stop'),
    },
    { requiredKeys: ['finish_reason'] },
  );
  const oddDelta = fc.dictionary(
    fc.constantFrom('content', 'tool_calls', 'function_call', 'reasoning', '__proto__'),
    fc.oneof(fc.jsonValue(), fc.array(fc.record({ index: fc.jsonValue(), function: fc.jsonValue() }))),
  );
  const choice = fc.oneof(
    oddChoice,
    oddDelta.map((delta) => ({ delta, message: delta, finish_reason: 'stop' })),
  );
  fc.assert(
    fc.property(fc.array(choice, { maxLength: 2 }), fc.boolean(), (choices, isStream) => {
      const body = JSON.stringify({ choices });
      const reply = readReply(utf8(isStream ? `data: ${body}\n\n` : body), isStream);
      if (reply !== undefined) expect([isRecord(reply), reply.role]).toEqual([true, 'assistant']);
    }),
    { numRuns: 500 },
  );
});
