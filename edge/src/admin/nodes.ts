/**
 * The admin API's view of the fleet: nodes, replicas and live streams per region; and what an operator orders: to take
 * no new work (a cordon, in every region), to be forgotten, to leave and dial again.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { NodeId } from '@cognitora/protocol/ids';
import { nameCharsMax } from '@cognitora/protocol/limits';
import { Hono } from 'hono';
import type { NodeView } from '../directory/node-view.ts';
import { type Env, settingsOf } from '../env.ts';
import { regionStatuses } from '../models.ts';
import { nodeLinkObject, regionObject, registryObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';
import { type NamedNode, nodeMatchesMax, nodeOf } from './node-reference.ts';

/** Of the nodes that are enrolled and have no link so many are listed, those that enrolled last. */
const awayShownMax = 256;

/** One node, linked or not, in all regions together. */
interface NodeStatus extends NamedNode {
  readonly linked: boolean;
  readonly cordonedAtMs: number | null;
  readonly live: number;
}

/** The nodes that are linked now. Fails when a region does not answer: what is not known is not zero. */
const linkedNodes = async (env: Env): Promise<readonly NodeView[]> => {
  const asked = settingsOf(env).regions.map((region) => regionObject(env, region).status());
  return (await Promise.all(asked)).flatMap(({ nodes }) => nodes);
};

/** Since when each of these nodes is cordoned, somewhere; the others are left out. */
const cordonsOf = async (nodes: readonly NodeId[], env: Env): Promise<ReadonlyMap<NodeId, number>> => {
  const asked = settingsOf(env).regions.map((region) => regionObject(env, region).cordonsOf(nodes));
  return new Map((await Promise.all(asked)).flatMap((cordons) => [...cordons]));
};

/** The node that the path names, and how it is now. */
const statusOf = async (reference: string, env: Env): Promise<NodeStatus> => {
  if (reference.length > nameCharsMax)
    throw new CognitoraError('invalid_request', 'No node has a name so long.');
  const [linked, enrolled] = await Promise.all([
    linkedNodes(env),
    registryObject(env).findNodes(reference, nodeMatchesMax),
  ]);
  const { node, name } = nodeOf(reference, enrolled, linked);
  const views = linked.filter((view) => view.node === node);
  return {
    node,
    name,
    linked: views.length > 0,
    cordonedAtMs: (await cordonsOf([node], env)).get(node) ?? null,
    live: views.reduce((sum, { live }) => sum + live, 0),
  };
};

const cordon = async (node: NodeId, env: Env) => {
  const asked = settingsOf(env).regions.map((region) => regionObject(env, region).cordon(node));
  return Promise.all(asked);
};

const uncordon = async (node: NodeId, env: Env): Promise<void> => {
  await Promise.all(settingsOf(env).regions.map((region) => regionObject(env, region).uncordon(node)));
};

/**
 * Cordons first, so that what runs can only become less; then the registry knows the node no more, so that no dial
 * that is checked from then on passes; then its link ends.
 */
const remove = async (reference: string, force: boolean, env: Env): Promise<NamedNode> => {
  const { node, name } = await statusOf(reference, env);
  const found = await cordon(node, env);
  const live = found.reduce((sum, region) => sum + region.live, 0);
  if (live > 0 && !force) {
    if (!found.some(({ wasCordoned }) => wasCordoned)) await uncordon(node, env);
    const requests = live === 1 ? '1 live request' : `${live} live requests`;
    const message = `${name} serves ${requests}. Drain it first ("cgn nodes drain"), or force it.`;
    throw new CognitoraError('invalid_request', message, { param: 'force' });
  }
  unwrap(await registryObject(env).removeNode(node));
  const { regions } = settingsOf(env);
  await Promise.all(regions.map((region) => regionObject(env, region).remove(node, region)));
  return { node, name };
};

/** Enrolled nodes without a link. */
const awayNodes = async (linked: ReadonlySet<NodeId>, env: Env) => {
  const listed = await registryObject(env).listNodes(awayShownMax + linked.size);
  const away = listed.filter(({ node }) => !linked.has(node)).slice(0, awayShownMax);
  const nodes = away.map(({ node }) => node);
  const cordons = await cordonsOf(nodes, env);
  return away.map((node) => ({ ...node, cordonedAtMs: cordons.get(node.node) ?? null }));
};

export const nodeRoutes = new Hono<{ Bindings: Env }>()
  .get('/nodes', async ({ env }) => {
    const statuses = await regionStatuses(env);
    const regions = [...statuses].map(([region, { nodes, links, streams, kv, decisions }]) => ({
      ...{ region, links, streams, kv, decisions, nodes },
    }));
    const linked = new Set(regions.flatMap(({ nodes }) => nodes.map(({ node }) => node)));
    return Response.json({ regions, away: await awayNodes(linked, env) });
  })
  .get('/nodes/:node', async ({ env, req }) => Response.json(await statusOf(req.param('node'), env)))
  .put('/nodes/:node/cordon', async ({ env, req }) => {
    const { node } = await statusOf(req.param('node'), env);
    await cordon(node, env);
    return Response.json(await statusOf(node, env));
  })
  .delete('/nodes/:node/cordon', async ({ env, req }) => {
    const { node } = await statusOf(req.param('node'), env);
    await uncordon(node, env);
    return Response.json(await statusOf(node, env));
  })
  .delete('/nodes/:node', async ({ env, req }) => {
    const { node, name } = await remove(req.param('node'), req.query('force') === 'true', env);
    return Response.json({ removed: node, name });
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
