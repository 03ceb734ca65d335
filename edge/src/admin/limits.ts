/** The admin API's limits of models and tenants: what is set, how it is used, and the change of it in all regions. */
import { CognitoraError } from '@cognitora/protocol/errors';
import { nameCharsMax } from '@cognitora/protocol/limits';
import { type JsonRecord, parseJsonRecord } from '@cognitora/protocol/shape';
import { Hono } from 'hono';
import { type LimitKind, modelDefaults } from '../admission/limits.ts';
import { readSmallBody } from '../body-budget.ts';
import { type Env, settingsOf } from '../env.ts';
import { regionObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';

/** Limits are a few numbers. */
const limitsBytesMax = 4_096;

const kindOf = (name: string): LimitKind => {
  if (name === 'models' || name === 'tenants') return name;
  throw new CognitoraError('not_found', 'Limits are of models or of tenants.');
};

const change = async (env: Env, kind: LimitKind, name: string, limits: JsonRecord | undefined) => {
  if (name.length > nameCharsMax) {
    throw new CognitoraError('invalid_request', 'Nothing has a name so long.');
  }
  const { regions } = settingsOf(env);
  const changed = regions.map((region) => regionObject(env, region).limit(kind, name, limits));
  for (const outcome of await Promise.all(changed)) unwrap(outcome);
  return Response.json({ kind, name, limits: limits ?? null, regions });
};

export const limitRoutes = new Hono<{ Bindings: Env }>()
  .get('/limits', async ({ env }) => {
    const { regions } = settingsOf(env);
    const views = regions.map(async (region) => ({
      region,
      ...(await regionObject(env, region).admission()),
    }));
    return Response.json({ defaults: modelDefaults, regions: await Promise.all(views) });
  })
  .put('/limits/:kind/:name{[^]+}', async ({ env, req }) => {
    const kind = kindOf(req.param('kind'));
    const bytes = await readSmallBody(req.raw, { ...settingsOf(env).bodies, bytesMax: limitsBytesMax });
    const limits = parseJsonRecord(bytes, 'invalid_request', 'The limits');
    return change(env, kind, req.param('name'), limits);
  })
  .delete('/limits/:kind/:name{[^]+}', ({ env, req }) =>
    change(env, kindOf(req.param('kind')), req.param('name'), undefined),
  );
