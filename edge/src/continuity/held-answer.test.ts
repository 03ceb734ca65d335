import { heldAnswerBytesMax } from '@cognitora/protocol/limits';
import { expect, test, vi } from 'vitest';
import { data, end, fail, framed } from '../../testing/framed.ts';
import type { Progress, Recovery } from './exchange.ts';
import { holdAnswer } from './held-answer.ts';
import type { WireFailure } from './wire.ts';

const json = { type: 'application/json' };

const holding = (answer: Response, recoveries: readonly Recovery[] = []) => {
  const asked: [string, Progress][] = [];
  const onOver = vi.fn();
  const left = new AbortController();
  const turns = [...recoveries];
  const exchange = {
    recover: (failure: WireFailure, progress: Progress): Promise<Recovery> => {
      asked.push([failure.code, progress]);
      return Promise.resolve(turns.shift() ?? { how: 'not', failure });
    },
  };
  return { held: holdAnswer(answer, exchange, left.signal, onOver), asked, onOver, left };
};

test('an answer is one body, with the engine’s status and headers and nothing of ours between', async () => {
  const { held, onOver } = holding(framed([data('{"a":'), data('1}'), end], { ...json, status: 207 }));
  const answer = await held;
  expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
    ...[207, 'application/json', '{"a":1}'],
  ]);
  expect(answer.headers.has('x-cognitora-framed')).toBe(false);
  expect(onOver).toHaveBeenCalledOnce();
});

test('one that breaks off is asked for anew, and the client sees one of them', async () => {
  const again = framed([data('{"b":2}'), end], json);
  const { held, asked } = holding(framed([data('{"a":'), fail('engine_broke_off')], json), [
    { answer: again, how: 'retried' },
  ]);
  expect(await (await held).text()).toBe('{"b":2}');
  expect(asked).toEqual([['engine_broke_off', { offset: 5, rest: undefined }]]);
});

test.each([true, false])(
  'one whose link was lost goes on where it was (whole at once: %s)',
  async (isWhole) => {
    const rest = isWhole
      ? new Response('1}', { headers: { 'content-type': 'application/json' } })
      : framed([data('1}'), end], json);
    const { held, asked, onOver } = holding(framed([data('{"a":')], { ...json, how: 'cut' }), [
      { answer: rest, how: 'resumed' },
    ]);
    expect(await (await held).text()).toBe('{"a":1}');
    expect(asked.map(([code, { offset }]) => [code, offset])).toEqual([['link_lost', 5]]);
    expect(onOver).toHaveBeenCalledOnce();
  },
);

test('one that nobody gives is the failure, and nothing of it is shown', async () => {
  const broken = framed([data('{"a":'), fail('engine_broke_off')], json);
  const place = { 'x-request-id': 'req_1', 'x-cognitora-node': 'n1', 'x-cognitora-region': 'local' };
  for (const [name, value] of Object.entries(place)) broken.headers.set(name, value);
  const { held, onOver } = holding(broken);
  const answer = await held;
  expect(Object.fromEntries(answer.headers)).toMatchObject({ ...place, 'content-type': 'application/json' });
  expect(answer.headers.has('x-cognitora-framed')).toBe(false);
  expect([answer.status, answer.headers.get('x-cognitora-code')]).toEqual([502, 'engine_broke_off']);
  expect(await answer.text()).not.toContain('{"a":');
  expect(onOver).toHaveBeenCalledOnce();
});

test('one that is too large is passed on as it comes, and cut where it breaks', async () => {
  const large = 'x'.repeat(heldAnswerBytesMax);
  for (const last of [end, fail('engine_broke_off')]) {
    const { held, asked, onOver } = holding(framed([data(large), data('yy'), data('z'), last], json));
    const answer = await held;
    expect(onOver).not.toHaveBeenCalled();
    const text = answer.text();
    if (last === end) expect(await text).toBe(`${large}yyz`);
    else await expect(text).rejects.toThrow('It broke.');
    expect([asked, onOver.mock.calls.length]).toEqual([[], 1]);
  }
});

test('a stream that its engine compressed goes on as it comes, under the name that the client knows', async () => {
  for (const last of [end, fail('engine_broke_off')]) {
    const answer = framed([data('zip'), data('ped'), last]);
    answer.headers.set('x-cognitora-encoding', 'gzip');
    const { held, asked } = holding(answer);
    const { headers, body } = await held;
    expect([headers.get('content-encoding'), headers.has('x-cognitora-encoding')]).toEqual(['gzip', false]);
    const text = new Response(body).text();
    if (last === end) expect(await text).toBe('zipped');
    else await expect(text).rejects.toThrow('It broke.');
    expect(asked).toEqual([]);
  }
});

test('before its first byte it is asked for anew, and the failure is nobody’s gzip', async () => {
  const sealed = (parts: readonly Uint8Array[]): Response => {
    const answer = framed(parts);
    answer.headers.set('x-cognitora-encoding', 'gzip');
    return answer;
  };
  const again = sealed([data('zipped'), end]);
  const { held } = holding(sealed([fail('engine_broke_off')]), [{ answer: again, how: 'retried' }]);
  expect(await new Response((await held).body).text()).toBe('zipped');
  const told = await holding(sealed([fail('engine_broke_off')])).held;
  expect([told.status, told.headers.get('content-encoding')]).toEqual([502, null]);
  expect(told.headers.has('x-cognitora-encoding')).toBe(false);
});

test('a client that leaves ends what runs for it', async () => {
  const gone = vi.fn();
  const { held, left } = holding(framed([data('{')], { ...json, how: 'open', left: gone }));
  await Promise.resolve();
  left.abort();
  await held;
  expect(gone).toHaveBeenCalledOnce();
});
