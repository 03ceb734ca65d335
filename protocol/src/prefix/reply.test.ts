import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { json } from '../../testing/bytes-in-pieces.ts';
import { recordedAnswer, recordings } from '../../testing/recorded-answers.ts';
import { utf8 } from '../bytes.ts';
import { replyBytesMax, sseEventBytesMax } from '../limits.ts';
import type { JsonRecord } from '../shape.ts';
import { readReply } from './reply.ts';

const read = (engine: string, file: string): JsonRecord | undefined => {
  const { body, isStream } = recordedAnswer(engine, file);
  return readReply(body, isStream);
};
/** A call's id is another one each time. */
const withoutIds = (reply: JsonRecord | undefined): unknown =>
  JSON.parse(JSON.stringify(reply).replaceAll(/"id":"[^"]*"/g, '"id":"x"'));

describe.each(['llama-server', 'vllm'])('of %s', (engine) => {
  const names = readdirSync(new URL(`${engine}/`, recordings)).flatMap((file) =>
    file.endsWith('.http') ? [file.slice(0, -'.http'.length)] : [],
  );

  test.each(['chat', 'chat-two', 'logprobs', 'tools'])(
    'a stream gives the message of the whole answer: %s',
    (name) => {
      const whole = read(engine, name);
      const { choices } = JSON.parse(recordedAnswer(engine, name).body.toString()) as {
        choices: { message: JsonRecord }[];
      };
      const { content, tool_calls: calls } = choices[0]?.message ?? {};
      const hasCalls = Array.isArray(calls) && calls.length > 0;
      expect(whole).toEqual({ role: 'assistant', content, ...(hasCalls ? { tool_calls: calls } : {}) });
      for (const stream of [`${name}-stream`, `${name}-stream-usage`]) {
        expect(withoutIds(read(engine, stream))).toEqual(withoutIds(whole));
      }
    },
  );

  test.each(names.filter((name) => /^(?:completion|embedding|error|models)/.test(name)))(
    'there is no message in %s',
    (name) => {
      expect(recordedAnswer(engine, name).body.length).toBeGreaterThan(0);
      expect(read(engine, name)).toBeUndefined();
    },
  );

  test('a stream that broke off anywhere before its end has no message', () => {
    const { body } = recordedAnswer(engine, 'chat-stream');
    const ending = body.indexOf('"finish_reason":"');
    for (let length = 0; length < ending; length += 7) {
      expect(readReply(body.subarray(0, length), true)).toBeUndefined();
    }
    expect(readReply(body.subarray(0, body.indexOf('\n\n', ending) + 2), true)).toEqual(
      readReply(body, true),
    );
  });
});

test('vLLM calls a tool, in a stream as well', () => {
  const call = { id: 'x', type: 'function', function: { name: 'weather', arguments: 'false' } };
  expect(withoutIds(read('vllm', 'tools-stream'))).toEqual({
    role: 'assistant',
    content: '',
    tool_calls: [call],
  });
});

const whole = (message: JsonRecord, ending: unknown = 'stop'): JsonRecord | undefined =>
  readReply(json({ choices: [{ index: 0, message, finish_reason: ending }] }), false);
const events = (...data: readonly unknown[]): Uint8Array =>
  utf8(data.map((one) => `data: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`).join(''));
const chunk = (delta: JsonRecord, ending: unknown = null, index = 0): JsonRecord => ({
  choices: [{ index, delta, finish_reason: ending }],
});
const streamed = (...data: readonly unknown[]): JsonRecord | undefined =>
  readReply(events(...data, '[DONE]'), true);

test('an answer with another end than those of the API is none to go on from', () => {
  const message = { role: 'assistant', content: 'a' };
  for (const ending of ['stop', 'length', 'tool_calls', 'function_call']) {
    expect(whole(message, ending)).toEqual(message);
    expect(streamed(chunk(message), chunk({}, ending))).toEqual(message);
  }
  for (const ending of [null, 'content_filter', 'abort', 'error', 7, true]) {
    expect(whole(message, ending)).toBeUndefined();
    expect(streamed(chunk(message), chunk({}, ending))).toBeUndefined();
  }
});

test('of several answers the first counts, in whatever order they come', () => {
  const message = (content: string) => ({ role: 'assistant', content });
  const choices = [
    { index: 1, message: message('other'), finish_reason: 'stop' },
    { index: 0, message: message('first'), finish_reason: 'stop' },
  ];
  expect(readReply(json({ choices }), false)).toEqual(message('first'));
  const stream = [chunk({ content: 'oth' }, null, 1), chunk({ content: 'first' }), chunk({}, 'stop')];
  expect(streamed(...stream, chunk({ content: 'er' }, 'length', 1))).toEqual(message('first'));
  expect(streamed(chunk({ content: 'first' }), chunk({ content: 'other' }, 'stop', 1))).toBeUndefined();
});

test('reasoning goes back in the field that it came in, and only if there is some', () => {
  const message = { role: 'assistant', content: 'a', reasoning_content: 'because' };
  expect(whole({ ...message, reasoning: null, refusal: null, audio: null, annotations: [] })).toEqual(
    message,
  );
  expect(whole({ ...message, reasoning_content: '' })).toEqual({ role: 'assistant', content: 'a' });
  expect(
    streamed(
      chunk({ role: 'assistant', content: null, reasoning: 'be' }),
      chunk({ reasoning: 'cause' }),
      chunk({ content: 'a' }, 'stop'),
    ),
  ).toEqual({ role: 'assistant', content: 'a', reasoning: 'because' });
});

test('calls are put together by their number, whatever pieces they come in', () => {
  const piece = (call: JsonRecord): JsonRecord => chunk({ tool_calls: [call] });
  const reply = streamed(
    chunk({ role: 'assistant', content: null }),
    piece({ index: 1, id: 'two', type: 'function', function: { name: 'b', arguments: '' } }),
    piece({ index: 0, id: 'one', function: { name: 'a' } }),
    piece({ index: 1, id: 'two', function: { name: 'b', arguments: '{"x"' } }),
    piece({ index: 0, function: { arguments: '{}' } }),
    piece({ index: 1, function: { arguments: ':1}' } }),
    chunk({}, 'tool_calls'),
  );
  expect(reply).toEqual({
    role: 'assistant',
    content: null,
    tool_calls: [
      { id: 'one', type: 'function', function: { name: 'a', arguments: '{}' } },
      { id: 'two', type: 'function', function: { name: 'b', arguments: '{"x":1}' } },
    ],
  });
});

test('calls without a number are told apart by their place, and a function of the old kind is one, too', () => {
  const called = (name: string) => ({ id: name, type: 'function', function: { name, arguments: '{}' } });
  expect(streamed(chunk({ tool_calls: [called('a'), called('b')] }, 'tool_calls'))?.tool_calls).toEqual([
    called('a'),
    called('b'),
  ]);
  const old = { name: 'a', arguments: '{"x":1}' };
  expect(
    streamed(
      chunk({ function_call: { name: 'a', arguments: '{"x"' } }),
      chunk({ function_call: { arguments: ':1}' } }, 'function_call'),
    ),
  ).toEqual({ role: 'assistant', content: null, function_call: old });
  expect(whole({ content: null, function_call: old }, 'function_call')?.function_call).toEqual(old);
});

test('a failure within a stream, or what is not understood, leaves no message', () => {
  const end = chunk({ content: 'a' }, 'stop');
  expect(streamed(end)).toBeDefined();
  for (const odd of [{ error: { message: 'broke' } }, '{"choices":', '[]', 'null']) {
    expect(streamed(odd, end)).toBeUndefined();
    expect(streamed(end, odd)).toBeUndefined();
  }
  for (const fine of [{ choices: [], usage: {} }, { choices: null, error: null }, {}, chunk({}, 'stop')]) {
    expect(streamed(end, fine)).toEqual(streamed(end));
  }
  const cutLater = new Uint8Array([...events(end), ...utf8('data: {"choices":[],"us')]);
  expect(readReply(cutLater, true)).toEqual(streamed(end));
  expect(whole({ content: [{ type: 'text', text: 'a' }] })).toBeUndefined();
  expect(readReply(utf8('upstream failed'), false)).toBeUndefined();
  expect(readReply(json([1]), false)).toBeUndefined();
  expect(readReply(new Uint8Array(), true)).toBeUndefined();
});

test('comments, names of events and other line ends are read as a client reads them', () => {
  const stream = [
    ': waiting\r\n\r\n',
    `event: message\r\nid: 1\r\ndata: ${JSON.stringify(chunk({ content: 'a' }))}\r\n\r\n`,
    `data:{"choices":[{"index":0,\rdata: "delta":{"content":"b"},"finish_reason":"stop"}]}\r\r`,
  ].join('');
  expect(readReply(utf8(stream), true)).toEqual({ role: 'assistant', content: 'ab' });
});

test('a response above the bound is not read', () => {
  const filled = (bytes: number): Uint8Array => {
    const start = '{"choices":[{"message":{"content":"';
    const end = '"},"finish_reason":"stop"}]}';
    return utf8(start + 'x'.repeat(bytes - start.length - end.length) + end);
  };
  expect(readReply(filled(replyBytesMax), false)).toBeDefined();
  expect(readReply(filled(replyBytesMax + 1), false)).toBeUndefined();
  const long = events(chunk({ content: 'x'.repeat(sseEventBytesMax) }), chunk({}, 'stop'));
  expect(long.length).toBeLessThan(replyBytesMax);
  expect(readReply(long, true)).toBeUndefined();
});
