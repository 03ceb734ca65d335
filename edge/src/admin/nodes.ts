/** The admin API's view of the fleet: nodes, replicas and live streams per region; and the order to leave. */
import { Hono } from 'hono';
import { type Env, settingsOf } from '../env.ts';
import { regionStatuses } from '../models.ts';
import { regionObject } from '../objects.ts';

export const nodeRoutes = new Hono<{ Bindings: Env }>()
  .get('/nodes', async ({ env }) => {
    const statuses = await regionStatuses(env);
    const regions = [...statuses].map(([region, { nodes, links, streams }]) => ({
      region,
      links,
      streams,
      nodes,
    }));
    return Response.json({ regions });
  })
  .post('/goaway', async ({ env }) => {
    const { regions } = settingsOf(env);
    await Promise.all(regions.map((region) => regionObject(env, region).goaway()));
    return Response.json({ regions });
  });
