import { fromUtf8, joinBytes, utf8 } from '@cognitora/protocol/bytes';
import {
  sentSpaceEventsMax,
  sentTailEventsMax,
  sentTextCharsMax,
  sentUnreadBytesMax,
  sseEventBytesMax,
} from '@cognitora/protocol/limits';
import type { InferencePath } from '@cognitora/protocol/openai';
import { cuts, pieces } from '@cognitora/protocol/testing/bytes-in-pieces';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { seamOf } from './sent.ts';
import { SentStream } from './sent-stream.ts';

const chat = '/v1/chat/completions';
const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const names = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_790_000_000, model: 'm' };
const choice = (delta: object, more: object = {}): string =>
  event({ ...names, choices: [{ index: 0, delta, finish_reason: null, ...more }] });
const say = (content: string): string => choice({ content });
const finish = choice({}, { finish_reason: 'stop' });
const usage = event({ ...names, choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
const done = 'data: [DONE]\n\n';

const sentOf = (stream: string, path: InferencePath = chat) => {
  const sent = new SentStream(path);
  sent.push(utf8(stream));
  return sent.sent;
};

describe('what passes', () => {
  test('is whole events, the very bytes where they come so', () => {
    const stream = new SentStream(chat);
    const bytes = utf8(say('a') + say('b'));
    expect(stream.push(bytes)).toBe(bytes);
  });

  test('is never a part of an event, until the rest of it has come', () => {
    const stream = new SentStream(chat);
    const bytes = utf8(say('a') + say('b'));
    const at = bytes.length - 5;
    expect(fromUtf8(stream.push(bytes.subarray(0, at)))).toBe(say('a'));
    expect(stream.sent.text).toBe('a');
    expect(fromUtf8(stream.push(bytes.subarray(at)))).toBe(say('b'));
    expect(stream.sent.text).toBe('ab');
  });

  test('is all of an answer in the end, with what its engine left without a blank line', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('\n', '\r\n', '\r'),
        fc.constantFrom('', 'data: [DONE]'),
        cuts,
        (lineEnd, rest, at) => {
          const text = `: hello\n\nevent: message\nid: 1\n${say('a')}${say('é🚀')}${finish}${usage}`;
          const bytes = utf8(text.replaceAll('\n', lineEnd) + rest);
          const stream = new SentStream(chat);
          const passed = pieces(bytes, at).map((piece) => stream.push(piece));
          for (const part of passed) expect(part.length === 0 || /[\r\n]$/.test(fromUtf8(part))).toBe(true);
          expect(fromUtf8(joinBytes([...passed, stream.end()]))).toBe(fromUtf8(bytes));
          expect(stream.sent).toMatchObject({
            text: 'aé🚀',
            textEvents: 2,
            isDone: rest !== '',
            blocker: undefined,
          });
        },
      ),
      { numRuns: 500 },
    );
  });

  test('is what comes behind an event of which only a part came, once that is dropped', () => {
    const stream = new SentStream(chat);
    stream.push(utf8(`${say('a')}data: {"id":"chatcmpl-1","choi`));
    stream.dropPartial();
    expect(fromUtf8(stream.push(utf8(say('b'))))).toBe(say('b'));
    expect(stream.sent).toMatchObject({ text: 'ab', blocker: undefined });
  });
});

describe('what is remembered', () => {
  test('of a whole answer is its text, its names, and how it ended', () => {
    const opening = choice({ role: 'assistant', content: '' });
    expect(sentOf(opening + say('Hi') + say(' you') + finish + usage + done)).toEqual({
      path: chat,
      hasBegun: true,
      text: 'Hi you',
      textEvents: 2,
      tailEnds: [2, 6],
      id: 'chatcmpl-1',
      created: 1_790_000_000,
      model: 'm',
      finishReason: 'stop',
      usageSent: true,
      isDone: true,
      blocker: undefined,
    });
  });

  test('of comments alone is that nothing has begun', () => {
    expect(sentOf(': waiting\n\n')).toMatchObject({ hasBegun: false, text: '', id: undefined });
  });

  test('of a completion is its text', () => {
    const part = (text: string) =>
      event({ ...names, choices: [{ index: 0, text, logprobs: null, finish_reason: null }] });
    expect(sentOf(part('a') + part(' b'), '/v1/completions')).toMatchObject({ text: 'a b', textEvents: 2 });
  });

  test('does not depend on how often it is looked at, nor on when it is read', () => {
    const parts = Array.from({ length: 400 }, (_, at) => say(`token ${at} `));
    const bytes = utf8(parts.join(''));
    expect(bytes.length).toBeGreaterThan(sentUnreadBytesMax);
    const looked = new SentStream(chat);
    for (const part of parts) {
      looked.push(utf8(part));
      expect(looked.sent.textEvents).toBeGreaterThan(0);
    }
    expect(looked.sent).toEqual(sentOf(fromUtf8(bytes)));
  });

  test.each([
    [
      'counts so far',
      event({ ...names, choices: [{ index: 0, delta: { content: 'a' }, finish_reason: null }], usage: {} }),
      false,
    ],
    ['null', event({ ...names, choices: [], usage: null }), false],
    ['counts of the whole', usage, true],
    [
      'counts with the end',
      event({ ...names, choices: [{ delta: {}, finish_reason: 'stop' }], usage: {} }),
      true,
    ],
  ])('usage that is %s counts as sent: %s', (_, stream, usageSent) => {
    expect(sentOf(stream).usageSent).toBe(usageSent);
  });

  test('is no blocker where an engine writes members that say nothing', () => {
    const delta = {
      role: null,
      content: 'a',
      reasoning_content: null,
      tool_calls: null,
      refusal: null,
      audio: null,
    };
    const empty = { ...delta, tool_calls: [], reasoning_content: '' };
    expect(sentOf(choice(delta, { logprobs: null }) + choice(empty)).blocker).toBeUndefined();
  });
});

describe('no other engine can go on behind', () => {
  test.each([
    ['tool_call', choice({ tool_calls: [{ index: 0, id: 'c', function: { name: 'f', arguments: '' } }] })],
    ['function_call', choice({ function_call: { name: 'f' } })],
    ['reasoning', choice({ reasoning_content: 'Hm' })],
    ['reasoning', choice({ reasoning: 'Hm' })],
    ['reasoning', say('<think>') + say('Hm')],
    ['reasoning', say('Hm</th') + say('ink>Yes')],
    ['choices', event({ choices: [{ index: 1, delta: { content: 'a' }, finish_reason: null }] })],
    [
      'choices',
      event({
        choices: [
          { index: 0, delta: {} },
          { index: 1, delta: {} },
        ],
      }),
    ],
    ['logprobs', choice({ content: 'a' }, { logprobs: { content: [] } })],
    ['refusal', choice({ refusal: 'No' })],
    ['audio', choice({ audio: { id: 'a' } })],
    ['unreadable', 'data: {"choices":\n\n'],
    ['unreadable', 'data: 3\n\n'],
    ['unreadable', event({ error: { message: 'out of memory' } })],
    ['unreadable', event({ object: 'error', message: 'out of memory', code: 500 })],
    ['unreadable', 'event: error\ndata: {"message":"out of memory"}\n\n'],
    ['unreadable', 'data: {"message":"out of memory"}\r\nevent:error\r\n\r\n'],
    ['unreadable', choice({ content: [{ type: 'text', text: 'a' }] })],
    ['unreadable', `data: ${'x'.repeat(sseEventBytesMax + 1)}\n\n`],
    ['too_long', say('x'.repeat(sentTextCharsMax / 2 + 1)).repeat(2)],
  ])('%s', (blocker, stream) => {
    expect(sentOf(say('Hi') + stream + say('more'))).toMatchObject({ blocker, text: '' });
  });

  test('and one of several choices that ended is not the end', () => {
    const other = event({ choices: [{ index: 1, delta: {}, finish_reason: 'stop' }] });
    expect(sentOf(say('a') + other).finishReason).toBeUndefined();
  });

  test('and what is unreadable in one event does not hide the others', () => {
    expect(sentOf(`data: {"id":"x"\n\ndata: "y":1}\n\n${finish}`)).toMatchObject({
      blocker: 'unreadable',
      id: 'chatcmpl-1',
      finishReason: 'stop',
    });
  });
});

describe('the seam', () => {
  const seam = (parts: readonly string[], stops: readonly string[] = []) =>
    seamOf(sentOf(parts.map(say).join('')), stops);

  test.each([
    ['stands at the end of a text', ['a', ' b'], [], { text: 'a b', events: 2, repeats: '' }],
    ['stands before white space', ['a', ' b', '\n\n', ' '], [], { text: 'a b', events: 2, repeats: '\n\n ' }],
    [
      'counts an event as told only if it is whole',
      ['a', ' b\n'],
      [],
      { text: 'a b', events: 1, repeats: '\n' },
    ],
    ['has no text where there is only white space', [' ', '\n'], [], { text: '', events: 0, repeats: ' \n' }],
    [
      'stands before what may become a stop sequence',
      ['a', ' E', 'N'],
      ['END'],
      { text: 'a', events: 1, repeats: ' EN' },
    ],
    ['stands before both', ['a', ' EN', '\n'], ['END'], { text: 'a', events: 1, repeats: ' EN\n' }],
    ['lets a whole stop sequence be', ['a', ' END'], ['END'], { text: 'a END', events: 2, repeats: '' }],
    ['tears no character', ['a', '\ud83d'], [], { text: 'a', events: 1, repeats: '\ud83d' }],
  ])('%s', (_, parts, stops, expected) => {
    expect(seam(parts, stops)).toEqual(expected);
  });

  test('counts all the white space behind the last word, however many events it took', () => {
    for (const spaces of [63, 64, 65, 200, sentSpaceEventsMax]) {
      const parts = ['a', ' b', ...Array.from({ length: spaces }, () => '\n')];
      expect(seam(parts)).toEqual({ text: 'a b', events: 2, repeats: '\n'.repeat(spaces) });
    }
  });

  test('stands where the count is known, behind more white space than that, or a longer start of a stop', () => {
    const spaces = 3 * sentSpaceEventsMax;
    const ofSpaces = seam(['a', ...Array.from({ length: spaces }, () => '\n')]);
    expect(ofSpaces.events).toBe(ofSpaces.text.length);
    const known = sentTailEventsMax + sentSpaceEventsMax;
    expect(ofSpaces.repeats.length).toBe(known - 1);
    const ofStop = seam(Array.from('s'.repeat(200)), [`${'s'.repeat(200)}!`]);
    expect([ofStop.events, ofStop.text.length]).toEqual([200 - sentTailEventsMax + 1, ofStop.events]);
  });

  test('is where a look at each length would put it', () => {
    const units = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
    const overlapIn = (text: string, stop: string): number => {
      for (let length = Math.min(stop.length - 1, text.length); length > 0; length -= 1) {
        if (text.endsWith(stop.slice(0, length))) return length;
      }
      return 0;
    };
    fc.assert(
      fc.property(units, fc.array(units, { maxLength: 3 }), (text, stops) => {
        const overlap = Math.max(0, ...stops.map((stop) => overlapIn(text, stop)));
        expect(seam([...text], stops).repeats).toBe(text.slice(text.length - overlap));
      }),
      { numRuns: 1000 },
    );
  });

  test('is found with as many steps as the stop has characters', () => {
    const charCodeAt = vi.spyOn(String.prototype, 'charCodeAt');
    try {
      const half = 'a'.repeat(30_000);
      seamOf(sentOf(say(half + half)), [`${half}b${half}${half}`]);
      expect(charCodeAt.mock.calls.length).toBeLessThan(1_000_000);
    } finally {
      charCodeAt.mockRestore();
    }
  });
});
