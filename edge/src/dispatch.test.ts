import { queryCharsMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { envOf, fleetSecret } from '../testing/env.ts';
import { dispatch, queryOf } from './dispatch.ts';
import { mintToken } from './identity/tokens.ts';

const path = 'http://edge.example/v1/chat/completions';

test.each([
  ['', ''],
  ['?', ''],
  ['?a=1&b', '?a=1&b'],
  ['?a=1?b=2', '?a=1?b=2'],
  ['?a=1#part?b', '?a=1'],
  ['#part?b', ''],
  ["?it's<new> é", '?it%27s%3Cnew%3E%20%C3%A9'],
])('behind the path, %j is the query %j', (written, query) => {
  expect(queryOf(`${path}${written}`)).toBe(query);
});

test.each(['a b', '[', 'x:99999', '%', '', 'ho?st'])('a Host of %j costs the query nothing', (host) => {
  expect(queryOf(`http://${host}/v1/chat/completions?a=1`)).toBe('?a=1');
  expect(queryOf(`http://${host}/v1/chat/completions`)).toBe('');
});

test('a query beyond its bound is refused', () => {
  const longest = `?${'x'.repeat(queryCharsMax - 1)}`;
  expect(queryOf(path + longest)).toBe(longest);
  expect(() => queryOf(`${path}${longest}x`)).toThrow(`${queryCharsMax} characters`);
});

test.each(['0', '-1', '1.5', 'soon'])('a deadline of %j is refused in words', async (timeout) => {
  const object = {
    findKey: async () => ({ keyId: 'k', tenant: 'default', scopes: ['chat'], expiresAtMs: undefined }),
  };
  const request = new Request('http://edge/v1/chat/completions', {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await mintToken(fleetSecret, 'apiKey')}`,
      'x-request-timeout-ms': timeout,
    },
    body: '{}',
  });
  const env = envOf({ LAYOUT: 'one-object', REGIONS: 'local' }, object as never);
  const answer = await dispatch('/v1/chat/completions', request, env);
  expect([answer.status, await answer.json()]).toMatchObject([
    400,
    { error: { message: 'x-request-timeout-ms must be a whole number of milliseconds, 1 or more.' } },
  ]);
});

test('nothing is begun for a client that left while its key was looked up', async () => {
  const client = new AbortController();
  const signals: (AbortSignal | undefined)[] = [];
  const object = {
    findKey: async () => {
      client.abort();
      return { keyId: 'k', tenant: 'default', scopes: ['chat'], expiresAtMs: undefined };
    },
    roster: async () => new Map(),
    fetch: async (_: string, { signal }: RequestInit) => {
      signals.push(signal ?? undefined);
      throw signal?.reason;
    },
  };
  const request = new Request('http://edge/v1/chat/completions', {
    method: 'POST',
    headers: { authorization: `Bearer ${await mintToken(fleetSecret, 'apiKey')}` },
    body: JSON.stringify({ model: 'm', messages: [] }),
  });
  // Node's own follows another signal only as long as no garbage is collected.
  Object.defineProperty(request, 'signal', { value: client.signal });
  const env = envOf({ LAYOUT: 'one-object', REGIONS: 'local' }, object as never);
  await dispatch('/v1/chat/completions', request, env);
  expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
});
