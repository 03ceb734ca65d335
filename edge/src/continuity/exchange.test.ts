import { CognitoraError, type ErrorCode } from '@cognitora/protocol/errors';
import type { Region, RequestId } from '@cognitora/protocol/ids';
import {
  attemptsPerRegionMax,
  continuationRoundsMax,
  continuationsMax,
  resumeAgainMs,
  resumeMsContinuable,
  resumeMsMax,
  resumeMsMin,
} from '@cognitora/protocol/limits';
import { describe, expect, test } from 'vitest';
import { envOf } from '../../testing/env.ts';
import { settingsOf } from '../env.ts';
import { errorResponse, nodeHeader, routeHeader } from '../error-response.ts';
import { decodeCarry, decodeResume, openHeader, resumeHeader } from '../link/carry-request.ts';
import type { PromptDigests } from '../prompt-digests.ts';
import type { AttemptBody } from './attempt.ts';
import { Exchange } from './exchange.ts';
import type { Rest } from './rest.ts';
import type { Seam } from './sent.ts';

type Layout = 'one-object' | 'object-per-node';

/** What the objects say in turn: an answer of a node, a failure there, or a failure where nobody was chosen. */
type Said = readonly [node: string | undefined, said: number | ErrorCode, isAway?: boolean];
/** Or the object is gone, and says nothing. */
type Script = readonly (Said | 'unreachable')[];

const answerOf = ([node, said, isAway = false]: Said): Response => {
  const placed = node === undefined ? { isAway } : { node, route: `replica=r0; policy=p` };
  if (typeof said === 'string') return errorResponse(new CognitoraError(said, 'x', placed));
  return new Response('ok', {
    status: said,
    headers: { [nodeHeader]: node ?? '', [routeHeader]: 'replica=r0' },
  });
};

const bodyOf = (text: string): AttemptBody => {
  const bytes = new TextEncoder().encode(text);
  return { bytes: bytes.length, spans: { model: [0, 1] }, toSend: () => bytes };
};
const seam: Seam = { text: 'a', events: 1, repeats: '' };
const restOf = (text: string): Rest => ({ body: bodyOf(text), seam });

/** An exchange whose objects follow a script, and what they were asked, one line each. */
const exchanging = (
  script: Script,
  { regions = ['a'], isReplayable = true, layout = 'one-object' as Layout, remainingMs = 60_000 } = {},
) => {
  const asked: string[] = [];
  const left = new AbortController();
  const turns = [...script];
  let leftMs = remainingMs;
  const turn = (): Response => {
    const said = turns.shift() ?? [undefined, 'internal'];
    if (said === 'unreachable') throw new Error('this object was reset');
    return answerOf(said);
  };
  const object = {
    fetch: (_: string, { headers, body }: { headers: Record<string, string>; body?: Uint8Array }) => {
      const named = new Headers(headers);
      if (named.has(resumeHeader)) {
        const { node, offset, region, waitMs } = decodeResume(named);
        asked.push(`resume ${region}/${node} from ${offset} for ${waitMs}`);
        // It waited for all of that.
        if (turns[0] !== 'unreachable' && turns[0]?.[1] === 'link_lost') leftMs -= waitMs;
      } else if (named.has(openHeader)) {
        const { region, occasion, earlier, awaitsNodes } = decodeCarry(named);
        const after = earlier.map(({ node = '', code }) => `${node}:${code}`).join(' ');
        asked.push(
          `${occasion} ${region} ${new TextDecoder().decode(body)}${after === '' ? '' : ` after ${after}`}` +
            (awaitsNodes === (regions.length === 1) ? '' : ', patiently'),
        );
      }
      return new Promise((resolve) => resolve(turn()));
    },
  };
  const env = envOf({ REGIONS: regions.join(','), LAYOUT: layout }, object as never);
  const exchange = new Exchange({
    terms: {
      ...{ env, settings: settingsOf(env), requestId: 'r' as RequestId, path: '/v1/completions', query: '' },
      ...{ model: 'm', stream: true, headers: [], client: undefined, gone: left.signal },
      digests: { isPossible: false } as PromptDigests,
      remainingMs: () => Math.max(0, leftMs),
      demand: { tenant: 'default', priority: 5, tokens: 1, answerTokens: 0 },
    },
    body: bodyOf('body'),
    regions: regions as Region[],
    isReplayable: () => isReplayable,
    pause: (ms) => {
      asked.push(`pause ${ms}`);
      leftMs -= ms;
      return Promise.resolve();
    },
  });
  const begun = async (): Promise<readonly [number, string | null]> => {
    const answer = await exchange.begin();
    return [answer.status, answer.headers.get('x-cognitora-code')];
  };
  return { asked, begun, exchange, left };
};

describe('before the first byte', () => {
  test('an answer is an answer, also an engine’s refusal', async () => {
    for (const status of [200, 400, 429, 500]) {
      const { asked, begun } = exchanging([['n1', status]]);
      expect(await begun()).toEqual([status, null]);
      expect(asked).toEqual(['first a body']);
    }
  });

  test.each([
    'engine_unreachable',
    'engine_broke_off',
    'ack_timeout',
    'replica_gone',
    503,
    502,
    504,
  ] as const)('after %s another replica is asked, and told who was', async (said) => {
    const { asked, begun } = exchanging([
      ['n1', said],
      ['n2', 200],
    ]);
    expect(await begun()).toEqual([200, null]);
    const code = typeof said === 'number' ? 'engine_unavailable' : said;
    expect(asked).toEqual(['first a body', `retried a body after n1:${code}`]);
  });

  test.each(['bad_json', 'client_gone', 'total_timeout', 'engine_refused'] as const)(
    'after %s nobody else is asked',
    async (code) => {
      const { asked, begun } = exchanging([['n1', code]]);
      expect((await begun())[1]).toBe(code);
      expect(asked).toHaveLength(1);
    },
  );

  test('a region is left after as many attempts as it gets, and the failure that says most is told', async () => {
    const failing: Script = Array.from({ length: attemptsPerRegionMax }, (_, at) => [
      `n${at}`,
      'engine_unreachable',
    ]);
    const nobody = [undefined, 'no_capacity'] as const;
    const { asked, begun } = exchanging([...failing, nobody], { regions: ['a', 'b'] });
    expect(await begun()).toEqual([502, 'engine_unreachable']);
    expect(asked.map((line) => line.split(' ')[1])).toEqual(['a', 'a', 'a', 'b']);
  });

  test('where nobody could be chosen the next region is asked at once', async () => {
    const { asked, begun } = exchanging(
      [
        [undefined, 'no_capacity'],
        ['n1', 200],
      ],
      { regions: ['a', 'b'] },
    );
    expect(await begun()).toEqual([200, null]);
    expect(asked).toEqual(['first a body', 'retried b body after :no_capacity']);
  });

  test('a region whose nodes are away is waited for once no other serves the model', async () => {
    const { asked, begun } = exchanging(
      [
        [undefined, 'no_capacity', true],
        [undefined, 'model_not_found'],
        ['n1', 200],
      ],
      { regions: ['a', 'b'] },
    );
    expect(await begun()).toEqual([200, null]);
    expect(asked).toEqual([
      'first a body',
      'retried b body after :no_capacity',
      'retried a body after :model_not_found, patiently',
    ]);
  });

  test('and is told of where it does not help, and not waited for where the tenant has its fill', async () => {
    const two = { regions: ['a', 'b'] };
    const away = [undefined, 'no_capacity', true] as const;
    const patient = exchanging([away, away, away, [undefined, 'no_nodes']], two);
    const told = await patient.exchange.begin();
    expect(told.headers.get(routeHeader)).toMatch(/^region=a; code=no_capacity.*, region=b; code=no_nodes/);
    expect(patient.asked).toHaveLength(4);
    const limited = exchanging([away, [undefined, 'tenant_limit']], two);
    expect(await limited.begun()).toEqual([429, 'tenant_limit']);
    const absent = exchanging(
      [
        [undefined, 'no_capacity'],
        [undefined, 'no_nodes'],
      ],
      two,
    );
    expect(await absent.begun()).toEqual([503, 'no_capacity']);
    expect([limited.asked.length, absent.asked.length]).toEqual([2, 2]);
  });

  test('an engine’s own 503 is passed on when nobody else serves', async () => {
    const { begun } = exchanging([
      ['n1', 503],
      [undefined, 'no_capacity'],
    ]);
    expect(await begun()).toEqual([503, null]);
  });

  test('a body that is gone is not sent again', async () => {
    const { asked, begun } = exchanging([['n1', 'engine_unreachable']], { isReplayable: false });
    expect(await begun()).toEqual([502, 'engine_unreachable']);
    expect(asked).toHaveLength(1);
  });

  test('of a client that left nothing is asked', async () => {
    const { asked, begun, left } = exchanging([['n1', 'engine_unreachable']]);
    left.abort();
    await begun();
    expect(asked).toHaveLength(1);
  });

  test('a lost link is waited for a moment, then another replica is asked', async () => {
    const { asked, begun } = exchanging([
      ['n1', 'link_lost'],
      [undefined, 'link_lost'],
      ['n2', 200],
    ]);
    expect(await begun()).toEqual([200, null]);
    expect(asked).toEqual([
      'first a body',
      `resume a/n1 from 0 for ${resumeMsMin}`,
      'retried a body after n1:link_lost',
    ]);
  });

  test('a lost stream is not waited for once a failure ended the search', async () => {
    const { asked, begun } = exchanging([
      ['n1', 'link_lost'],
      [undefined, 'link_lost'],
      [undefined, 'tenant_limit'],
    ]);
    expect(await begun()).toEqual([429, 'tenant_limit']);
    expect(asked).toHaveLength(3);
  });

  test('a region whose object is gone is asked again once its nodes have dialled the new one', async () => {
    const { asked, begun } = exchanging([
      [undefined, 'link_lost'],
      ['n1', 200],
    ]);
    expect(await begun()).toEqual([200, null]);
    expect(asked).toEqual(['first a body', `pause ${resumeMsMin}`, 'retried a body after :link_lost']);
  });

  test('a stream that its node has not any more is asked for anew, there as well', async () => {
    const { asked, begun } = exchanging([
      ['n1', 'link_lost'],
      [undefined, 'link_lost'],
      [undefined, 'no_capacity'],
      [undefined, 'stream_gone'],
      ['n1', 200],
    ]);
    expect(await begun()).toEqual([200, null]);
    expect(asked.at(-1)).toBe('retried a body');
  });

  test('and where there is none, for as long as its agent keeps the stream', async () => {
    const { asked, begun } = exchanging([
      ['n1', 'link_lost'],
      [undefined, 'link_lost'],
      [undefined, 'no_capacity'],
      ['n1', 200],
    ]);
    expect(await begun()).toEqual([200, null]);
    expect(asked.at(-1)).toBe(`resume a/n1 from 0 for ${resumeMsMax}`);
  });
});

describe('after it', () => {
  const lost = { code: 'link_lost', message: 'x' } as const;
  const dead = { code: 'engine_broke_off', message: 'x' } as const;

  test('a stream whose link was lost goes on over the next one, from its offset', async () => {
    const { asked, begun, exchange } = exchanging([
      ['n1', 200],
      ['n1', 200],
    ]);
    await begun();
    const recovered = await exchange.recover(lost, { offset: 77, rest: restOf('rest') });
    expect(recovered.how).toBe('resumed');
    expect(asked.at(-1)).toBe(`resume a/n1 from 77 for ${resumeMsContinuable}`);
  });

  test('the object it asks may be gone, too: the next one is asked, for what is left of its patience', async () => {
    const { asked, begun, exchange } = exchanging([
      ['n1', 200],
      'unreachable',
      [undefined, 'internal'],
      ['n1', 200],
    ]);
    await begun();
    const recovered = await exchange.recover(lost, { offset: 77, rest: restOf('rest') });
    expect(recovered.how).toBe('resumed');
    const patiences = [0, 1, 2].map((asks) => resumeMsContinuable - asks * resumeAgainMs);
    expect(asked.filter((line) => line.startsWith('resume'))).toEqual(
      patiences.map((ms) => `resume a/n1 from 77 for ${ms}`),
    );
  });

  test('and none is asked for ever', async () => {
    const { asked, begun, exchange } = exchanging([['n1', 200], ...Array(99).fill('unreachable')]);
    await begun();
    expect(
      await exchange.recover(lost, { offset: 77, rest: { because: 'a tool call has begun' } }),
    ).toMatchObject({ how: 'not' });
    expect(asked.filter((line) => line.startsWith('resume'))).toHaveLength(1 + resumeMsMax / resumeAgainMs);
  });

  test('one that cannot be continued waits longer for it', async () => {
    const { asked, begun, exchange } = exchanging([
      ['n1', 200],
      [undefined, 'link_lost'],
    ]);
    await begun();
    expect(
      await exchange.recover(lost, { offset: 7, rest: { because: 'a tool call has begun' } }),
    ).toMatchObject({ how: 'not' });
    expect(asked.at(-1)).toBe(`resume a/n1 from 7 for ${resumeMsMax}`);
  });

  test('one whose engine is dead is continued by another replica, which is told who had it', async () => {
    const { asked, begun, exchange } = exchanging([
      ['n1', 200],
      ['n2', 200],
    ]);
    await begun();
    expect((await exchange.recover(dead, { offset: 7, rest: restOf('rest') })).how).toBe('continued');
    expect(asked.at(-1)).toBe('continued a rest after n1:engine_broke_off');
  });

  test('a request of which nobody got a byte out is asked for so often, however often it is taken up', async () => {
    const { asked, begun, exchange } = exchanging(Array.from({ length: 9 }, (_, at) => [`n${at}`, 200]));
    await begun();
    for (let tries = 1; tries < attemptsPerRegionMax; tries += 1) {
      expect((await exchange.recover(dead, { offset: 0, rest: undefined })).how).toBe('retried');
    }
    expect(await exchange.recover(dead, { offset: 0, rest: undefined })).toMatchObject({ how: 'not' });
    expect(asked).toHaveLength(attemptsPerRegionMax);
  });

  test.each(['internal', 'engine_refused'] as const)(
    'after %s, which no other may mend, none is asked',
    async (code) => {
      const { asked, begun, exchange } = exchanging([['n1', 200]]);
      await begun();
      const recovery = await exchange.recover({ code, message: 'x' }, { offset: 7, rest: restOf('rest') });
      expect([recovery.how, asked.length]).toEqual(['not', 1]);
    },
  );

  test('one that lacks its end alone goes on if it can, since its own engine says more', async () => {
    for (const said of [200, 'stream_gone'] as const) {
      const { begun, exchange } = exchanging([
        ['n1', 200],
        ['n1', said],
      ]);
      await begun();
      const recovery = await exchange.recover(lost, { offset: 7, rest: 'spent' });
      expect(recovery.how).toBe(said === 200 ? 'resumed' : 'spent');
    }
  });

  test('one whose time is up is told that, and nobody is asked', async () => {
    const { asked, begun, exchange } = exchanging([['n1', 200]], { remainingMs: 0 });
    expect(await begun()).toEqual([504, 'total_timeout']);
    const told = { how: 'not', failure: { code: 'total_timeout' } };
    expect(await exchange.recover(lost, { offset: 7, rest: restOf('rest') })).toMatchObject(told);
    expect(asked).toEqual([]);
  });

  test('when nobody is free it asks in rounds, and the one that broke again', async () => {
    const nobody = [undefined, 'no_capacity'] as const;
    const { asked, begun, exchange } = exchanging([['n1', 200], nobody, nobody, ['n1', 200]]);
    await begun();
    expect((await exchange.recover(dead, { offset: 7, rest: restOf('rest') })).how).toBe('continued');
    expect(asked.slice(1)).toEqual([
      'continued a rest after n1:engine_broke_off',
      `pause ${resumeMsMin}`,
      'continued a rest',
      `pause ${resumeMsMin}`,
      'continued a rest',
    ]);
  });

  test('and gives up after so many', async () => {
    const { asked, begun, exchange } = exchanging([
      ['n1', 200],
      ...Array.from({ length: 20 }, () => [undefined, 'no_capacity'] as const),
    ]);
    await begun();
    expect(await exchange.recover(dead, { offset: 7, rest: restOf('rest') })).toMatchObject({ how: 'not' });
    expect(asked.filter((line) => line.startsWith('continued'))).toHaveLength(continuationRoundsMax);
  });

  test('one of which the client has nothing is asked for anew', async () => {
    const { asked, begun, exchange } = exchanging([
      ['n1', 200],
      ['n2', 200],
    ]);
    await begun();
    expect((await exchange.recover(dead, { offset: 0, rest: undefined })).how).toBe('retried');
    expect(asked.at(-1)).toBe('retried a body after n1:engine_broke_off');
  });

  test('a request that breaks whoever serves it is continued so often and no more', async () => {
    const { asked, begun, exchange } = exchanging(Array.from({ length: 9 }, (_, at) => [`n${at}`, 200]));
    await begun();
    const rest = restOf('rest');
    for (let times = 0; times < continuationsMax; times += 1) {
      expect((await exchange.recover(dead, { offset: 1, rest })).how).toBe('continued');
    }
    expect(await exchange.recover(dead, { offset: 1, rest })).toMatchObject({ how: 'not' });
    expect(asked).toHaveLength(1 + continuationsMax);
  });

  test.each(['client_gone', 'client_stalled', 'total_timeout'] as const)(
    'after %s nothing is done',
    async (code) => {
      const { asked, begun, exchange } = exchanging([['n1', 200]]);
      await begun();
      expect(await exchange.recover({ code, message: 'x' }, { offset: 1, rest: restOf('r') })).toMatchObject({
        how: 'not',
        failure: { code },
      });
      expect(asked).toHaveLength(1);
    },
  );
});
