import { keyCacheEntriesMax, keyCacheMsMax } from '@cognitora/protocol/limits';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { envOf, fleetSecret } from '../../testing/env.ts';
import { authorize, type Principal } from './principal.ts';
import { mintToken, tokenHash } from './tokens.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const principalOf = (more: Partial<Principal> = {}): Principal => ({
  keyId: 'key_1',
  tenant: 'default',
  scopes: ['chat'],
  expiresAtMs: undefined,
  ...more,
});

/** A registry that knows what `answer` says, and how often it was asked. */
const registryOf = (answer: (hash: string) => Principal | undefined) => {
  const findKey = vi.fn(async (hash: string) => answer(hash));
  const env = envOf({}, { findKey } as never);
  return { env, findKey };
};

const newKey = (): Promise<string> => mintToken(fleetSecret, 'apiKey');

test('a known key is asked for by its hash, and then believed for keyCacheMsMax', async () => {
  const { env, findKey } = registryOf(() => principalOf());
  const key = await newKey();
  expect(await authorize(`Bearer ${key}`, 'chat', env)).toEqual(principalOf());
  vi.advanceTimersByTime(keyCacheMsMax - 1);
  await authorize(`bearer  ${key}`, 'chat', env);
  expect(findKey.mock.calls).toEqual([[await tokenHash(key)]]);
  vi.advanceTimersByTime(1);
  await authorize(`Bearer ${key}`, 'chat', env);
  expect(findKey).toHaveBeenCalledTimes(2);
});

test('a revoked key works no longer than keyCacheMsMax', async () => {
  let known: Principal | undefined = principalOf();
  const { env } = registryOf(() => known);
  const header = `Bearer ${await newKey()}`;
  await authorize(header, 'chat', env);
  known = undefined;
  vi.advanceTimersByTime(keyCacheMsMax);
  await expect(authorize(header, 'chat', env)).rejects.toMatchObject({ code: 'invalid_key' });
});

test('a revoked key does not live on because the clock was set back', async () => {
  let known: Principal | undefined = principalOf();
  const { env } = registryOf(() => known);
  const header = `Bearer ${await newKey()}`;
  await authorize(header, 'chat', env);
  known = undefined;
  vi.setSystemTime(Date.now() - 3_600_000);
  await expect(authorize(header, 'chat', env)).rejects.toMatchObject({ code: 'invalid_key' });
});

test('a key expires on time although it is remembered', async () => {
  const { env, findKey } = registryOf(() => principalOf({ expiresAtMs: Date.now() + 3000 }));
  const header = `Bearer ${await newKey()}`;
  await authorize(header, 'chat', env);
  vi.advanceTimersByTime(2999);
  await authorize(header, 'chat', env);
  vi.advanceTimersByTime(1);
  await expect(authorize(header, 'chat', env)).rejects.toMatchObject({ code: 'invalid_key' });
  expect(findKey).toHaveBeenCalledOnce();
});

test('a key serves only the scopes it has', async () => {
  const { env } = registryOf(() => principalOf({ scopes: ['embeddings', 'admin'] }));
  const header = `Bearer ${await newKey()}`;
  await authorize(header, 'embeddings', env);
  await expect(authorize(header, 'chat', env)).rejects.toMatchObject({ code: 'wrong_scope' });
});

test('the admin key is its hash: it administers and does nothing else, and no registry is asked', async () => {
  const adminKey = 'cga_any-text-that-is-long-enough';
  const findKey = vi.fn();
  const env = envOf({ ADMIN_KEY_HASH: await tokenHash(adminKey) }, { findKey } as never);
  expect(await authorize(`Bearer ${adminKey}`, 'admin', env)).toMatchObject({
    keyId: 'admin',
    scopes: ['admin'],
  });
  await expect(authorize(`Bearer ${adminKey}`, 'chat', env)).rejects.toMatchObject({ code: 'wrong_scope' });
  expect(findKey).not.toHaveBeenCalled();
});

test.each([null, ''])('no header (%j) is a missing key', async (header) => {
  const { env } = registryOf(() => principalOf());
  await expect(authorize(header, 'chat', env)).rejects.toMatchObject({ code: 'missing_key' });
});

test.each([
  'Bearer',
  'Bearer short',
  'Basic dXNlcjpwYXNzd29yZA==',
  `Bearer ${'x'.repeat(257)}`,
  'Bearer two words in a row',
])('the header %j is an invalid key', async (header) => {
  const { env, findKey } = registryOf(() => principalOf());
  await expect(authorize(header, 'chat', env)).rejects.toMatchObject({ code: 'invalid_key' });
  expect(findKey).not.toHaveBeenCalled();
});

test('a forged key is refused without asking the registry', async () => {
  const { env, findKey } = registryOf(() => principalOf());
  const forged = await mintToken('the secret of another deployment', 'apiKey');
  await expect(authorize(`Bearer ${forged}`, 'chat', env)).rejects.toMatchObject({ code: 'invalid_key' });
  const joinToken = await mintToken(fleetSecret, 'joinToken');
  await expect(authorize(`Bearer ${joinToken}`, 'chat', env)).rejects.toMatchObject({ code: 'invalid_key' });
  expect(findKey).not.toHaveBeenCalled();
});

test('an answer that failed is not remembered', async () => {
  let fails = true;
  const { env } = registryOf(() => {
    if (fails) throw new Error('the registry restarts');
    return principalOf();
  });
  const header = `Bearer ${await newKey()}`;
  await expect(authorize(header, 'chat', env)).rejects.toThrow('restarts');
  fails = false;
  expect(await authorize(header, 'chat', env)).toEqual(principalOf());
});

test('a flood of forged keys asks nobody and pushes no known key out', async () => {
  const { env, findKey } = registryOf(() => principalOf());
  const header = `Bearer ${await newKey()}`;
  await authorize(header, 'chat', env);
  for (let index = 0; index < 2 * keyCacheEntriesMax; index += 1) {
    await authorize(`Bearer cgk_forged-${index}-${'x'.repeat(16)}`, 'chat', env).catch(() => {});
  }
  await authorize(header, 'chat', env);
  expect(findKey).toHaveBeenCalledTimes(1);
});

test('at most keyCacheEntriesMax genuine keys are remembered, unknown ones included', async () => {
  const { env, findKey } = registryOf((hash) => (hash === knownHash ? principalOf() : undefined));
  const known = await newKey();
  const knownHash = await tokenHash(known);
  await authorize(`Bearer ${known}`, 'chat', env);
  for (let index = 0; index < keyCacheEntriesMax; index += 1) {
    await authorize(`Bearer ${await newKey()}`, 'chat', env).catch(() => {});
  }
  const asked = findKey.mock.calls.length;
  await authorize(`Bearer ${known}`, 'chat', env);
  expect(findKey).toHaveBeenCalledTimes(asked + 1);
});
