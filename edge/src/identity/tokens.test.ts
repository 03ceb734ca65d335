import { fromBase64Url, toBase64Url, utf8 } from '@cognitora/protocol/bytes';
import { tokenKinds } from '@cognitora/protocol/identity';
import { expect, test } from 'vitest';
import { fleetHmac, fleetHmacMatches, isOurToken, mintToken, tokenHash } from './tokens.ts';

const secret = 'a secret of this fleet';

test.each(['apiKey', 'joinToken'] as const)('a minted %s is ours, of its kind and no other', async (kind) => {
  const token = await mintToken(secret, kind);
  expect(token.startsWith(tokenKinds[kind])).toBe(true);
  expect(await isOurToken(secret, kind, token)).toBe(true);
  expect(await isOurToken('another secret', kind, token)).toBe(false);
  expect(await isOurToken(secret, kind, token)).toBe(true);
  const other = kind === 'apiKey' ? 'joinToken' : 'apiKey';
  expect(await isOurToken(secret, other, token)).toBe(false);
  expect(await isOurToken(secret, other, tokenKinds[other] + token.slice(4))).toBe(false);
});

test('no two tokens are alike', async () => {
  const tokens = await Promise.all(Array.from({ length: 50 }, () => mintToken(secret, 'apiKey')));
  expect(new Set(tokens).size).toBe(50);
});

test('a token with any byte changed, cut or extended is a forgery', async () => {
  const token = await mintToken(secret, 'apiKey');
  const bytes = fromBase64Url(token.slice(4)) ?? new Uint8Array();
  expect(bytes).toHaveLength(32);
  for (let at = 0; at < bytes.length; at += 1) {
    const forged = bytes.slice();
    forged[at] = (forged[at] ?? 0) ^ 1;
    expect(await isOurToken(secret, 'apiKey', tokenKinds.apiKey + toBase64Url(forged))).toBe(false);
  }
  for (const text of [
    token.slice(0, -1),
    `${token}A`,
    `${token}=`,
    ` ${token}`,
    token.toUpperCase(),
    '',
    'cgk_',
  ]) {
    expect(await isOurToken(secret, 'apiKey', text)).toBe(false);
  }
});

test('an HMAC matches its own text and secret only', async () => {
  const tag = await fleetHmac(secret, utf8('text'));
  expect(tag).toHaveLength(32);
  expect(await fleetHmacMatches(secret, utf8('text'), tag)).toBe(true);
  expect(await fleetHmacMatches(secret, utf8('texT'), tag)).toBe(false);
  expect(await fleetHmacMatches('another', utf8('text'), tag)).toBe(false);
  expect(await fleetHmacMatches(secret, utf8('text'), tag.subarray(0, 8))).toBe(false);
  expect(await fleetHmacMatches(secret, utf8('text'), new Uint8Array())).toBe(false);
});

test('a token is stored as its SHA-256', async () => {
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(await tokenHash('abc')).toBe(abc);
});
