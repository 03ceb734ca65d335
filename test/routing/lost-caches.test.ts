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
  /** What /metrics shows of the replica of a host. */
  const shownOf = async (host: string) => {
    const headers = { authorization: `Bearer ${fixture.cluster.adminKey}` };
    const page = await (await fetch(`${fixture.cluster.url}/metrics`, { headers })).text();
    const sampleOf = (metric: string): number | undefined => {
      const row = page.split('\n').find((line) => line.startsWith(metric) && line.includes(`host="${host}"`));
      return row === undefined ? undefined : Number(row.slice(row.lastIndexOf(' ')));
    };
    return {
      ready: sampleOf('cognitora_replica_ready'),
      trust: sampleOf('cognitora_replica_trust'),
      blocks: sampleOf('cognitora_replica_cached_blocks'),
    };
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
    const heldNow = async () => (await replicaViews(cluster)).get(name)?.caches[0];
    // The answer's own blocks come a moment later.
    await until('both pages to show the same', async () => {
      const blocks = (await heldNow())?.heldBlocks ?? 0;
      return blocks >= 4 && (await shownOf(name)).blocks === blocks;
    });
    const before = await heldNow();
    expect(before).toMatchObject({ trust: 'approximate' });
    expect(await shownOf(name)).toMatchObject({ ready: 1, trust: 1 });
    const engine = engines[Number(name.slice('gpu'.length))];
    if (engine === undefined) throw new Error('nobody holds the prefix');
    await engine.program.kill();
    await cluster.node(name, (node) => node.replicas.every(({ state }) => state === 'failed'));
    // What was known of it is known to be gone: in the admin API, in /metrics, to decisions.
    expect(await shownOf(name)).toEqual({ ready: 0, trust: 1, blocks: 0 });
    const elsewhere = await ask(cluster, { system, user: 'Are you there?' });
    expect(elsewhere.replica).not.toBe(follow.replica);
    await startEmbedded(cluster, 'engine again', ['--port', new URL(engine.url).port]);
    const back = await cluster.node(name, (node) => node.replicas.every(({ state }) => state === 'ready'));
    // It was never caught lying: what was predicted of it before had been confirmed.
    expect(back.replicas[0]?.caches).toEqual([{ ...before, heldBlocks: 0 }]);
    expect(await shownOf(name)).toEqual({ ready: 1, trust: 1, blocks: 0 });
    const next = await ask(cluster, { system, user: 'And now?' });
    expect(next.replica).toBe(elsewhere.replica);
    expect(next.cachedTokens).toBeGreaterThan(1_000);
    // Where nobody else can be asked, it is asked as one that holds nothing, and so it is.
    const others = (await cluster.regions())
      .flatMap(({ nodes }) => nodes)
      .filter((node) => node.name !== name);
    for (const { node } of others) await cluster.admin('PUT', `/admin/nodes/${node}/cordon`);
    const alone = await ask(cluster, { system, user: 'Alone?' });
    for (const { node } of others) await cluster.admin('DELETE', `/admin/nodes/${node}/cordon`);
    expect(alone).toMatchObject({ replica: follow.replica, trust: 'approximate', predictedTokens: 0 });
    expect(alone.cachedTokens).toBeLessThan(64);
    const { decisions } = await cluster.admin<DecisionsView>('GET', `/admin/requests/${alone.requestId}`);
    expect(decisions[0]).toMatchObject({ trust: 'approximate', expectedTokens: 0 });
    expect(decisions[0]?.considered).toMatchObject([
      { replica: 'r0', trust: 'approximate', cachedTokens: 0 },
    ]);
  });
});

interface DecisionsView {
  readonly decisions: readonly { readonly considered: readonly unknown[] }[];
}
