/** An engine that ends and comes back empty: what it held is not believed for one decision longer. */
import { beforeAll, describe, expect, test } from 'vitest';
import { startEmbedded } from '../harness/embedded.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, words } from './conversations.ts';
import { replicaViews, startReplicas } from './fleet.ts';

describe('an engine that restarts', () => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
  let engines: Awaited<ReturnType<typeof startReplicas>> = [];
  beforeAll(async () => {
    engines = await startReplicas(fixture.cluster);
  });

  test('its entries are gone before the next decision, and trust shows it', async () => {
    const { cluster } = fixture;
    const system = words(77, 300);
    await ask(cluster, { system, user: 'Begin.' });
    const follow = await ask(cluster, { system, user: 'Go on.' });
    expect(follow.predictedTokens).toBeGreaterThan(1_000);
    const [name = ''] = [...(await replicaViews(cluster))].find(([, view]) => {
      return view.caches.some((cache) => cache.heldBlocks > 0);
    }) ?? [''];
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
    expect(again).toMatchObject({ heldBlocks: 0, predictedTokens: 0 });
    const next = await ask(cluster, { system, user: 'And now?' });
    expect(next.replica).toBe(elsewhere.replica);
    expect(next.cachedTokens).toBeGreaterThan(1_000);
  });
});
