/**
 * Making and checking tokens and certificates with the fleet's secret. An HMAC inside each token lets a Worker refuse
 * a forgery by itself; whether a genuine one still counts is the registry's to say. Secrets are never logged.
 */
import { toBase64Url, utf8 } from '@cognitora/protocol/bytes';
import {
  parseToken,
  type TokenKind,
  tokenKinds,
  tokenRandomBytes,
  tokenTagBytes,
} from '@cognitora/protocol/identity';
import { randomBytes } from '../random.ts';

let knownKey: { readonly secret: string; readonly key: Promise<CryptoKey> } | undefined;

const hmacKey = (secret: string): Promise<CryptoKey> => {
  if (knownKey?.secret !== secret) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    knownKey = {
      secret,
      key: crypto.subtle.importKey('raw', utf8(secret), algorithm, false, ['sign', 'verify']),
    };
  }
  return knownKey.key;
};

/** HMAC-SHA256 of `text` under the fleet's secret. */
export const fleetHmac = async (secret: string, text: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.sign('HMAC', await hmacKey(secret), text));

/** Compares in constant time. */
export const fleetHmacMatches = async (secret: string, text: Uint8Array, tag: Uint8Array): Promise<boolean> =>
  crypto.subtle.verify('HMAC', await hmacKey(secret), tag, text);

const tagged = (kind: TokenKind, random: Uint8Array): Uint8Array =>
  utf8(`cognitora token v1\n${tokenKinds[kind]}${toBase64Url(random)}`);

export const mintToken = async (secret: string, kind: TokenKind): Promise<string> => {
  const random = randomBytes(tokenRandomBytes);
  const tag = (await fleetHmac(secret, tagged(kind, random))).subarray(0, tokenTagBytes);
  const token = new Uint8Array(tokenRandomBytes + tokenTagBytes);
  token.set(random);
  token.set(tag, tokenRandomBytes);
  return tokenKinds[kind] + toBase64Url(token);
};

/** Whether this deployment made the token. */
export const isOurToken = async (secret: string, kind: TokenKind, text: string): Promise<boolean> => {
  const parsed = parseToken(kind, text);
  if (parsed === undefined) return false;
  const due = (await fleetHmac(secret, tagged(kind, parsed.random))).subarray(0, tokenTagBytes);
  let difference = 0;
  for (let at = 0; at < tokenTagBytes; at += 1) difference |= (due[at] ?? 0) ^ (parsed.tag[at] ?? 0);
  return difference === 0;
};

/** Hex SHA-256: how a token is stored. */
export const tokenHash = async (token: string): Promise<string> => {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(token)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
};
