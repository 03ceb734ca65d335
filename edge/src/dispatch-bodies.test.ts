/** A request's body takes nothing of the budget any more once its answer is over, however that ends. */
import { CognitoraError } from '@cognitora/protocol/errors';
import { heldAnswerBytesMax } from '@cognitora/protocol/limits';
import { beforeAll, expect, test } from 'vitest';
import { envOf, fleetSecret } from '../testing/env.ts';
import { installFixedLengthStream } from '../testing/fixed-length-stream.ts';
import { data, end, fail, framed } from '../testing/framed.ts';
import { bodyBytesTaken } from './body-budget.ts';
import { dispatch } from './dispatch.ts';
import { errorResponse } from './error-response.ts';
import { mintToken } from './identity/tokens.ts';

beforeAll(installFixedLengthStream);

const path = '/v1/chat/completions';
const nothing = { held: 0, kept: 0 };
const event = data('data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n');
const json = { type: 'application/json' } as const;
const part = data('x'.repeat(heldAnswerBytesMax + 1));

/** What the client gets where the region's object answers so. */
const answered = async (answer: () => Response, contentBytes = 1_000): Promise<Response> => {
  const object = {
    findKey: async () => ({ keyId: 'k', tenant: 'default', scopes: ['chat'], expiresAtMs: undefined }),
    roster: async () => new Map(),
    fetch: async () => answer(),
  };
  const env = envOf({ LAYOUT: 'one-object', REGIONS: 'local' }, object as never);
  const messages = [{ role: 'user', content: 'x'.repeat(contentBytes) }];
  const request = new Request(`http://edge${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await mintToken(fleetSecret, 'apiKey')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ model: 'm', messages }),
  });
  return dispatch(path, request, env);
};

test.each([
  ['a stream is whole', () => framed([event, end])],
  ['a stream failed, and nobody may mend it', () => framed([event, fail('internal')])],
  ['an answer is whole', () => framed([data('{}'), end], json)],
  ['an answer failed, and nobody may mend it', () => framed([data('{'), fail('internal')], json)],
  ['an answer is whole that was too large to be held', () => framed([part, part, end], json)],
  ['an answer failed that was too large to be held', () => framed([part, fail('internal')], json)],
  ['the engine refused', () => new Response('{}', { status: 400 })],
  ['nobody could be asked', () => errorResponse(new CognitoraError('internal', 'x'))],
])('nothing is taken once %s', async (_, answer) => {
  for (const contentBytes of [1_000, 300_000]) {
    const got = await answered(answer, contentBytes);
    await got.text().catch(() => {});
    expect(bodyBytesTaken()).toEqual(nothing);
  }
});

test.each([
  ['a stream', () => framed([event], { how: 'open' })],
  ['an answer that was too large to be held', () => framed([part], { ...json, how: 'open' })],
])('while %s is on its way its body is kept, until the client leaves', async (_, answer) => {
  const { body } = await answered(answer);
  const reader = body?.getReader();
  await reader?.read();
  const { held, kept } = bodyBytesTaken();
  expect([held, kept > 1_000]).toEqual([0, true]);
  await reader?.cancel();
  expect(bodyBytesTaken()).toEqual(nothing);
});

test('nothing is taken where the object that was asked is gone', async () => {
  const got = await answered(() => {
    throw new CognitoraError('internal', 'x');
  });
  expect([got.status, bodyBytesTaken()]).toEqual([500, nothing]);
});
