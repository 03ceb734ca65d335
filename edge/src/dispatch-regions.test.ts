/** What of a request reaches the objects: its digests by the region's profile, in both layouts. */
import { type PromptProfile, plainProfile } from '@cognitora/protocol/prefix/profile';
import { expect, test } from 'vitest';
import { envOf, fleetSecret } from '../testing/env.ts';
import type { Asked } from './directory/asked.ts';
import type { PromptView } from './directory/decision.ts';
import { dispatch } from './dispatch.ts';
import { settingsOf } from './env.ts';
import { mintToken } from './identity/tokens.ts';
import { chainHeader, decodeAsked, decodeCarry, decodePrompt } from './link/carry-request.ts';
import { PromptDigests } from './prompt-digests.ts';

const path = '/v1/chat/completions';
const chat = { model: 'm', messages: [{ role: 'user', content: 'x'.repeat(3_000) }], stream: true };

/** A deployment of one region with this roster, and what its objects were sent. */
const deployment = (layout: 'one-object' | 'object-per-node', profile: PromptProfile | undefined) => {
  const sent: Headers[] = [];
  const asked: Asked[] = [];
  const principal = { keyId: 'k', tenant: 'default', scopes: ['chat'], expiresAtMs: undefined };
  const object = {
    findKey: async () => principal,
    roster: async () => new Map(profile === undefined ? [] : [['m', profile]]),
    fetch: async (url: string, { headers }: { headers: Record<string, string> }) => {
      if (url.endsWith('/decide')) {
        asked.push(decodeAsked(new Headers(headers)));
        const booked = { reservation: 1, node: 'n', epoch: 1, replica: 'r0', receipt: {} };
        return Response.json({ value: booked });
      }
      sent.push(new Headers(headers));
      return new Response('ok');
    },
  };
  const env = envOf({ LAYOUT: layout, REGIONS: 'local' }, object as never);
  const ask = async (): Promise<number> => {
    const authorization = `Bearer ${await mintToken(fleetSecret, 'apiKey')}`;
    const headers = { authorization, 'content-type': 'application/json' };
    const request = new Request(`http://edge${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(chat),
    });
    return (await dispatch(path, request, env)).status;
  };
  /** As the region's replicas have it. */
  const expected = (): PromptView | undefined => {
    const { prefix } = settingsOf(env);
    return new PromptDigests({ path, model: 'm', body: chat, bodyBytes: 0, prefix }).by(profile);
  };
  return { sent, asked, ask, expected };
};

test('with one object for all, the digests go along in a header', async () => {
  const { sent, ask, expected } = deployment('one-object', plainProfile);
  expect(await ask()).toBe(200);
  const [headers = new Headers()] = sent;
  const prompt = decodePrompt(headers, decodeCarry(headers).prompt);
  expect(prompt).toEqual(expected());
  expect(prompt.chain.length / 2).toBe(11);
});

test('with an object per node, the region is asked with the digests, and the node’s object gets none', async () => {
  const { sent, asked, ask, expected } = deployment('object-per-node', plainProfile);
  expect(await ask()).toBe(200);
  expect(asked.map(({ prompt }) => prompt)).toEqual([expected()]);
  const [headers = new Headers()] = sent;
  expect([headers.has(chainHeader), decodeCarry(headers).booked?.node]).toEqual([false, 'n']);
});

test('where nobody’s cache is known there are no digests', async () => {
  const { sent, ask } = deployment('one-object', undefined);
  expect(await ask()).toBe(200);
  expect(sent.map((headers) => [headers.has(chainHeader), decodeCarry(headers).prompt])).toEqual([
    [false, undefined],
  ]);
});
