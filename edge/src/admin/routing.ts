/** The admin API's view of routing: why a request went where it went, each model's policy, and the change of it. */
import { CognitoraError } from '@cognitora/protocol/errors';
import { parseRequestId, type RequestId } from '@cognitora/protocol/ids';
import { nameCharsMax } from '@cognitora/protocol/limits';
import { FieldReader, parseJsonRecord } from '@cognitora/protocol/shape';
import { Hono } from 'hono';
import { readSmallBody } from '../body-budget.ts';
import type { Receipt } from '../directory/receipts.ts';
import { type Env, settingsOf } from '../env.ts';
import { regionObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';
import { defaultPolicy, policies } from '../policy/policy.ts';

/** A change of policy is a few names. */
const changeBytesMax = 4_096;

const changeFields: readonly string[] = ['policy', 'shadow'];

const readChange = async (
  request: Request,
  env: Env,
): Promise<{ policy: string | undefined; shadow: string | undefined }> => {
  const bytes = await readSmallBody(request, { ...settingsOf(env).bodies, bytesMax: changeBytesMax });
  const record = parseJsonRecord(bytes, 'invalid_request', 'The policy change');
  // A misspelt one would go back to the default.
  const unknown = Object.keys(record).find((field) => !changeFields.includes(field));
  if (unknown !== undefined) {
    const known = changeFields.join(' and ');
    throw new CognitoraError(
      'invalid_request',
      `A policy change has ${known}, no "${unknown.slice(0, 64)}".`,
    );
  }
  const reader = new FieldReader(record, 'invalid_request', 'The policy change');
  return {
    policy: reader.optionalString('policy', nameCharsMax),
    shadow: reader.optionalString('shadow', nameCharsMax),
  };
};

/** Newest first; of two in one instant the one that was asked later. */
const decisionsOf = async (requestId: RequestId, env: Env): Promise<readonly Receipt[]> => {
  const { regions } = settingsOf(env);
  const found = await Promise.all(regions.map((region) => regionObject(env, region).receipts(requestId)));
  const order = (left: Receipt, right: Receipt): number =>
    right.decidedAtMs - left.decidedAtMs || right.earlier.length - left.earlier.length;
  return found.flat().sort(order);
};

export const routingRoutes = new Hono<{ Bindings: Env }>()
  .get('/requests/:id', async ({ env, req }) => {
    const requestId = parseRequestId(req.param('id'));
    const decisions = requestId === undefined ? [] : await decisionsOf(requestId, env);
    if (decisions.length > 0) return Response.json({ requestId, decisions });
    throw new CognitoraError(
      'not_found',
      'No region decided it: there is no such request, the edge refused it itself, or it is too old.',
    );
  })
  .get('/policies', async ({ env }) => {
    const { regions } = settingsOf(env);
    const views = regions.map(async (region) => ({
      region,
      models: await regionObject(env, region).modelViews(),
    }));
    return Response.json({ policies: policies.map(({ name }) => name), regions: await Promise.all(views) });
  })
  .put('/policies/:model{[^]+}', async ({ env, req }) => {
    const model = req.param('model');
    if (model.length > nameCharsMax)
      throw new CognitoraError('invalid_request', 'No model has a name so long.');
    const { policy, shadow } = await readChange(req.raw, env);
    const { regions } = settingsOf(env);
    const changed = regions.map((region) => regionObject(env, region).usePolicy(model, policy, shadow));
    const served = (await Promise.all(changed)).map((outcome) => unwrap(outcome).isServed);
    const servedIn = regions.filter((_, index) => served[index]);
    // A policy may be set before its model comes; a name that is misspelt looks the same.
    const note = servedIn.length > 0 ? {} : { note: 'model not served now' };
    const decides = policy ?? defaultPolicy.name;
    return Response.json({ model, policy: decides, shadow: shadow ?? null, servedIn, ...note });
  });
