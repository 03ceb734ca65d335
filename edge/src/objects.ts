/**
 * Names of the deployment's objects, in one place: a name decides where an object lives and may never change. Ids are
 * remembered, since deriving one from a name hashes it anew each time.
 */
import type { NodeId, Region as RegionName } from '@cognitora/protocol/ids';
import { nodesEnrolledMax } from '@cognitora/protocol/limits';
import type { Region } from './directory/region.ts';
import type { Env } from './env.ts';
import type { NodeLink } from './link/node-link.ts';
import type { Registry } from './state/registry.ts';

const regionIds = new Map<RegionName, DurableObjectId>();
const nodeIds = new Map<string, DurableObjectId>();

export const regionObject = (env: Env, region: RegionName): DurableObjectStub<Region> => {
  let id = regionIds.get(region);
  if (id === undefined) {
    id = env.REGION.idFromName(region);
    regionIds.set(region, id);
  }
  return env.REGION.get(id);
};

/** The object of one node's link, in the layout `object-per-node`. */
export const nodeLinkObject = (env: Env, region: RegionName, node: NodeId): DurableObjectStub<NodeLink> => {
  const name = `${region}/${node}`;
  let id = nodeIds.get(name);
  if (id === undefined) {
    if (nodeIds.size >= nodesEnrolledMax) nodeIds.clear();
    id = env.NODE_LINK.idFromName(name);
    nodeIds.set(name, id);
  }
  return env.NODE_LINK.get(id);
};

/** The one registry of the deployment. */
export const registryObject = (env: Env): DurableObjectStub<Registry> =>
  env.REGISTRY.get(env.REGISTRY.idFromName('registry'));
