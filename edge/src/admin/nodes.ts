/** The admin API's view of the fleet: nodes, replicas and live streams per region; and the order to leave. */
import { Hono } from 'hono';
import { type Env, settingsOf } from '../env.ts';
import { regionStatuses } from '../models.ts';
import { nodeLinkObject, regionObject } from '../objects.ts';

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
    const { regions, layout } = settingsOf(env);
    const statuses = layout === 'one-object' ? [] : [...(await regionStatuses(env))];
    const nodes = statuses.flatMap(([region, status]) =>
      status.nodes.map(({ node }) => nodeLinkObject(env, region, node)),
    );
    // Links live in the region's object, or in one of each node.
    const hosts = layout === 'one-object' ? regions.map((region) => regionObject(env, region)) : nodes;
    await Promise.all(hosts.map((host) => host.goaway()));
    return Response.json({ regions });
  });
