/**
 * Requests land where their prefix is cached: four replicas of a real engine, prompts that share 3,000 tokens, and the
 * engine's own word for what it had in its cache.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, sharesOf, words } from './conversations.ts';

const replicas = 4;

describe.each(layouts)('a shared prefix over four replicas, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  beforeAll(async () => {
    const { cluster } = fixture;
    await startEmbedded(cluster, 'engine 0').then(async (first) => {
      const others = Array.from({ length: replicas - 1 }, (_, index) =>
        startEmbedded(cluster, `engine ${index + 1}`),
      );
      const engines = [first, ...(await Promise.all(others))];
      await Promise.all(
        engines.map(({ url }, index) => cluster.startAgent({ name: `gpu${index}`, engines: [url] })),
      );
    });
    await until('every cache to be known', async () => {
      const nodes = (await cluster.regions()).flatMap((region) => region.nodes);
      const caches = nodes.flatMap((node) => node.replicas.flatMap((replica) => replica.caches));
      return caches.length === replicas && caches.every((cache) => cache.trust !== 'blind');
    });
  });

  test('follow-ups go to a holder, and the engine reports what was predicted', async () => {
    const system = words(11, 600);
    const first = await ask(fixture.cluster, { system, user: 'Begin.' });
    expect(first.promptTokens).toBeGreaterThan(3_000);
    const followUps = [];
    for (let turn = 0; turn < 20; turn += 1) {
      followUps.push(await ask(fixture.cluster, { system, user: `Question ${turn}: ${words(turn, 5)}` }));
    }
    const onHolder = followUps.filter(({ cachedTokens }) => cachedTokens > 2_700);
    expect(onHolder.length).toBeGreaterThanOrEqual(18);
    for (const { predictedTokens, cachedTokens } of onHolder) {
      expect(predictedTokens).toBeGreaterThan(0.7 * cachedTokens);
      expect(predictedTokens).toBeLessThan(1.1 * cachedTokens);
    }
  });

  test('a burst of siblings neither herds on one replica nor scatters over all', async () => {
    const system = words(1_000 + layouts.indexOf(layout), 600);
    const burst = await Promise.all(
      Array.from({ length: 32 }, (_, index) => ask(fixture.cluster, { system, user: words(index, 4) })),
    );
    const shares = [...sharesOf(burst).values()];
    expect(Math.max(...shares)).toBeLessThan(32);
    expect(burst.filter(({ cachedTokens }) => cachedTokens > 2_700).length).toBeGreaterThanOrEqual(20);
  });

  test('the decision of a request can be read, with what was considered and what the engine reported', async () => {
    const { requestId, replica } = await ask(fixture.cluster, { system: words(5, 50), user: 'Hi.' });
    const receipt = await until('the receipt to be closed', async () => {
      const seen = await fixture.cluster.admin<Record<string, unknown>>(
        'GET',
        `/admin/requests/${requestId}`,
      );
      return seen.ended === undefined ? undefined : seen;
    });
    expect(`${receipt.node}/${receipt.replica}`).toBe(replica);
    expect(receipt).toMatchObject({ policy: 'predicted-latency', candidates: replicas, model: 'tiny' });
    expect(receipt.considered).toHaveLength(replicas);
    expect(receipt.ended).toMatchObject({ record: { usage: { promptTokens: expect.any(Number) } } });
  });
});
