/** The admin API's keys and join tokens: create (the secret is shown once), list, revoke. */
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  joinTokenMsDefault,
  joinTokenUsesDefault,
  joinTokenUsesMax,
  nameCharsMax,
} from '@cognitora/protocol/limits';
import { type Scope, scopes } from '@cognitora/protocol/openai';
import { FieldReader, parseJsonRecord } from '@cognitora/protocol/shape';
import { Hono } from 'hono';
import { readSmallBody } from '../body-budget.ts';
import { systemClock } from '../clock.ts';
import { type Env, settingsOf } from '../env.ts';
import { mintToken, tokenHash } from '../identity/tokens.ts';
import { registryObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';

const secondsMax = 10 * 365 * 86_400;
const adminBodyBytesMax = 64 * 1024;

const readFields = async (request: Request, env: Env): Promise<FieldReader> => {
  const bytes = await readSmallBody(request, { ...settingsOf(env).bodies, bytesMax: adminBodyBytesMax });
  return new FieldReader(
    parseJsonRecord(bytes, 'bad_json', 'The request body'),
    'invalid_request',
    'request',
  );
};

const readScopes = (reader: FieldReader): readonly Scope[] =>
  reader.list('scopes', scopes.length).map((scope) => {
    const known = scopes.find((candidate) => candidate === scope);
    return known ?? reader.fail('scopes', `a list of ${scopes.join(', ')}`);
  });

const notFound = (what: string): CognitoraError =>
  new CognitoraError('not_found', `There is no such ${what}, or it is revoked already.`);

export const keyRoutes = new Hono<{ Bindings: Env }>()
  .post('/keys', async ({ env, req }) => {
    const reader: FieldReader = await readFields(req.raw, env);
    const seconds = reader.optionalInteger('expiresInSeconds', 1, secondsMax);
    const name = reader.string('name', nameCharsMax);
    const tenant = reader.optionalString('tenant', nameCharsMax) ?? 'default';
    const asked = readScopes(reader);
    if (asked.length === 0) reader.fail('scopes', 'a list with at least one scope');
    const key = await mintToken(settingsOf(env).fleetSecret, 'apiKey');
    const hash = await tokenHash(key);
    const expiresAtMs = seconds === undefined ? undefined : systemClock() + seconds * 1000;
    const view = unwrap(
      await registryObject(env).createKey({ hash, name, tenant, scopes: asked, expiresAtMs }),
    );
    return Response.json({ ...view, key }, { status: 201 });
  })
  .get('/keys', async ({ env }) => Response.json({ keys: await registryObject(env).listKeys() }))
  .delete('/keys/:id', async ({ env, req }) => {
    if (!(await registryObject(env).revokeKey(req.param('id')))) throw notFound('key');
    return Response.json({ revoked: req.param('id') });
  })
  .post('/join-tokens', async ({ env, req }) => {
    const reader = await readFields(req.raw, env);
    const seconds = reader.optionalInteger('expiresInSeconds', 1, secondsMax) ?? joinTokenMsDefault / 1000;
    const uses = reader.optionalInteger('uses', 1, joinTokenUsesMax) ?? joinTokenUsesDefault;
    const joinToken = await mintToken(settingsOf(env).fleetSecret, 'joinToken');
    const expiresAtMs = systemClock() + seconds * 1000;
    const hash = await tokenHash(joinToken);
    const view = unwrap(await registryObject(env).createJoinToken(hash, expiresAtMs, uses));
    return Response.json({ ...view, joinToken }, { status: 201 });
  })
  .get('/join-tokens', async ({ env }) =>
    Response.json({ joinTokens: await registryObject(env).listJoinTokens() }),
  )
  .delete('/join-tokens/:id', async ({ env, req }) => {
    if (!(await registryObject(env).revokeJoinToken(req.param('id')))) throw notFound('join token');
    return Response.json({ revoked: req.param('id') });
  });
