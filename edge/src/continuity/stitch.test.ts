import { fromUtf8, joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { cuts, pieces } from '@cognitora/protocol/testing/bytes-in-pieces';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seamOf } from './sent.ts';
import { SentStream } from './sent-stream.ts';
import { finishEvents, Stitch } from './stitch.ts';

const chat = '/v1/chat/completions';
const opening =
  'data: {"id":"first","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n';
const say = (content: string, id = 'first'): string =>
  `data: {"id":"${id}","created":1,"model":"m",` +
  `"choices":[{"index":0,"delta":{"content":${JSON.stringify(content)}}}]}\n\n`;

const sentOf = (stream: string, path: '/v1/chat/completions' | '/v1/completions' = chat) => {
  const sent = new SentStream(path);
  sent.push(utf8(stream));
  return sent.sent;
};

/** What the client gets of the second answer behind the first. */
const stitched = (first: string, second: string): string => {
  const sent = sentOf(first);
  const stitch = new Stitch(sent, seamOf(sent, []));
  return fromUtf8(joinBytes([stitch.push(utf8(second)), stitch.end()]));
};

describe('an event of the second answer', () => {
  test.each([
    [
      'has the names of the first, and else its own bytes',
      'data: { "id" : "second", "x":[ 1.50 ],"created":2, "model" : "other", "choices":[ {"text":"b"} ] }\n\n',
      'data: { "id" : "first", "x":[ 1.50 ],"created":1, "model" : "m", "choices":[ {"text":"b"} ] }\n\n',
    ],
    [
      'that begins an answer is left out',
      'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
      '',
    ],
    [
      'that begins an answer and says something says just that',
      'data: {"choices":[{"delta":{"role":"assistant","content":"b"}}]}\n\n',
      'data: {"choices":[{"delta":{"content":"b"}}]}\n\n',
    ],
    [
      'that begins an answer and calls a tool calls it',
      'data: {"choices":[{"delta":{"tool_calls":[{"index":0}],"role":"assistant","content":null}}]}\n\n',
      'data: {"choices":[{"delta":{"tool_calls":[{"index":0}],"content":null}}]}\n\n',
    ],
    ['that ends the answer stays', 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', undefined],
    ['that is a comment stays', ': waiting\n\n', undefined],
    ['that is the end stays', 'data: [DONE]\n\n', undefined],
    ['that is no JSON stays', 'data: {"choices":\n\n', undefined],
    ['without its blank line at the end stays', 'data: [DONE]', undefined],
  ])('%s', (_, event, expected) => {
    expect(stitched(opening + say('a'), event)).toBe(expected ?? event);
  });

  test('keeps its names and its beginning where the first answer had not begun', () => {
    const second = opening.replace('"first"', '"second"');
    expect(stitched(': waiting\n\n', second)).toBe(second);
  });
});

describe('what is said again', () => {
  test('is left out, as far as it is the same', () => {
    const first = opening + say('a') + say('\n') + say('\n ');
    expect(stitched(first, say('\n', 'second') + say('\n b', 'second') + say(' c', 'second'))).toBe(
      say('b') + say(' c'),
    );
  });

  test('is only left out at the beginning', () => {
    expect(stitched(opening + say('a '), say('b') + say(' '))).toBe(say('b') + say(' '));
  });

  test('keeps the end of the answer that its event has', () => {
    const end = 'data: {"choices":[{"delta":{"content":" "},"finish_reason":"length"}]}\n\n';
    expect(stitched(opening + say('a '), end)).toBe(end.replace('" "', '""'));
  });
});

describe('usage', () => {
  const usage = (object: object): string => `data: {"choices":[],"usage":${JSON.stringify(object)}}\n\n`;

  test('counts the told part of the answer as answer', () => {
    const counts = { prompt_tokens: 12, total_tokens: 15, completion_tokens: 3, x: { prompt_tokens: 1 } };
    const expected = { prompt_tokens: 10, total_tokens: 15, completion_tokens: 5, x: { prompt_tokens: 1 } };
    expect(stitched(say('a') + say('b'), usage(counts))).toBe(usage(expected));
  });

  test('has no more cached tokens than the prompt has tokens', () => {
    const of = (prompt: number, completion: number, cached: number) => ({
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: 15,
      prompt_tokens_details: { cached_tokens: cached },
    });
    expect(stitched(say('a') + say('b'), usage(of(12, 3, 12)))).toBe(usage(of(10, 5, 10)));
    expect(stitched(say('a') + say('b'), usage(of(12, 3, 8)))).toBe(usage(of(10, 5, 8)));
  });

  test('is summed in whichever event has it', () => {
    const event = (prompt: number, completion: number): string =>
      'data: {"choices":[{"delta":{"content":"c"}}],' +
      `"usage":{"prompt_tokens":${prompt},"completion_tokens":${completion}}}\n\n`;
    expect(stitched(say('a') + say('b'), event(12, 1))).toBe(event(10, 3));
  });

  test.each(['null', '{}', '{"prompt_tokens":"12"}', '[1]'])('that is none stays: %s', (value) => {
    const event = `data: {"choices":[],"usage":${value}}\n\n`;
    expect(stitched(say('a'), event)).toBe(event);
  });
});

test('the pieces in which an answer comes make no difference', () => {
  const second = `${opening}: ping\n\n${say(' b')}${say('c')}data: [DONE]\n\n`.replaceAll('first', 'second');
  fc.assert(
    fc.property(cuts, (at) => {
      const sent = sentOf(opening + say('a '));
      const stitch = new Stitch(sent, seamOf(sent, []));
      const parts = pieces(utf8(second), at).map((piece) => stitch.push(piece));
      expect(fromUtf8(joinBytes(parts))).toBe(`: ping\n\n${say('b')}${say('c')}data: [DONE]\n\n`);
    }),
  );
});

describe('a stream that lacks its end alone', () => {
  test('gets it', () => {
    const finish = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n';
    expect(fromUtf8(finishEvents(sentOf(say('a') + finish)))).toBe('data: [DONE]\n\n');
  });

  test('gets why it ended, in the shape of its endpoint', () => {
    expect(fromUtf8(finishEvents(sentOf(say('a'))))).toBe(
      'data: {"id":"first","object":"chat.completion.chunk","created":1,"model":"m",' +
        '"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}\n\ndata: [DONE]\n\n',
    );
    const part = 'data: {"id":"c","created":1,"model":"m","choices":[{"index":0,"text":"a"}]}\n\n';
    expect(fromUtf8(finishEvents(sentOf(part, '/v1/completions')))).toBe(
      'data: {"id":"c","object":"text_completion","created":1,"model":"m",' +
        '"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length"}]}\n\ndata: [DONE]\n\n',
    );
  });

  test('gets nothing once it has it', () => {
    expect(finishEvents(sentOf('data: [DONE]\n\n')).length).toBe(0);
  });
});
