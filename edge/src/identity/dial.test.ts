import { toBase64Url } from '@cognitora/protocol/bytes';
import {
  certificateText,
  type Dial,
  dialScheme,
  dialText,
  enrolmentText,
  formatDial,
  nodeIdOf,
} from '@cognitora/protocol/identity';
import type { Region } from '@cognitora/protocol/ids';
import { dialSkewMsMax } from '@cognitora/protocol/limits';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { envOf, fleetSecret } from '../../testing/env.ts';
import { checkDial, checkEnrolled, enrol } from './dial.ts';
import { fleetHmac, mintToken, tokenHash } from './tokens.ts';

// The runtime's own module, which the registry's class extends from.
vi.mock('cloudflare:workers', () => import('../../testing/cloudflare-workers.ts'));

const now = 1_800_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now });
});
afterEach(() => {
  vi.useRealTimers();
});

const origin = 'https://edge.example';
const region = 'weur' as Region;

const bufferOf = (bytes: Uint8Array): ArrayBuffer => bytes.slice().buffer as ArrayBuffer;

/** A host with a key and what the edge gave it at its enrolment. */
const newHost = async (secret = fleetSecret) => {
  const pair = (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair;
  const raw = new Uint8Array((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer);
  const node = nodeIdOf(new Uint8Array(await crypto.subtle.digest('SHA-256', bufferOf(raw))));
  const sign = async (text: Uint8Array): Promise<string> =>
    toBase64Url(new Uint8Array(await crypto.subtle.sign('Ed25519', pair.privateKey, bufferOf(text))));
  return {
    node,
    publicKey: toBase64Url(raw),
    certificate: toBase64Url(await fleetHmac(secret, certificateText(node))),
    sign,
  };
};
type Host = Awaited<ReturnType<typeof newHost>>;

/** A dial's header; `signed` and `sent` change what is signed and what is sent. */
const dialOf = async (
  host: Host,
  signed: { readonly origin?: string; readonly region?: Region | ''; readonly timeMs?: number } = {},
  sent: Partial<Dial> = {},
): Promise<string> => {
  const dial = { node: host.node, timeMs: signed.timeMs ?? now, nonce: 'nonce-of-16-characters' };
  const text = dialText(signed.origin ?? origin, signed.region ?? region, { ...dial, ...sent });
  const { publicKey, certificate } = host;
  return formatDial({ ...dial, publicKey, certificate, signature: await host.sign(text), ...sent });
};

const dialled = (authorization: string, url = `${origin}/link/v1`): Request =>
  new Request(url, { headers: { authorization } });

const check = async (header: string, env = envOf()) => checkDial(dialled(header), region, env);

test('a dial signed by an enrolled host’s own key is that host’s', async () => {
  const host = await newHost();
  expect(await check(await dialOf(host))).toMatchObject({ node: host.node, timeMs: now });
  const anyRegion = dialled(await dialOf(host, { region: '' }));
  expect((await checkDial(anyRegion, '', envOf())).node).toBe(host.node);
});

test.each(['', 'Bearer cgk_x', dialScheme, `${dialScheme}a.b.c.d.e.f`, `${dialScheme}${'x'.repeat(2000)}`])(
  'the header %j is no identity',
  async (header) => {
    await expect(check(header)).rejects.toMatchObject({ code: 'identity_refused' });
  },
);

test('a dial without a header is refused', async () => {
  await expect(checkDial(new Request(origin), region, envOf())).rejects.toMatchObject({
    code: 'identity_refused',
  });
});

test('a dial signed for another edge, or another region, is refused', async () => {
  const host = await newHost();
  for (const signed of [
    { origin: 'https://evil.example' },
    { region: 'enam' as Region },
    { region: '' as const },
  ]) {
    await expect(check(await dialOf(host, signed))).rejects.toMatchObject({ code: 'identity_refused' });
  }
});

test('an edge that knows its origins refuses a dial that came under another', async () => {
  const host = await newHost();
  const header = await dialOf(host);
  const elsewhere = envOf({ ORIGINS: 'https://other.example' });
  await expect(check(header, elsewhere)).rejects.toThrow(/is not edge\.example/);
  expect((await check(header, envOf({ ORIGINS: `https://other.example,${origin}` }))).node).toBe(host.node);
});

test('behind a TLS proxy the listed origin of the host counts, and not the scheme that the request shows', async () => {
  const host = await newHost();
  const env = envOf({ ORIGINS: `http://127.0.0.1:8080,${origin}` });
  const overHttp = (header: string, at = 'edge.example') =>
    checkDial(dialled(header, `http://${at}/link/v1`), region, env);
  expect((await overHttp(await dialOf(host))).node).toBe(host.node);
  // What the request shows was never dialled: whoever signed it spoke to another edge.
  const shown = await dialOf(host, { origin: 'http://edge.example' });
  await expect(overHttp(shown)).rejects.toThrow(/for https:\/\/edge\.example\. /);
  // A host that somebody else wrote leads to another origin of ours, for which nobody signed.
  await expect(overHttp(await dialOf(host), '127.0.0.1:8080')).rejects.toThrow(/127\.0\.0\.1:8080/);
  const token = await mintToken(fleetSecret, 'joinToken');
  const { asked } = registryOf((node) => ({ value: node }));
  const registry = envOf({ ORIGINS: origin }, { enrol: asked } as never);
  const answer = await enrol(await enrolment(host, token, {}, 'http://edge.example'), registry);
  expect(await answer.json()).toEqual({ node: host.node, certificate: host.certificate });
  const forOther = enrol(await enrolment(host, token), envOf({ ORIGINS: 'http://edge.example' }));
  await expect(forOther).rejects.toThrow(/not signed .* for http:\/\/edge\.example/);
});

test('without listed origins the one that the request shows counts, scheme and all', async () => {
  const dial = dialled(await dialOf(await newHost()), 'http://edge.example/link/v1');
  await expect(checkDial(dial, region, envOf())).rejects.toThrow(/own key for http:/);
});

test('a dial from a clock that is off by more than the skew is refused, in both directions', async () => {
  const host = await newHost();
  for (const sign of [-1, 1]) {
    await check(await dialOf(host, { timeMs: now + sign * dialSkewMsMax }));
    const skewed = dialOf(host, { timeMs: now + sign * (dialSkewMsMax + 1) });
    await expect(check(await skewed)).rejects.toThrow(/clock/);
  }
});

test('a signature does not stand for another time, nonce, node or key', async () => {
  const host = await newHost();
  const other = await newHost();
  const { signature } = JSON.parse(JSON.stringify({ signature: await host.sign(new Uint8Array()) }));
  const changes: Partial<Dial>[] = [
    { signature },
    {
      signature:
        (await dialOf(host))
          .split('.')
          .at(-1)
          ?.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) ?? '',
    },
    { signature: 'short' },
    { signature: '!!!' },
    { publicKey: other.publicKey },
    { publicKey: 'AAAA' },
  ];
  for (const sent of changes) {
    await expect(check(await dialOf(host, {}, sent))).rejects.toMatchObject({ code: 'identity_refused' });
  }
  const replayed = (await dialOf(host)).replace(String(now), String(now + 1));
  await expect(check(replayed)).rejects.toMatchObject({ code: 'identity_refused' });
});

test('a host cannot pose as another that is enrolled', async () => {
  const host = await newHost();
  const victim = await newHost();
  const posing = dialOf(host, {}, { node: victim.node, certificate: victim.certificate });
  await expect(check(await posing)).rejects.toThrow(/own key/);
});

test('a host that this edge did not enrol is refused', async () => {
  const stranger = await newHost('the secret of some other deployment');
  await expect(check(await dialOf(stranger))).rejects.toThrow(/did not enrol/);
  const host = await newHost();
  const swapped = dialOf(host, {}, { certificate: stranger.certificate });
  await expect(check(await swapped)).rejects.toThrow(/did not enrol/);
});

/** An enrolment's request with everything in order, unless changed. */
const enrolment = async (
  host: Host,
  token: string,
  changed: Record<string, unknown> = {},
  shown = origin,
): Promise<Request> => {
  const signature = await host.sign(enrolmentText(origin, host.publicKey));
  return new Request(`${shown}/link/v1/enrol`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ publicKey: host.publicKey, name: 'host', signature, ...changed }),
  });
};

const registryOf = (outcome: (node: string) => unknown) => {
  const asked = vi.fn(async (_hash: string, node: string, _name: string) => outcome(node));
  return { asked, env: envOf({}, { enrol: asked } as never) };
};

test('a host with a join token gets a certificate with which it can dial', async () => {
  const host = await newHost();
  const token = await mintToken(fleetSecret, 'joinToken');
  const { asked, env } = registryOf((node) => ({ value: node }));
  const answer = await enrol(await enrolment(host, token), env);
  expect(await answer.json()).toEqual({ node: host.node, certificate: host.certificate });
  expect(asked.mock.calls).toEqual([[await tokenHash(token), host.node, 'host']]);
});

test('the registry’s refusal is the answer', async () => {
  const refused = { code: 'identity_refused', message: 'The join token is expired or used up.' };
  const { env } = registryOf(() => ({ refused }));
  const token = await mintToken(fleetSecret, 'joinToken');
  await expect(enrol(await enrolment(await newHost(), token), env)).rejects.toMatchObject(refused);
});

test('no enrolment reaches the registry with a forged token, or without proof of the key', async () => {
  const host = await newHost();
  const { asked, env } = registryOf((node) => ({ value: node }));
  const token = await mintToken(fleetSecret, 'joinToken');
  const forEvil = await host.sign(enrolmentText('https://evil.example', host.publicKey));
  const requests = [
    await enrolment(host, await mintToken('the secret of another deployment', 'joinToken')),
    await enrolment(host, await mintToken(fleetSecret, 'apiKey')),
    await enrolment(host, token, { signature: forEvil }),
    await enrolment(host, token, { signature: 'AAAA' }),
    await enrolment(host, token, { publicKey: (await newHost()).publicKey }),
    await enrolment(host, token, { publicKey: 'AAAA' }),
  ];
  for (const request of requests) {
    await expect(enrol(request, env)).rejects.toMatchObject({ code: 'identity_refused' });
  }
  const nameless = enrol(await enrolment(host, token, { name: '' }), env);
  await expect(nameless).rejects.toMatchObject({ code: 'invalid_request' });
  expect(asked).not.toHaveBeenCalled();
});

test('a node that was removed is refused, and one that was not has been checked before it was looked up', async () => {
  const host = await newHost();
  const isEnrolled = vi.fn(async (node: string) => {
    vi.advanceTimersByTime(5);
    return node === host.node;
  });
  const env = envOf({}, { isEnrolled } as never);
  expect(await checkEnrolled(host.node, env)).toBe(now);
  const { node: removed } = await newHost();
  await expect(checkEnrolled(removed, env)).rejects.toMatchObject({ code: 'not_enrolled' });
});
