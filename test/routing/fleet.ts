/** Four replicas of a real engine on a host each, their caches known. */
import type { Cluster, ReplicaView } from '../harness/cluster.ts';
import { type EmbeddedEngine, startEmbedded } from '../harness/embedded.ts';
import { until } from '../harness/until.ts';

export const replicas = 4;
/** Four engines are asked for their templates at the same time, on whatever else the host does. */
const profilesMsMax = 30_000;

/** What the edge knows of each replica, by its host's name. */
export const replicaViews = async (cluster: Cluster): Promise<ReadonlyMap<string, ReplicaView>> => {
  const views = new Map<string, ReplicaView>();
  for (const { nodes } of await cluster.regions()) {
    for (const {
      name,
      replicas: [first],
    } of nodes)
      if (first !== undefined) views.set(name, first);
  }
  return views;
};

/** Hosts `gpu0` and so on, each with one engine. Resolves once the edge knows every cache. */
export const startReplicas = async (cluster: Cluster): Promise<readonly EmbeddedEngine[]> => {
  // The first one makes the model's file, which the others find.
  const first = await startEmbedded(cluster, 'engine 0');
  const others = Array.from({ length: replicas - 1 }, (_, index) =>
    startEmbedded(cluster, `engine ${index + 1}`),
  );
  const engines = [first, ...(await Promise.all(others))];
  await Promise.all(
    engines.map(({ url }, index) => cluster.startAgent({ name: `gpu${index}`, engines: [url] })),
  );
  await until(
    'every cache to be known',
    async () => {
      const caches = [...(await replicaViews(cluster)).values()].flatMap((view) => view.caches);
      return caches.length === replicas && caches.every((cache) => cache.trust !== 'blind');
    },
    profilesMsMax,
  );
  return engines;
};
