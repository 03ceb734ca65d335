import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cuts, pieces, singleBytes, text } from '../testing/bytes-in-pieces.ts';
import { type EngineShape, engineShapes, type Generation } from '../testing/engine-streams.ts';
import { trickyString } from '../testing/json-text.ts';
import { joinBytes, utf8 } from './bytes.ts';
import { sseEventBytesMax, usageBytesMax } from './limits.ts';
import { JsonResponseReader, type ResponseReader, SseResponseReader, type UndoOptions } from './undo.ts';
import { type Volunteered, volunteeredIn, volunteersNothing } from './volunteered.ts';

const run = (reader: ResponseReader, pushes: readonly Uint8Array[]): string =>
  text(joinBytes([...pushes.flatMap((push) => [...reader.push(push)]), ...reader.end()]));

const sse = (options: Partial<UndoOptions> = {}): SseResponseReader =>
  new SseResponseReader({ renamed: undefined, dropUsage: undefined, ...options });
const whole = (reader: ResponseReader, body: string): string => run(reader, [utf8(body)]);
const renamed = { served: 'org/served-7b', public: 'public "7b" é' };

const name = fc.oneof(
  trickyString.filter((text) => text.length > 0),
  fc.constant('org/served-7b'),
);
const generation: fc.Arbitrary<Generation> = fc.record({
  model: name,
  texts: fc.array(fc.oneof(trickyString, fc.constant('"usage":{"prompt_tokens":1}')), {
    minLength: 1,
    maxLength: 6,
  }),
  usage: fc.record({ promptTokens: fc.nat(10_000), cachedTokens: fc.nat(10_000) }),
});

/** What the agent learns of an engine from its probe. */
const learnedFrom = ({ stream }: EngineShape): Volunteered =>
  volunteeredIn(
    utf8(stream({ model: 'm', texts: ['a'], usage: { promptTokens: 1, cachedTokens: 0 } }, false)),
  );

describe.each(engineShapes)('a stream of $name', (shape: EngineShape) => {
  const { stream } = shape;
  const dropUsage = learnedFrom(shape);

  test('shows in a probe what it volunteers', () => {
    expect(dropUsage.usage).toBe(shape.volunteered);
  });

  test('with no edit is passed on as it is, and its usage read', () => {
    fc.assert(
      fc.property(generation, fc.boolean(), cuts, (what, includeUsage, at) => {
        const sent = stream(what, includeUsage);
        const reader = sse();
        expect(run(reader, pieces(utf8(sent), at))).toBe(sent);
        expect(reader.usage).toEqual(includeUsage ? usageOf(what) : undefined);
      }),
    );
  });

  test('that was asked for usage comes out as if nobody had asked', () => {
    fc.assert(
      fc.property(generation, cuts, (what, at) => {
        const reader = sse({ dropUsage });
        expect(run(reader, pieces(utf8(stream(what, true)), at))).toBe(stream(what, false));
        expect(reader.usage).toEqual(usageOf(what));
        expect(reader.isOutdated).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test('of a renamed model comes out under its public name, usage asked for or not', () => {
    fc.assert(
      fc.property(generation, name, cuts, (what, publicName, at) => {
        const dropping = sse({ renamed: { served: what.model, public: publicName }, dropUsage });
        const asPublic = { ...what, model: publicName };
        expect(run(dropping, pieces(utf8(stream(what, true)), at))).toBe(stream(asPublic, false));
        const renaming = sse({ renamed: { served: what.model, public: publicName } });
        expect(run(renaming, pieces(utf8(stream(what, true)), at))).toBe(stream(asPublic, true));
      }),
      { numRuns: 200 },
    );
  });

  test('cut short comes out alike for any split', () => {
    fc.assert(
      fc.property(generation, fc.double({ min: 0, max: 1, noNaN: true }), cuts, (what, end, at) => {
        const sent = utf8(stream(what, true));
        const broken = sent.slice(0, Math.round(end * sent.length));
        const options = { renamed: { served: what.model, public: 'p' }, dropUsage };
        expect(run(sse(options), pieces(broken, at))).toBe(run(sse(options), [broken]));
        expect(run(sse(), pieces(broken, at))).toBe(text(broken));
      }),
    );
  });
});

const usageOf = ({ texts, usage }: Generation) => ({
  promptTokens: usage.promptTokens,
  completionTokens: texts.length,
  cachedTokens: usage.cachedTokens,
});

test('events of single bytes are undone alike', () => {
  const what = { model: renamed.served, texts: ['a', 'b'], usage: { promptTokens: 5, cachedTokens: 4 } };
  for (const shape of engineShapes) {
    const reader = sse({ renamed, dropUsage: learnedFrom(shape) });
    const sent = singleBytes(utf8(shape.stream(what, true)));
    expect(run(reader, sent)).toBe(shape.stream({ ...what, model: renamed.public }, false));
  }
});

const dropNothing = { dropUsage: volunteersNothing };
const event = (data: string): string => `data: ${data}\n\n`;

describe('the usage member', () => {
  test.each([
    ['{"a":1,"usage":null}', '{"a":1}'],
    ['{"usage":null,"a":1}', '{"a":1}'],
    ['{"a":1,"usage":null,"b":2}', '{"a":1,"b":2}'],
    ['{"a": 1, "usage": null, "b": 2}', '{"a": 1, "b": 2}'],
    ['{ "usage" : null , "a":1}', '{ "a":1}'],
    ['{"usage":null}', '{}'],
    ['{"choices":[{"delta":{}}],"usage":{"prompt_tokens":3}}', '{"choices":[{"delta":{}}]}'],
  ])('goes from %s where nothing is volunteered', (sent, expected) => {
    expect(whole(sse(dropNothing), event(sent))).toBe(event(expected));
  });

  test.each([
    '{"choices":[{"delta":{"usage":null}}]}',
    '{"choices":[{"logprobs":{"content":[{"token":"usage"}]}}]}',
    '{"a":"usage"}',
    '{"choices":[{"delta":{"content":"\\"usage\\":null"}}]}',
  ])('elsewhere is not touched: %s', (sent) => {
    expect(whole(sse(dropNothing), event(sent))).toBe(event(sent));
  });

  test('of a running count becomes null where null is volunteered', () => {
    const reader = sse({ dropUsage: { usage: 'null', finish: [] } });
    const sent = event('{"choices":[{"index":0}],"usage":{"prompt_tokens":3,"completion_tokens":1}}');
    expect(whole(reader, sent)).toBe(event('{"choices":[{"index":0}],"usage":null}'));
    expect(reader.usage).toEqual({ promptTokens: 3, completionTokens: 1 });
  });

  test('stays where usage itself is volunteered', () => {
    const sent = event('{"choices":[],"usage":{"prompt_tokens":3}}') + event('[DONE]');
    const reader = sse({ dropUsage: { usage: 'usage', finish: [] } });
    expect(whole(reader, sent)).toBe(sent);
    expect(reader.usage).toEqual({ promptTokens: 3, completionTokens: 0 });
  });

  test('of another shape is no usage, and no reason to drop an event that has choices', () => {
    const reader = sse(dropNothing);
    expect(whole(reader, event('{"choices":[1],"usage":"much"}'))).toBe(event('{"choices":[1]}'));
    expect(reader.usage).toBeUndefined();
  });
});

test('comments, other fields and what is not JSON pass as they are', () => {
  const fields = ': hello\n\nevent: ping\nid: 3\ndata: {"model":"org/served-7b"\n\n';
  const sent = fields + event('"usage"') + event('{"usage"');
  expect(whole(sse({ renamed, ...dropNothing }), sent)).toBe(sent);
});

test('any bytes at all come out alike for any split, and as they are without edits', () => {
  const ending = '{"choices":[{"finish_reason":"stop"}]}\n\n';
  const soup = fc.array(
    fc.constantFrom('data: ', '{', '}', '"usage":', 'null', '"model":"m"', ',', '\n', '\r', '[]', ending),
    {
      maxLength: 30,
    },
  );
  const finish = volunteeredIn(
    utf8('data: {"choices":[{"finish_reason":"stop"}],"system_fingerprint":1}\n\n'),
  );
  const options = { renamed: { served: 'm', public: 'p' }, dropUsage: finish };
  fc.assert(
    fc.property(soup, cuts, (parts, at) => {
      const bytes = utf8(parts.join(''));
      expect(run(sse(), pieces(bytes, at))).toBe(text(bytes));
      expect(run(sse(options), pieces(bytes, at))).toBe(run(sse(options), [bytes]));
    }),
    { numRuns: 1000 },
  );
});

test('an event beyond the limit passes as it is, and those around it are undone', () => {
  const small = event('{"model":"org/served-7b","usage":null}');
  const long = event(`{"model":"org/served-7b","x":"${'x'.repeat(sseEventBytesMax)}","usage":null}`);
  const after = event(`{"model":${JSON.stringify(renamed.public)}}`);
  for (const at of [[], [0.5], [0.1, 0.99]]) {
    const reader = sse({ renamed, ...dropNothing });
    expect(run(reader, pieces(utf8(small + long + small), at))).toBe(after + long + after);
  }
});

test('a model name that the engine escapes in another way is renamed too', () => {
  const served = 'org/é';
  const escaped = String.raw`{"model":"org\/\u00e9","a":1}`;
  const options = { renamed: { served, public: 'p' } };
  expect(whole(sse(options), event(escaped))).toBe(event('{"model":"p","a":1}'));
  expect(whole(new JsonResponseReader({ dropUsage: undefined, ...options }), escaped)).toBe(
    '{"model":"p","a":1}',
  );
});

test('a stream that ends without its usage event loses nothing', () => {
  const finish = '{"choices":[{"index":0,"finish_reason":"stop","delta":{}}]}';
  for (const sent of [
    event(finish),
    `${event('{"choices":[]}')}data: ${finish}`,
    event(finish) + event(finish),
  ]) {
    for (const pushes of [[utf8(sent)], singleBytes(utf8(sent))]) {
      expect(run(sse(dropNothing), pushes)).toBe(sent);
    }
  }
});

test('the end of a choice is held until the next event, the usage event too, or until the stream broke', () => {
  const finish = event('{"choices":[{"index":0,"finish_reason":"stop","delta":{}}]}');
  const usage = event('{"choices":[],"usage":{"prompt_tokens":3}}');
  const said = (parts: readonly Uint8Array[]): string => Buffer.concat(parts).toString();
  const reader = sse(dropNothing);
  expect(said(reader.push(utf8(finish)))).toBe('');
  expect(said(reader.push(utf8(usage)))).toBe(finish);
  expect(said(reader.push(utf8(`${finish}data: {"cho`)))).toBe('');
  expect(said(reader.broken())).toBe(finish);
  expect(said(reader.broken())).toBe('');
});

describe('what an engine moves from the ends of choices to its usage event', () => {
  const end = (index: number, more = ''): string =>
    event(`{"choices":[{"index":${index},"finish_reason":"stop"}],"created":1${more}}`);
  const usageWith = (more: string): string => event(`{"choices":[],"usage":{"prompt_tokens":3}${more}}`);
  const print = (value: string): string => `,"system_fingerprint":"${value}"`;
  const moved = { dropUsage: volunteeredIn(utf8(end(0, print('a')))) };

  test('returns to each of them, without the usage event too', () => {
    const delta = event('{"choices":[{"index":1,"finish_reason":null}]}');
    const sent = end(0) + delta + end(1);
    const expected = end(0, print('a')) + delta + end(1, print('a'));
    for (const rest of ['', usageWith(''), usageWith(print('a'))]) {
      const reader = sse(moved);
      expect(whole(reader, sent + rest + event('[DONE]'))).toBe(expected + event('[DONE]'));
      expect(reader.isOutdated).toBe(false);
    }
  });

  test('is said anew by an engine that has changed: the last end has that, and the probe is outdated', () => {
    const reader = sse(moved);
    expect(whole(reader, end(0) + end(1) + usageWith(print('b')))).toBe(
      end(0, print('a')) + end(1, print('b')),
    );
    expect(reader.isOutdated).toBe(true);
  });

  test('stands behind the same member as in the probe, or nowhere', () => {
    const later = '{"choices":[{"finish_reason":"stop"}],"created":1,"later":{"a":1}}';
    const without = '{"choices":[{"finish_reason":"stop"}],"later":1}';
    expect(whole(sse(moved), event(later) + event(without))).toBe(
      event(later.replace(',"later"', `${print('a')},"later"`)) + event(without),
    );
  });

  test.each([
    end(0, print('own')),
    event('{"choices":[{"index":0,"finish_reason":null}],"created":1}'),
    event('{"choices":[{"delta":{"content":"\\"finish_reason\\":\\"stop\\""}}],"created":1}'),
    event('{"choices":[{"delta":{"finish_reason":"stop"},"finish_reason":null}],"created":1}'),
    event('{"choices":[],"created":1,"finish_reason":"stop"}'),
    event('{"choices":{"finish_reason":"stop"},"created":1}'),
    event('{"choices":[{"finish_reason":"stop",],"created":1}'),
    event('"finish_reason":"stop"'),
    'data: {"choices":[{"finish_reason":"stop"}],"crea',
    event(`{"choices":[{"finish_reason":"stop"}],"created":1,"x":"${'x'.repeat(sseEventBytesMax)}"}`),
  ])('is not put where it stands already, nor where no choice ends: %.70s', (sent) => {
    expect(whole(sse(moved), sent)).toBe(sent);
    expect(run(sse(moved), pieces(utf8(sent), [0.1, 0.9]))).toBe(sent);
  });
});

test('another model name stays', () => {
  const sent = event('{"model":"org/served-7b-other","choices":[{"model":"org/served-7b"}]}');
  expect(whole(sse({ renamed }), sent)).toBe(sent);
});

describe('a JSON response', () => {
  const jsonReader = (undo: UndoOptions['renamed']) =>
    new JsonResponseReader({ renamed: undo, dropUsage: undefined });
  const body = (model: string, padding: number, usageFirst: boolean): string => {
    const usage = { prompt_tokens: 7, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 6 } };
    const content = '"model":"org/served-7b" "usage"'.repeat(padding);
    const choices = [{ message: { content, model: 'org/served-7b' } }];
    return JSON.stringify(
      usageFirst ? { usage, id: 'x', model, choices } : { choices, id: 'x', model, usage },
    );
  };
  const usage = { promptTokens: 7, completionTokens: 2, cachedTokens: 6 };

  test('is renamed and its usage read, wherever model stands and however it is cut', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.boolean(), cuts, (padding, usageFirst, at) => {
        const reader = jsonReader(renamed);
        const sent = utf8(body(renamed.served, padding, usageFirst));
        expect(run(reader, pieces(sent, at))).toBe(body(renamed.public, padding, usageFirst));
        expect(reader.usage).toEqual(usage);
      }),
      { numRuns: 300 },
    );
  });

  const answered = (said: string, at: readonly number[] = []): JsonResponseReader => {
    const reader = new JsonResponseReader({
      ...{ renamed: undefined, dropUsage: undefined },
      ...{ isAnswer: true, endsByClose: true },
    });
    run(reader, pieces(utf8(said), at));
    return reader;
  };

  test('that is cut is unfinished, wherever, and none is that is whole', () => {
    const whole = `${body('m', 2, true)}\n`;
    fc.assert(
      fc.property(fc.nat(whole.length - 2), cuts, (length, at) => {
        expect(answered(whole.slice(0, length), at).isUnfinished).toBe(true);
      }),
    );
    for (const said of [whole, '[]', '{}', '{"error":null,"choices":[]}', 'null', ' not JSON']) {
      const { isUnfinished, failure } = answered(said);
      expect([said, isUnfinished, failure]).toEqual([said, false, undefined]);
    }
  });

  test('that is an error is a failure, unless it is the client’s fault, or there is an answer beside it', () => {
    const dead = '{"error":{"message":"dead","code":500}}';
    fc.assert(
      fc.property(cuts, (at) => {
        expect(answered(dead, at).failure).toBe('dead');
      }),
    );
    expect(answered('{"error":"dead"}').failure).toBe('dead');
    expect(answered('{"error":{"message":"no","code":400}}').failure).toBeUndefined();
    expect(answered('{"error":{"message":"dead"},"choices":[]}').failure).toBeUndefined();
    expect(answered('{"data":[{"error":{"message":"x"}}]}').failure).toBeUndefined();
    expect(jsonReader(undefined).failure).toBeUndefined();
  });

  test('in single bytes is renamed alike', () => {
    for (const usageFirst of [true, false]) {
      const reader = jsonReader(renamed);
      expect(run(reader, singleBytes(utf8(body(renamed.served, 2, usageFirst))))).toBe(
        body(renamed.public, 2, usageFirst),
      );
      expect(reader.usage).toEqual(usage);
    }
  });

  test('of megabytes passes through in views, held by no more than a name', () => {
    const sent = utf8(body(renamed.served, 100_000, false));
    const reader = jsonReader(renamed);
    let passed = 0;
    for (let at = 0; at < sent.length; at += 65_536) {
      const push = sent.subarray(at, at + 65_536);
      for (const part of reader.push(push)) passed += part.length;
      if (at + push.length < sent.length - 1000) expect(passed).toBe(at + push.length);
    }
    expect(passed).toBe(utf8(body(renamed.public, 100_000, false)).length);
    expect(reader.end()).toEqual([]);
  });

  test('under another name, or with nothing to rename, comes out as it went in', () => {
    fc.assert(
      fc.property(fc.boolean(), cuts, (usageFirst, at) => {
        const sent = body('another', 3, usageFirst);
        expect(run(jsonReader(renamed), pieces(utf8(sent), at))).toBe(sent);
        const served = body(renamed.served, 3, usageFirst);
        expect(run(jsonReader(undefined), pieces(utf8(served), at))).toBe(served);
      }),
    );
  });

  test('broken off anywhere, or no JSON at all, comes out alike for any split', () => {
    const broken = fc
      .tuple(fc.boolean(), fc.double({ min: 0, max: 1, noNaN: true }))
      .map(([usageFirst, end]) => body(renamed.served, 1, usageFirst).slice(0, Math.round(end * 300)));
    const soup = fc.string({ unit: fc.constantFrom(...'{}[]":,model \n'), maxLength: 40 });
    fc.assert(
      fc.property(fc.oneof(broken, soup), cuts, (sent, at) => {
        expect(run(jsonReader(renamed), pieces(utf8(sent), at))).toBe(whole(jsonReader(renamed), sent));
        expect(run(jsonReader(undefined), pieces(utf8(sent), at))).toBe(sent);
      }),
      { numRuns: 1000 },
    );
  });

  test('with values too long to hold passes as it is', () => {
    const long = 'x'.repeat(usageBytesMax + 10);
    const sent = `{"model":"${long}","usage":{"prompt_tokens":1,"x":"${long}"},"id":1}`;
    for (const at of [[], [0.2], [0.2, 0.4, 0.6, 0.8]]) {
      const reader = jsonReader(renamed);
      expect(run(reader, pieces(utf8(sent), at))).toBe(sent);
      expect(reader.usage).toBeUndefined();
    }
  });

  test('holds no more of a model value than any name needs', () => {
    const reader = jsonReader(renamed);
    let heldBytes = '{"model":"'.length;
    reader.push(utf8('{"model":"'));
    for (let pushes = 0; pushes < 40; pushes += 1) {
      heldBytes += 1000;
      for (const part of reader.push(new Uint8Array(1000).fill(120))) heldBytes -= part.length;
      expect(heldBytes).toBeLessThanOrEqual(usageBytesMax + 1000);
    }
  });
});
