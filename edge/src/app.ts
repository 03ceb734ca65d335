/**
 * The table of contents of the edge's API: routes and what guards them, in order. Handlers live in their own files.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { parseRegion, parseRequestId } from '@cognitora/protocol/ids';
import { enrolPath, linkPath } from '@cognitora/protocol/link';
import { type InferencePath, inferenceEndpoints } from '@cognitora/protocol/openai';
import { hangUpsPath } from '@cognitora/protocol/supervisor';
import { Hono } from 'hono';
import { hearHangUps } from './admin/hang-ups.ts';
import { keyRoutes } from './admin/keys.ts';
import { limitRoutes } from './admin/limits.ts';
import { metricsRoutes } from './admin/metrics.ts';
import { nodeRoutes } from './admin/nodes.ts';
import { routingRoutes } from './admin/routing.ts';
import { dispatch, newRequestId } from './dispatch.ts';
import { type Env, settingsOf } from './env.ts';
import { errorResponse } from './error-response.ts';
import { checkDial, checkEnrolled, enrol } from './identity/dial.ts';
import { authorize } from './identity/principal.ts';
import { linkRequest } from './link/carry-request.ts';
import { listModels, readiness, showModel } from './models.ts';
import { nodeLinkObject, regionObject } from './objects.ts';

const app = new Hono<{ Bindings: Env }>();

for (const path of Object.keys(inferenceEndpoints) as InferencePath[]) {
  app.post(path, ({ env, req }) => dispatch(path, req.raw, env));
}

// Inference answers carry their request's id from `dispatch` on. All others get it here; a copy of an upgrade would
// lose its socket.
app.use(async (context, next) => {
  await next();
  const { req, res } = context;
  if (res.status === 101 || res.headers.has('x-request-id')) return;
  context.header('x-request-id', parseRequestId(req.header('x-request-id')) ?? newRequestId());
});

app.get('/healthz', () => Response.json({ status: 'ok' }));
app.get('/readyz', ({ env }) => readiness(env));

app.get('/v1/models', async ({ env, req }) => {
  await authorize(req.header('authorization') ?? null, 'chat', env);
  return listModels(env);
});
app.get('/v1/models/:id{.+}', async ({ env, req }) => {
  await authorize(req.header('authorization') ?? null, 'chat', env);
  return showModel(env, req.param('id'));
});

app.get(linkPath, async ({ env, req }) => {
  const { regions, layout } = settingsOf(env);
  const asked = req.query('region');
  const region = asked === undefined ? regions[0] : parseRegion(asked);
  if (region === undefined || !regions.includes(region)) {
    throw new CognitoraError('invalid_request', `This edge has the regions ${regions.join(', ')}.`, {
      param: 'region',
    });
  }
  if (req.header('upgrade')?.toLowerCase() !== 'websocket') {
    throw new CognitoraError('invalid_request', 'A link is a WebSocket: send an upgrade request.');
  }
  const { node, timeMs: dialedAtMs } = await checkDial(req.raw, asked === undefined ? '' : region, env);
  const checkedAtMs = await checkEnrolled(node, env);
  const object = layout === 'one-object' ? regionObject(env, region) : nodeLinkObject(env, region, node);
  return object.fetch(linkRequest({ region, node, dialedAtMs, checkedAtMs }));
});
app.post(hangUpsPath, ({ env, req }) => hearHangUps(req.raw, env));
app.post(enrolPath, ({ env, req }) => enrol(req.raw, env));

for (const guarded of ['/admin/*', '/metrics']) {
  app.use(guarded, async ({ env, req }, next) => {
    await authorize(req.header('authorization') ?? null, 'admin', env);
    await next();
  });
}
app.route('/metrics', metricsRoutes);
app.route('/admin', keyRoutes);
app.route('/admin', nodeRoutes);
app.route('/admin', routingRoutes);
app.route('/admin', limitRoutes);

/** Of a path that is not known so much is said back: enough to see a typo. */
const pathShownCharsMax = 128;

app.notFound(({ req }) => {
  const allowed = Object.hasOwn(inferenceEndpoints, req.path) ? 'POST' : 'GET';
  const known = allowed === 'POST' || req.path === '/v1/models';
  const cut = req.path.length > pathShownCharsMax;
  const what = `${req.method} ${req.path.slice(0, pathShownCharsMax)}${cut ? '…' : ''}`;
  if (!known) return errorResponse(new CognitoraError('not_found', `There is no ${what}.`));
  const message = `${what} is not allowed here: use ${allowed}.`;
  const answer = errorResponse(new CognitoraError('method_not_allowed', message));
  answer.headers.set('allow', allowed);
  return answer;
});
app.onError((thrown) => errorResponse(thrown));

export { app };
