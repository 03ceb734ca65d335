import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cuts, errorOf, joinText, json, pieces, singleBytes, text } from '../testing/bytes-in-pieces.ts';
import { choices, jsonValue, type Member, trickyString, writeObject } from '../testing/json-text.ts';
import { joinBytes, utf8 } from './bytes.ts';
import {
  addedBytes,
  chooseSplices,
  type EditChoice,
  findSpans,
  parseSpans,
  type RequestSpans,
  type Splice,
  Splicer,
} from './edits.ts';
import { outlineOf } from './outline.ts';
import { parseJsonRecord } from './shape.ts';

const parse = (body: Uint8Array) => parseJsonRecord(body, 'bad_json', 'body');
const spansOf = (body: Uint8Array): RequestSpans => findSpans(outlineOf([body]));

const splice = (body: Uint8Array, splices: readonly Splice[], at: readonly number[] = []): Uint8Array => {
  const splicer = new Splicer(splices);
  return joinBytes(pieces(body, at).flatMap((piece) => [...splicer.push(piece)]));
};

const askingForUsage = (body: string): string => {
  const bytes = utf8(body);
  const splices = chooseSplices({ spans: spansOf(bytes), servedModel: undefined, askForUsage: true });
  return text(splice(bytes, splices));
};

describe('asking for usage', () => {
  const cases: [what: string, body: string, sent: string][] = [
    [
      'absent',
      '{"model":"m","stream":true}',
      '{"stream_options":{"include_usage":true},"model":"m","stream":true}',
    ],
    [
      'null',
      '{"model":"m","stream":true,"stream_options": null }',
      '{"model":"m","stream":true,"stream_options": {"include_usage":true} }',
    ],
    [
      'empty',
      '{"model":"m","stream":true,"stream_options":{ }}',
      '{"model":"m","stream":true,"stream_options":{"include_usage":true }}',
    ],
    [
      'false',
      '{"model":"m","stream":true,"stream_options":{"include_usage" : false}}',
      '{"model":"m","stream":true,"stream_options":{"include_usage" : true}}',
    ],
    [
      'null inside',
      '{"stream_options":{"include_usage":null,"x":1},"model":"m","stream":true}',
      '{"stream_options":{"include_usage":true,"x":1},"model":"m","stream":true}',
    ],
    [
      'other members',
      '{"model":"m","stream_options":{"x":{"include_usage":false}},"stream":true}',
      '{"model":"m","stream_options":{"include_usage":true,"x":{"include_usage":false}},"stream":true}',
    ],
    [
      'twice, the last counts',
      '{"stream_options":null,"model":"m","stream":true,"stream_options":{}}',
      '{"stream_options":null,"model":"m","stream":true,"stream_options":{"include_usage":true}}',
    ],
    [
      'inside twice, the last counts',
      '{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}',
      '{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_usage":true}}',
    ],
    [
      'behind white space',
      ' \n{\t"model" : "m" , "stream":true }\n',
      ' \n{"stream_options":{"include_usage":true},\t"model" : "m" , "stream":true }\n',
    ],
    [
      'an escaped name that is another',
      String.raw`{"model":"m","stream":true,"stream_options":{"i\nclude_usage":false}}`,
      String.raw`{"model":"m","stream":true,"stream_options":{"include_usage":true,"i\nclude_usage":false}}`,
    ],
  ];
  test.each(cases)('stream_options %s', (_, body, sent) => {
    expect(askingForUsage(body)).toBe(sent);
    expect(parse(utf8(sent)).stream_options).toMatchObject({ include_usage: true });
  });

  const untouched: [what: string, body: string][] = [
    ['the request asks for it', '{"model":"m","stream":true,"stream_options":{"include_usage":true}}'],
    [
      'the last of two asks for it',
      '{"model":"m","stream":true,"stream_options":{"include_usage":false,"include_usage":true}}',
    ],
    ['stream_options is text', '{"model":"m","stream":true,"stream_options":"yes"}'],
    ['stream_options is a list', '{"model":"m","stream":true,"stream_options":[1]}'],
    ['it does not stream', '{"model":"m","stream":false}'],
    ['stream is null', '{"model":"m","stream":null}'],
    ['stream is not given', '{"model":"m"}'],
  ];
  test.each(untouched)('nothing changes when %s', (_, body) => {
    expect(spansOf(utf8(body)).usage).toBeUndefined();
    expect(askingForUsage(body)).toBe(body);
  });
});

const allEscaped = (name: string): string =>
  [...name].map((character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');

describe('names that hide from a splice are refused as invalid_request', () => {
  test.each([
    String.raw`{"\u006dodel":"m"}`,
    String.raw`{"model":"a","\u006Dodel":"b"}`,
    String.raw`{"model":"m","stream_option\u0073":{}}`,
    `{"stream_options":{},"model":"m","${allEscaped('stream_options')}":null}`,
    String.raw`{"model":"m","stream":true,"stream_options":{"include\u005fusage":false}}`,
    String.raw`{"model":"m","stream":true,"return\u005fprogress":true}`,
    '{}',
  ])('%s', (body) => {
    expect(errorOf(() => spansOf(utf8(body)))?.code).toBe('invalid_request');
  });

  test('other names may be escaped', () => {
    expect(spansOf(utf8(String.raw`{"\u0061":1,"model":"m","\\u006dodel":2}`)).model).toEqual([20, 23]);
  });
});

const options = fc.option(
  fc.oneof(
    fc.constantFrom(undefined, null, {}, 'text', 3, [], { include_usage: true }),
    fc.record(
      { include_usage: fc.constantFrom(true, false, null, 1), other: jsonValue },
      { requiredKeys: [] },
    ),
  ),
  { nil: undefined },
);

const request = fc
  .record({
    model: trickyString,
    stream: fc.constantFrom(true, false, null, undefined),
    options,
    progress: fc.constantFrom(undefined, undefined, true, false, null),
    others: fc.array(fc.tuple(fc.stringMatching(/^[a-l]{2,6}$/), jsonValue), { maxLength: 5 }),
    place: fc.nat(),
    choose: choices,
  })
  .map(({ model, stream, options, progress, others, place, choose }) => {
    const members: Member[] = [...others];
    const insert = (member: Member) => members.splice(place % (members.length + 1), 0, member);
    if (stream !== undefined) insert(['stream', stream]);
    if (options !== undefined) insert(['stream_options', options]);
    if (progress !== undefined) insert(['return_progress', progress]);
    insert(['model', model]);
    return { body: utf8(writeObject(members, choose, 10_000_000)), model };
  });

/** What the engine should read: the same object but for the edits. */
const intended = (body: Uint8Array, choice: Omit<EditChoice, 'spans'>): unknown => {
  const { servedModel, askForUsage, askForProgress } = choice;
  const wanted: Record<string, unknown> = { ...parse(body) };
  const saysItself = 'return_progress' in wanted;
  if (askForProgress === true && wanted.stream === true && !saysItself) wanted.return_progress = true;
  if (servedModel !== undefined) wanted.model = servedModel;
  const given = wanted.stream_options;
  const isObject = typeof given === 'object' && !Array.isArray(given);
  if (askForUsage && wanted.stream === true && (given === undefined || isObject)) {
    wanted.stream_options = { ...given, include_usage: true };
  }
  return wanted;
};

test('the engine reads the request as it was but for the edits, however the body is cut', () => {
  const served = fc.option(trickyString, { nil: undefined });
  const choice = fc.record({ servedModel: served, askForUsage: fc.boolean(), askForProgress: fc.boolean() });
  fc.assert(
    fc.property(request, choice, cuts, ({ body }, choice, at) => {
      const splices = chooseSplices({ spans: spansOf(body), ...choice });
      const result = splice(body, splices, at);
      expect(parse(result)).toEqual(parse(json(intended(body, choice))));
      expect(result.length).toBe(body.length + addedBytes(splices));
    }),
    { numRuns: 1500 },
  );
});

test('every byte outside the splices stays, and without splices the pieces are the very pieces', () => {
  fc.assert(
    fc.property(request, cuts, ({ body }, at) => {
      const choice = { servedModel: 'served', askForUsage: true, askForProgress: true };
      const splices = chooseSplices({ spans: spansOf(body), ...choice });
      let rest = text(splice(body, splices, at));
      let from = 0;
      for (const { at: place, removeBytes, insert } of splices) {
        const kept = text(body.subarray(from, place)) + text(insert);
        expect(rest.startsWith(kept)).toBe(true);
        rest = rest.slice(kept.length);
        from = place + removeBytes;
      }
      expect(rest).toBe(text(body.subarray(from)));
      const piece = body.slice();
      expect(new Splicer([]).push(piece)[0]).toBe(piece);
    }),
    { numRuns: 300 },
  );
});

test('the model span holds just the value of model', () => {
  fc.assert(
    fc.property(request, ({ body, model }) => {
      const [start, end] = spansOf(body).model;
      expect(JSON.parse(text(body.subarray(start, end)))).toBe(model);
    }),
  );
});

test('a body in single bytes is spliced alike', () => {
  const body = utf8('{"model":"public","stream":true,"messages":[]}');
  const splices = chooseSplices({ spans: spansOf(body), servedModel: 's', askForUsage: true });
  const splicer = new Splicer(splices);
  const result = joinText(singleBytes(body).flatMap((piece) => [...splicer.push(piece)]));
  expect(result).toBe('{"stream_options":{"include_usage":true},"model":"s","stream":true,"messages":[]}');
});

describe('going on from a part of an answer', () => {
  const body = utf8('{"model":"m","add_generation_prompt":true} ');
  const spans = { ...spansOf(body), continue: body.lastIndexOf(0x7d) };
  const sent = (continueMembers: string): string =>
    text(splice(body, chooseSplices({ spans, servedModel: undefined, askForUsage: false, continueMembers })));

  test('is asked for behind all members, where it counts over what the client wrote', () => {
    const members = '"continue_final_message":true,"add_generation_prompt":false';
    expect(sent(members)).toBe(`{"model":"m","add_generation_prompt":true,${members}} `);
    expect(parse(utf8(sent(members)))).toMatchObject({ add_generation_prompt: false });
  });

  test('changes nothing where the engine does so without being told', () => {
    expect(sent('')).toBe(text(body));
  });
});

describe('telling of prefill', () => {
  const sent = (body: string): string => {
    const choice = { servedModel: undefined, askForUsage: false, askForProgress: true };
    return text(splice(utf8(body), chooseSplices({ spans: spansOf(utf8(body)), ...choice })));
  };

  test('is asked of a stream behind its opening brace', () => {
    expect(sent(' { "model":"m","stream":true}')).toBe(
      ' {"return_progress":true, "model":"m","stream":true}',
    );
  });

  test.each([
    '{"model":"m"}',
    '{"model":"m","stream":false}',
    '{"model":"m","stream":true,"return_progress":true}',
    '{"return_progress":false,"model":"m","stream":true}',
    '{"return_progress":null,"model":"m","stream":true}',
  ])('is not asked of %s', (body) => {
    expect(sent(body)).toBe(body);
    const parts = [body.slice(0, 12), body.slice(12)].map(utf8);
    expect(findSpans(outlineOf(parts))).toEqual(spansOf(utf8(body)));
  });
});

describe('the spans of an OPEN', () => {
  test('come back as they were sent', () => {
    fc.assert(
      fc.property(request, fc.boolean(), ({ body }, isContinued) => {
        const spans = { ...spansOf(body), ...(isContinued ? { continue: body.lastIndexOf(0x7d) } : {}) };
        expect(parseSpans(parse(json(spans)), body.length)).toEqual(spans);
      }),
    );
  });

  const usage = { at: 1, removeBytes: 0, insert: 'x' };
  test.each([
    ['no model', {}],
    ['model not a list', { model: 3 }],
    ['model with one end', { model: [1] }],
    ['model with three', { model: [1, 2, 3] }],
    ['model of text', { model: ['1', '2'] }],
    ['fractions', { model: [1.5, 3] }],
    ['a negative start', { model: [-1, 3] }],
    ['an empty range', { model: [3, 3] }],
    ['a range that runs backwards', { model: [4, 3] }],
    ['a range beyond the body', { model: [3, 11] }],
    ['usage not an object', { model: [3, 5], usage: 'x' }],
    ['usage at the end of the body', { model: [3, 5], usage: { ...usage, at: 10 } }],
    ['usage that removes more than there is', { model: [3, 5], usage: { ...usage, at: 8, removeBytes: 3 } }],
    ['usage without a text', { model: [3, 5], usage: { at: 1, removeBytes: 0 } }],
    ['usage inside model', { model: [3, 5], usage: { ...usage, at: 4 } }],
    ['continue at the end of the body', { model: [3, 5], continue: 10 }],
    ['continue of text', { model: [3, 5], continue: '6' }],
    ['continue inside model', { model: [3, 5], continue: 4 }],
    ['usage over model', { model: [3, 5], usage: { ...usage, at: 2, removeBytes: 2 } }],
    ['a place to go on beyond the body', { model: [3, 5], continue: 10 }],
    ['a place to go on that is no offset', { model: [3, 5], continue: '1' }],
    ['a place to go on inside model', { model: [3, 5], continue: 4 }],
    ['progress at the end of the body', { model: [3, 5], progress: 10 }],
    ['progress that is no offset', { model: [3, 5], progress: '1' }],
    ['progress inside model', { model: [3, 5], progress: 4 }],
    ['progress inside usage', { model: [3, 5], usage: { ...usage, removeBytes: 2 }, progress: 2 }],
    ['a place to go on inside usage', { model: [3, 5], usage: { ...usage, removeBytes: 2 }, continue: 2 }],
  ])('%s is a protocol error', (_, spans) => {
    expect(errorOf(() => parseSpans(spans, 10))?.code).toBe('protocol_error');
  });

  test('may touch but not overlap, and then every splice finds its place', () => {
    const range = fc.tuple(fc.nat(20), fc.nat(20));
    fc.assert(
      fc.property(range, range, range, cuts, (model, [at, removeBytes], [goOn, progress], cutAt) => {
        const body = utf8('abcdefghijklmnopqrst');
        const spans = { model, usage: { at, removeBytes, insert: '<usage>' }, continue: goOn, progress };
        if (errorOf(() => parseSpans(parse(json(spans)), body.length)) !== undefined) return;
        const choice = {
          servedModel: 'S',
          askForUsage: true,
          continueMembers: '<go on>',
          askForProgress: true,
        };
        const splices = chooseSplices({ spans, ...choice });
        const result = splice(body, splices, cutAt);
        expect(result.length).toBe(body.length + addedBytes(splices));
        expect(text(result)).toContain('"S"');
        expect(text(result)).toContain('<usage>');
        expect(text(result)).toContain(',<go on>');
        expect(text(result)).toContain('"return_progress":true,');
      }),
      { numRuns: 500 },
    );
  });
});
