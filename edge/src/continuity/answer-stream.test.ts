import { clientStallMsMax, keepAliveMs, sseEventBytesMax } from '@cognitora/protocol/limits';
import type { JsonRecord } from '@cognitora/protocol/shape';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { data, end, fail, framed, ours } from '../../testing/framed.ts';
import { AnswerStream } from './answer-stream.ts';
import { asksOneAnswer } from './continuable.ts';
import type { Progress, Recovery } from './exchange.ts';
import { restOf } from './rest.ts';
import type { WireFailure } from './wire.ts';

const path = '/v1/chat/completions';

const chunk = (content: string, more: object = {}, id = 'first'): string => {
  const choice = { index: 0, delta: { content }, finish_reason: null, ...more };
  return `data: ${JSON.stringify({ id, created: 1, model: 'm', choices: [choice] })}\n\n`;
};
const finish = (id = 'first'): string => chunk('', { delta: {}, finish_reason: 'stop' }, id);
const done = 'data: [DONE]\n\n';

const request = { model: 'm', stream: true, messages: [{ role: 'user', content: 'Tell me.' }] };

/** The client's body to its end, as text; ` !` behind it where it broke off. */
const read = async (stream: ReadableStream<Uint8Array>): Promise<string> => {
  let text = '';
  try {
    for await (const bytes of stream) text += new TextDecoder().decode(bytes);
  } catch {
    return `${text} !`;
  }
  return text;
};

const wordsOf = (text: string): string =>
  [...text.matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word).join('');

interface Recovered {
  readonly answer: Response;
  readonly how: 'resumed' | 'retried' | 'continued';
}

/** An answer, what follows when it breaks, and what was asked for then. */
const answering = (
  answer: Response,
  recoveries: readonly Recovered[] = [],
  { body = request as object, isRefused = false } = {},
) => {
  const asked: [WireFailure['code'], Progress][] = [];
  const told: string[] = [];
  const turns = [...recoveries];
  const stream = new AnswerStream({
    ...{ answer, path, clock: () => Date.now() },
    exchange: {
      recover: (failure, progress) => {
        asked.push([failure.code, progress]);
        const { rest } = progress;
        const next = turns.shift();
        if (next === undefined) {
          const because =
            rest !== undefined && rest !== 'spent' && 'because' in rest ? ` ${rest.because}` : '';
          const told = { code: failure.code, message: `${failure.message}${because}` };
          return Promise.resolve(rest === 'spent' ? { how: 'spent' } : { how: 'not', failure: told });
        }
        if (next.how !== 'continued') return Promise.resolve(next as Recovery);
        const seam = rest !== undefined && rest !== 'spent' && 'seam' in rest ? rest.seam : undefined;
        if (seam === undefined) throw new Error('nothing to continue');
        return Promise.resolve({ ...next, how: 'continued', seam });
      },
    },
    restOf: (sent) => {
      const bytes = new TextEncoder().encode(JSON.stringify(body));
      return restOf(sent, { path, body: bytes, isRefused, isOneAnswer: asksOneAnswer(body as JsonRecord) });
    },
    onOver: () => told.push('over'),
    onLeft: () => told.push('left'),
  });
  const rest = (at = 0): string => {
    const { rest: said } = asked[at]?.[1] ?? {};
    return said === undefined || said === 'spent' || !('seam' in said)
      ? ''
      : new TextDecoder().decode(said.body.toSend() as Uint8Array);
  };
  return { stream, asked, told, rest };
};

test('an answer that nothing breaks passes as it is, comments in their places', async () => {
  const said = [data(chunk('a')), ours(': wait\n\n'), data(chunk('b') + finish() + done), end];
  const { stream, told } = answering(framed(said));
  expect(await read(stream.readable)).toBe(`${chunk('a')}: wait\n\n${chunk('b')}${finish()}${done}`);
  expect(told).toEqual(['over']);
});

test('an event is passed on when it is whole', async () => {
  const event = chunk('word');
  const { stream } = answering(framed([data(event.slice(0, 9)), data(event.slice(9))], { how: 'open' }));
  const reader = stream.readable.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe(event);
});

describe('when it breaks', () => {
  test('the same stream goes on at its offset, and the client sees one', async () => {
    const event = chunk('b');
    const again = framed([data(event.slice(5)), data(finish() + done), end]);
    const { stream, asked } = answering(
      framed([data(chunk('a')), data(event.slice(0, 5)), fail('link_lost')]),
      [{ answer: again, how: 'resumed' }],
    );
    expect(await read(stream.readable)).toBe(`${chunk('a')}${event}${finish()}${done}`);
    expect(asked.map(([code, { offset }]) => [code, offset])).toEqual([['link_lost', chunk('a').length + 5]]);
  });

  test.each(['closed', 'cut'] as const)('an object that is gone (%s) is a lost link', async (how) => {
    const again = framed([data(finish() + done), end]);
    const { stream, asked } = answering(framed([data(chunk('a'))], { how }), [
      { answer: again, how: 'resumed' },
    ]);
    expect(await read(stream.readable)).toBe(`${chunk('a')}${finish()}${done}`);
    expect(asked.map(([code]) => code)).toEqual(['link_lost']);
  });

  test('another replica goes on behind the text, under the first id', async () => {
    const role = { delta: { role: 'assistant', content: '' } };
    const next = [chunk('', role, 'second'), chunk('c', {}, 'second'), finish('second'), done].join('');
    const first = [
      data(chunk('', role) + chunk('a') + chunk('b')),
      data('data: {"half'),
      fail('engine_broke_off'),
    ];
    const { stream, rest } = answering(framed(first), [
      { answer: framed([data(next), end]), how: 'continued' },
    ]);
    const text = await read(stream.readable);
    expect(wordsOf(text)).toBe('abc');
    expect([text.includes('second'), text.includes('half')]).toEqual([false, false]);
    expect(text.split('"role"')).toHaveLength(2);
    expect(text.endsWith(done)).toBe(true);
    expect(JSON.parse(rest())).toMatchObject({ messages: [{}, { role: 'assistant', content: 'ab' }] });
  });

  test('and another one behind both', async () => {
    const second = framed([data(chunk('b', {}, '2')), fail('engine_broke_off')]);
    const third = framed([data(chunk('c', {}, '3') + finish('3') + done), end]);
    const { stream, rest } = answering(framed([data(chunk('a')), fail('engine_broke_off')]), [
      { answer: second, how: 'continued' },
      { answer: third, how: 'continued' },
    ]);
    expect(wordsOf(await read(stream.readable))).toBe('abc');
    expect(JSON.parse(rest(1))).toMatchObject({ messages: [{}, { role: 'assistant', content: 'ab' }] });
  });

  test('of an answer of which the client has nothing the request is asked anew', async () => {
    const again = framed([data(chunk('a') + finish() + done), end]);
    const { stream, asked } = answering(framed([ours(': wait\n\n'), fail('engine_broke_off')]), [
      { answer: again, how: 'retried' },
    ]);
    expect(wordsOf(await read(stream.readable))).toBe('a');
    expect(asked[0]?.[1]).toEqual({ offset: 0, rest: undefined });
  });

  test('behind its finish reason it lacks only its end, and gets it', async () => {
    const { stream, asked } = answering(framed([data(chunk('a') + finish()), fail('engine_broke_off')]));
    expect(await read(stream.readable)).toBe(`${chunk('a')}${finish()}${done}`);
    // Its own stream, if there is one, has its usage too.
    expect(asked.map(([, { rest }]) => rest)).toEqual(['spent']);
  });

  test('with its limit of tokens used up it ends as one that reached it', async () => {
    const { stream } = answering(framed([data(chunk('a')), fail('engine_broke_off')]), [], {
      body: { ...request, max_tokens: 1 },
    });
    const text = await read(stream.readable);
    expect([text.includes('"finish_reason":"length"'), text.endsWith(done)]).toEqual([true, true]);
  });

  test('a stitched answer keeps what its engine left without a blank line', async () => {
    // Whether the last line end is whole, nobody knows before the answer's end.
    const last = finish('second').replace('\n\n', '\r\n\r');
    const { stream } = answering(framed([data(chunk('a')), fail('engine_broke_off')]), [
      { answer: framed([data(last), end]), how: 'continued' },
    ]);
    expect(await read(stream.readable)).toBe(chunk('a') + last.replace('second', 'first'));
  });

  test.each([
    ['several answers of which one has ended', chunk('a') + finish(), { ...request, n: 2 }, false, 'several'],
    ['a tool call', chunk('', { delta: { tool_calls: [{ index: 0 }] } }), request, false, 'tool call'],
    ['several answers', chunk('a'), { ...request, n: 2 }, false, 'several answers'],
    ['several of which one ended', chunk('a') + finish(), { ...request, n: 2 }, false, 'several answers'],
    ['a client that wants none', chunk('a'), request, true, 'says so'],
  ])('of %s the client is told why it is not continued', async (_, said, body, isRefused, because) => {
    const { stream, asked } = answering(framed([data(said), fail('engine_broke_off')]), [], {
      body,
      isRefused,
    });
    const text = await read(stream.readable);
    expect(text).toMatch(/data: \{"error":\{.*"code":"engine_broke_off"\}\}\n\n$/);
    expect([text.includes(because), text.includes('[DONE]')]).toEqual([true, false]);
    expect(JSON.stringify(asked[0]?.[1].rest)).toContain(because);
  });

  test('and another engine refuses to go on, the client is told', async () => {
    const { stream } = answering(framed([data(chunk('a')), fail('engine_broke_off')]), [
      { answer: new Response('no', { status: 400 }), how: 'continued' },
    ]);
    expect(await read(stream.readable)).toMatch(/"code":"stream_broken"\}\}\n\n$/);
  });

  test('within an event that was passed on in pieces, the error is an event of its own', async () => {
    const long = `data: ${'y'.repeat(sseEventBytesMax + 10)}`;
    const { stream } = answering(framed([data(chunk('a')), data(long), fail('engine_broke_off')]));
    expect(await read(stream.readable)).toMatch(/y\n\ndata: \{"error":\{.*\}\}\n\n$/);
  });

  test('since the client hung up, nothing is asked, and the body ends by an event: a cut is logged', async () => {
    const { stream, asked, told } = answering(framed([data(chunk('a')), fail('client_gone')]));
    expect(await read(stream.readable)).toMatch(/data: \{"error":\{.*"code":"client_gone"\}\}\n\n$/);
    expect([asked, told]).toEqual([[], ['over']]);
  });
});

describe('while who goes on is looked for', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());
  const comment = ': waiting for the engine\n\n';

  const broken = (said: string) => {
    const found = Promise.withResolvers<Recovery>();
    const stream = new AnswerStream({
      answer: framed([data(said), fail('engine_broke_off')]),
      ...{ path, clock: () => Date.now() },
      exchange: { recover: () => found.promise },
      restOf: () => ({ because: 'a test says so' }),
      onOver: () => {},
      onLeft: () => {},
    });
    return { found, stream, reader: stream.readable.getReader() };
  };
  const textOf = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> =>
    new TextDecoder().decode((await reader.read()).value);

  test('comments keep the connection, and the answer goes on behind them', async () => {
    const { found, reader } = broken(chunk('a'));
    expect(await textOf(reader)).toBe(chunk('a'));
    for (const _ of [1, 2, 3]) {
      const next = textOf(reader);
      await vi.advanceTimersByTimeAsync(keepAliveMs);
      expect(await next).toBe(comment);
    }
    const next = textOf(reader);
    found.resolve({ how: 'resumed', answer: framed([data(chunk('b')), end]) });
    expect(await next).toBe(chunk('b'));
    while (!(await reader.read()).done);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('one that is not read gets one comment, and one that left none', async () => {
    const { found, reader } = broken(chunk('a'));
    await reader.read();
    const next = textOf(reader);
    await vi.advanceTimersByTimeAsync(keepAliveMs * 4);
    expect(await next).toBe(comment);
    expect(await textOf(reader)).toBe(comment);
    const last = reader.read();
    await reader.cancel();
    await vi.advanceTimersByTimeAsync(keepAliveMs * 2);
    found.resolve({ how: 'spent' });
    expect((await last).done).toBe(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('no comment stands within an event that was passed on in pieces', async () => {
    const { found, reader } = broken(`data: ${'y'.repeat(sseEventBytesMax + 10)}`);
    await reader.read();
    const next = textOf(reader);
    await vi.advanceTimersByTimeAsync(keepAliveMs * 2);
    found.resolve({ how: 'resumed', answer: framed([data('yy\n\n'), end]) });
    expect(await next).not.toContain(comment);
  });
});

describe('a client', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  test('that leaves ends what runs for it', async () => {
    const left = vi.fn();
    const { stream, told } = answering(framed([data(chunk('a'))], { how: 'open', left }));
    const reader = stream.readable.getReader();
    await reader.read();
    await reader.cancel();
    expect(left).toHaveBeenCalledOnce();
    expect(told).toEqual(['left', 'over']);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that stops reading is cut off', async () => {
    const left = vi.fn();
    const { stream, told } = answering(framed([data(chunk('a')), data(chunk('b'))], { how: 'open', left }));
    const reader = stream.readable.getReader();
    await reader.read();
    await vi.advanceTimersByTimeAsync(clientStallMsMax * 1.2);
    await expect(reader.read()).rejects.toThrow('stopped reading');
    expect([left.mock.calls.length, told]).toEqual([1, ['over']]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
