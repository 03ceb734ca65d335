/** What is known of caches, through the loss of an engine, of a link and of the edge's own memory. */
import { beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, words } from './conversations.ts';
import { replicas, replicaViews, startReplicas } from './fleet.ts';

describe.each(layouts)('what is known of caches, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  const hostOf = async (replica: string): Promise<string> => {
    const nodes = (await fixture.cluster.regions()).flatMap((region) => region.nodes);
    return nodes.find(({ node }) => replica.startsWith(node))?.name ?? '';
  };
  let engines: Awaited<ReturnType<typeof startReplicas>> = [];
  beforeAll(async () => {
    engines = await startReplicas(fixture.cluster);
  });

  test('is asked for again when links are cut: a follow-up still goes to the holder', async () => {
    const { cluster } = fixture;
    const system = words(78, 300);
    const first = await ask(cluster, { system, user: 'Begin.' });
    const epochs = async () =>
      (await cluster.regions()).flatMap(({ nodes }) => nodes.map((node) => node.epoch));
    const before = Math.max(...(await epochs()));
    await cluster.admin('POST', '/admin/goaway');
    await until('every node to have a new link', async () => {
      const now = await epochs();
      return now.length === replicas && Math.min(...now) > 1 && Math.max(...now) > before;
    });
    await until('every cache to be known again', async () => {
      const caches = [...(await replicaViews(cluster)).values()].flatMap((view) => view.caches);
      return caches.length === replicas && caches.every((cache) => cache.trust !== 'blind');
    });
    const follow = await ask(cluster, { system, user: 'Go on.' });
    expect(follow.replica).toBe(first.replica);
    expect(follow.predictedTokens).toBeGreaterThan(1_000);
    expect(follow.cachedTokens).toBeGreaterThan(1_000);
  });

  test('of an engine that restarts is gone before the next decision, and trust shows it', async () => {
    const { cluster } = fixture;
    const system = words(77, 300);
    await ask(cluster, { system, user: 'Begin.' });
    const follow = await ask(cluster, { system, user: 'Go on.' });
    expect(follow.predictedTokens).toBeGreaterThan(1_000);
    const name = await hostOf(follow.replica);
    const engine = engines[Number(name.slice('gpu'.length))];
    if (engine === undefined) throw new Error('nobody holds the prefix');
    await engine.program.kill();
    await cluster.node(name, (node) => node.replicas.every(({ state }) => state === 'failed'));
    const elsewhere = await ask(cluster, { system, user: 'Are you there?' });
    expect(elsewhere.replica).not.toBe(follow.replica);
    await startEmbedded(cluster, 'engine again', ['--port', new URL(engine.url).port]);
    const back = await cluster.node(name, (node) => node.replicas.every(({ state }) => state === 'ready'));
    expect(back.replicas[0]?.caches[0]?.heldBlocks).toBe(0);
    const again = await until('its cache to be known again', async () => {
      const view = (await replicaViews(cluster)).get(name);
      return view?.caches.find((cache) => cache.trust !== 'blind');
    });
    // How true its claims were is judged on as before: it had not been judged yet.
    expect(again.heldBlocks).toBe(0);
    const next = await ask(cluster, { system, user: 'And now?' });
    expect(next.replica).toBe(elsewhere.replica);
    expect(next.cachedTokens).toBeGreaterThan(1_000);
  });
});
