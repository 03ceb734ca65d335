import { describe, expect, test } from 'vitest';
import { text } from '../testing/bytes-in-pieces.ts';
import { utf8 } from './bytes.ts';
import { endsChoice, volunteeredIn } from './volunteered.ts';

const events = (...values: unknown[]): string =>
  `${values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join('')}data: [DONE]\n\n`;

test.each([
  ['nothing', events({ choices: [] })],
  ['nothing', ''],
  ['nothing', 'data: [DONE]\n\n'],
  ['nothing', events({ choices: [{ delta: { content: '"usage":null' } }] })],
  ['null', events({ choices: [], usage: null }, { choices: [], usage: null })],
  ['usage', events({ choices: [], usage: null }, { choices: [], usage: { prompt_tokens: 1 } })],
  ['usage', events({ choices: [], usage: { prompt_tokens: 1 } }, { choices: [], usage: null })],
])('a stream that volunteers %s as usage is known by it', (usage, stream) => {
  expect(volunteeredIn(utf8(stream))).toEqual({ usage, finish: [] });
});

describe('the fingerprint in an event that ends a choice', () => {
  /** What was learned, as text: the member that it stands behind, lead, value. */
  const learned = (stream: string): string[] =>
    volunteeredIn(utf8(stream)).finish.map(
      ({ after, lead, value }) => `${after}|${text(lead)}|${text(value)}`,
    );

  test('is known with its place and its spaces', () => {
    const end = '{"id": "1", "choices": [{"finish_reason" : "stop"}] , "system_fingerprint": "v-1", "x": 1}';
    const start = '{"choices":[{"finish_reason":null}],"system_fingerprint":"other"}';
    expect(learned(`data: ${start}\r\n\r\ndata: ${end}\r\n\r\ndata: [DONE]\r\n\r\n`)).toEqual([
      'choices| , "system_fingerprint": |"v-1"',
    ]);
  });

  test('is that of the first such event', () => {
    const end = (value: unknown) => ({ choices: [{ finish_reason: 'length' }], system_fingerprint: value });
    expect(learned(events(end('a'), end('b')))).toEqual(['choices|,"system_fingerprint":|"a"']);
    expect(learned(events({ choices: [{ finish_reason: 'length' }] }, end('b')))).toEqual([]);
  });

  test.each([
    ['no end of a choice', { choices: [{ finish_reason: null }], system_fingerprint: 'a' }],
    ['the usage event', { choices: [], usage: { prompt_tokens: 1 }, system_fingerprint: 'a' }],
    ['a member deeper down', { choices: [{ finish_reason: 'stop', system_fingerprint: 'a' }] }],
    ['one without a place', { system_fingerprint: 'a', choices: [{ finish_reason: 'stop' }] }],
    ['a long one', { choices: [{ finish_reason: 'stop' }], system_fingerprint: 'a'.repeat(1024) }],
    ['what changes from request to request', { choices: [{ finish_reason: 'stop' }], timings: { ms: 1 } }],
  ])('is not learned from %s', (_, value) => {
    expect(learned(events(value))).toEqual([]);
  });

  test('keeps nothing of the probe alive but itself', () => {
    const stream = utf8(events({ choices: [{ finish_reason: 'stop' }], system_fingerprint: 'a' }));
    for (const { lead, value } of volunteeredIn(stream).finish) {
      expect([lead.buffer.byteLength, value.buffer.byteLength]).toEqual([lead.length, value.length]);
    }
  });
});

test.each([
  [true, '{"choices":[{"finish_reason":null},{"finish_reason":"stop"}]}'],
  [true, '{"choices":[ {"index":0, "finish_reason" :\t"stop"} ]}'],
  [false, '{"choices":[{"finish_reason":null,"stop_reason":"x"}]}'],
  [false, '{"choices":[{"finish_reason"'],
  [false, '{"choices":[{"finish_reason":'],
  [false, '{"choices":["finish_reason","stop"]}'],
  [false, '{"choices":[{"message":{"finish_reason":"stop"}}]}'],
])('whether a choice ends is %s of %s', (ends, json) => {
  expect(endsChoice(utf8(`data: ${json}\n\n`))).toBe(ends);
});
