/**
 * From an `Authorization` header to who asks. Keeps what the registry said for at most `keyCacheMsMax`, so that a
 * known key costs no hop and a revoked one works no longer than that. Never trusts a header but this one.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { keyCacheEntriesMax, keyCacheMsMax } from '@cognitora/protocol/limits';
import type { Scope } from '@cognitora/protocol/openai';
import { isWithin, systemClock } from '../clock.ts';
import { type Env, type Settings, settingsOf } from '../env.ts';
import { registryObject } from '../objects.ts';
import { isOurToken, tokenHash } from './tokens.ts';

export interface Principal {
  /** The key's id; `admin` for the first admin key. */
  readonly keyId: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly expiresAtMs: number | undefined;
}

interface CachedPrincipal {
  /** Undefined: the registry does not know the key. */
  readonly principal: Principal | undefined;
  readonly fetchedAtMs: number;
}

/** By the key's text, in order of insertion; memory only. */
const cache = new Map<string, CachedPrincipal>();

const unknownKey = (): CognitoraError =>
  new CognitoraError(
    'invalid_key',
    'The API key is unknown, expired or revoked. "cgn keys create" makes one.',
  );

/** Asks the registry. Throws for a key this deployment never made, so that forgeries cost neither a hop nor memory. */
const fetchPrincipal = async (key: string, env: Env, settings: Settings): Promise<Principal | undefined> => {
  const hash = await tokenHash(key);
  if (hash === settings.adminKeyHash) {
    return { keyId: 'admin', tenant: 'default', scopes: ['admin'], expiresAtMs: undefined };
  }
  if (!(await isOurToken(settings.fleetSecret, 'apiKey', key))) throw unknownKey();
  return (await registryObject(env).findKey(hash)) ?? undefined;
};

const remember = (key: string, cached: CachedPrincipal): void => {
  cache.delete(key);
  cache.set(key, cached);
  for (const oldest of cache.keys()) {
    if (cache.size <= keyCacheEntriesMax) return;
    cache.delete(oldest);
  }
};

const keyPattern = /^Bearer +([\x21-\x7e]{16,256})$/i;

/** Who asks, with the scope they need. Throws `missing_key`, `invalid_key` or `wrong_scope`. */
export const authorize = async (header: string | null, scope: Scope, env: Env): Promise<Principal> => {
  if (header === null || header === '') {
    throw new CognitoraError('missing_key', 'Send an API key: "Authorization: Bearer cgk_...".');
  }
  const key = keyPattern.exec(header)?.[1];
  if (key === undefined) {
    throw new CognitoraError('invalid_key', 'The Authorization header must be "Bearer " and an API key.');
  }
  const now = systemClock();
  let cached = cache.get(key);
  if (cached === undefined || !isWithin(keyCacheMsMax, cached.fetchedAtMs, now)) {
    cached = { principal: await fetchPrincipal(key, env, settingsOf(env)), fetchedAtMs: now };
    remember(key, cached);
  }
  const { principal } = cached;
  const isExpired = principal?.expiresAtMs !== undefined && principal.expiresAtMs <= now;
  if (principal === undefined || isExpired) throw unknownKey();
  if (!principal.scopes.includes(scope)) {
    throw new CognitoraError(
      'wrong_scope',
      `This key lacks the scope "${scope}"; it has: ${principal.scopes.join(', ')}.`,
    );
  }
  return principal;
};
