import { fromUtf8, utf8 } from '@cognitora/protocol/bytes';
import type { InferencePath } from '@cognitora/protocol/openai';
import type { JsonRecord } from '@cognitora/protocol/shape';
import {
  choices,
  jsonValue,
  type Member,
  trickyString,
  writeObject,
} from '@cognitora/protocol/testing/json-text';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Continuation, continuationOf } from './continuation.ts';
import type { Sent } from './sent.ts';

const chat = '/v1/chat/completions';
const completions = '/v1/completions';

/** What was sent: these parts of a text. */
const sentOf = (path: InferencePath, parts: readonly string[]): Sent => {
  let end = 0;
  const tailEnds = parts.map((part) => {
    end += part.length;
    return end;
  });
  return {
    ...{ path, hasBegun: true, text: parts.join(''), textEvents: parts.length, tailEnds },
    ...{ id: 'a', created: 1, model: 'm', finishReason: undefined, usageSent: false, isDone: false },
    blocker: undefined,
  };
};

const continued = (path: InferencePath, body: string, parts: readonly string[]): Continuation => {
  const continuation = continuationOf(path, utf8(body), sentOf(path, parts));
  if (typeof continuation === 'string') throw new Error(continuation);
  return continuation;
};
const textFor = (path: InferencePath, body: string, parts: readonly string[]): string =>
  fromUtf8(continued(path, body, parts).body);

describe('the body', () => {
  test.each([
    [
      'of a chat has the text as a message of the assistant',
      chat,
      '{"model":"m", "messages":[ {"role":"user","content":"Hi"} ] ,"x":1.50}',
      '{"model":"m", "messages":[ {"role":"user","content":"Hi"} ,{"role":"assistant","content":"a \\"b"}] ,"x":1.50}',
    ],
    [
      'of a chat that goes on with an answer has the text in it',
      chat,
      '{"model":"m","messages":[{"role":"user","content":"{"},{"role":"assistant", "content" : "So]" ,' +
        ' "x":{}}],"continue_final_message":true}',
      '{"model":"m","messages":[{"role":"user","content":"{"},{"role":"assistant", "content" : "So]a \\"b" ,' +
        ' "x":{}}],"continue_final_message":true}',
    ],
    [
      'of a completion has the text behind the prompt',
      completions,
      '{"prompt" : "Hi\\"" , "model":"m"}',
      '{"prompt" : "Hi\\"a \\"b" , "model":"m"}',
    ],
    [
      'of a completion of a list has it there',
      completions,
      '{"model":"m","prompt":[ "Hi" ]}',
      '{"model":"m","prompt":[ "Hia \\"b" ]}',
    ],
    [
      'has limits less what was said',
      completions,
      '{"model":"m","max_tokens":7,"min_tokens":1,"n_predict":4,"prompt":"Hi"}',
      '{"model":"m","max_tokens":5,"min_tokens":0,"n_predict":2,"prompt":"Hia \\"b"}',
    ],
    [
      'keeps what is no limit as it is',
      completions,
      '{"model":"m","max_tokens":null,"n_predict":-1,"prompt":"Hi"}',
      '{"model":"m","max_tokens":null,"n_predict":-1,"prompt":"Hia \\"b"}',
    ],
  ] as const)('%s', (_, path, body, expected) => {
    expect(textFor(path, body, ['a', ' "b'])).toBe(expected);
  });

  test('counts what is said again against the limit once', () => {
    const body = '{"model":"m","max_tokens":7,"prompt":"Hi"}';
    expect(textFor(completions, body, ['a', ' b', '\n'])).toBe(
      '{"model":"m","max_tokens":5,"prompt":"Hia b"}',
    );
  });

  test("is the client's own where nothing was said but white space", () => {
    const body = '{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"Hi"}]}';
    const { body: bytes, spans, seam } = continued(chat, body, ['\n']);
    expect(fromUtf8(bytes)).toBe(body);
    expect(spans.continue).toBeUndefined();
    expect(seam.repeats).toBe('\n');
  });
});

test('the spans are those of the new body, with the place behind its last member', () => {
  const { body, spans } = continued(chat, '{"messages":[{}],"model":"m","stream":true} ', ['a']);
  const text = fromUtf8(body);
  expect(text.slice(...spans.model)).toBe('"m"');
  expect(spans.usage?.at).toBe(1);
  expect(text.slice(spans.continue)).toBe('} ');
});

test.each([
  ['a limit that is used up', { max_tokens: 2 }],
  ['the tighter of two', { max_tokens: 100, max_completion_tokens: 2 }],
  ["llama.cpp's limit", { n_predict: 1 }],
])('%s leaves nothing to ask for', (_, limits) => {
  const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }], ...limits });
  expect(continuationOf(chat, utf8(body), sentOf(chat, ['a', ' ']))).toBe('spent');
});

test.each([
  [
    'messages',
    chat,
    String.raw`{"model":"m","messages":[{}],"mess\u0061ges":[{"role":"user","content":"Hi"}]}`,
  ],
  ['a limit', chat, String.raw`{"model":"m","messages":[{}],"m\u0061x_tokens":7}`],
  [
    'a limit in escapes alone',
    chat,
    `{"model":"m","messages":[{}],"${[...'max_completion_tokens']
      .map((letter) => `\\u00${letter.charCodeAt(0).toString(16)}`)
      .join('')}":7}`,
  ],
  [
    'content',
    chat,
    String.raw`{"model":"m","messages":[{"role":"assistant","content":"a","c\u006fntent":"b"}],` +
      '"continue_final_message":true}',
  ],
] as const)('a name written so that no splice finds it is unreadable: %s', (_, path, body) => {
  expect(continuationOf(path, utf8(body), sentOf(path, ['a']))).toBe('unreadable');
});

test.each([
  ...['"10"', '10.5', '1e400', '9007199254740993', 'true', '[]'].map((value) => ['max_tokens', value]),
  ['max_completion_tokens', '"10"'],
  ['min_tokens', '"10"'],
])('a limit that nobody can count down keeps the answer from being continued: %s %s', (name, value) => {
  const body = `{"model":"m","messages":[{"role":"user","content":"Hi"}],"${name}":${value}}`;
  expect(continuationOf(chat, utf8(body), sentOf(chat, ['a', 'b', 'c']))).toBe('unreadable');
});

test('a limit is counted down however it writes its number', () => {
  const body = '{"model":"m","max_tokens":1.0e1,"prompt":"Hi"}';
  expect(textFor(completions, body, ['a', ' b'])).toBe('{"model":"m","max_tokens":8,"prompt":"Hia b"}');
});

const others = fc.array(fc.tuple(fc.stringMatching(/^[a-l]{2,6}$/), jsonValue), { maxLength: 4 });
const requests = fc
  .record({
    others,
    content: trickyString,
    isBegun: fc.boolean(),
    isChat: fc.boolean(),
    place: fc.nat(),
    choose: choices,
  })
  .map(({ others, content, isBegun, isChat, place, choose }) => {
    const last = isBegun ? [{ role: 'assistant', content }] : [];
    const own: Member[] = isChat
      ? [
          ['messages', [{ role: 'user', content, x: [{}] }, ...last]],
          ...(isBegun ? [['continue_final_message', true] as const] : []),
        ]
      : [['prompt', content]];
    const members: Member[] = [...others];
    for (const member of [...own, ['model', 'm'] as const, ['max_tokens', 1_000] as const]) {
      members.splice(place % (members.length + 1), 0, member);
    }
    return { path: isChat ? chat : completions, body: writeObject(members, choose, 10_000_000) } as const;
  });

test('an engine reads the request as it was, and the text behind it, however it is written', () => {
  fc.assert(
    fc.property(requests, trickyString, ({ path, body }, text) => {
      const { body: bytes, seam } = continued(path, body, [text]);
      const { messages, prompt, max_tokens: max, ...rest } = JSON.parse(body) as JsonRecord;
      const read = JSON.parse(fromUtf8(bytes)) as JsonRecord;
      expect(read).toMatchObject(rest);
      expect(read.max_tokens).toBe(Number(max) - seam.events);
      if (path === completions) expect(read.prompt).toBe(`${String(prompt)}${seam.text}`);
      else expect(read.messages).toEqual(withText(messages as Message[], rest, seam.text));
    }),
    { numRuns: 500 },
  );
});

interface Message {
  readonly role: string;
  readonly content: string;
}

const withText = (messages: readonly Message[], body: JsonRecord, text: string): readonly Message[] => {
  if (text === '') return messages;
  if (body.continue_final_message !== true) return [...messages, { role: 'assistant', content: text }];
  return messages.with(-1, { role: 'assistant', content: `${messages.at(-1)?.content}${text}` });
};
