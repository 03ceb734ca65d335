/**
 * Regions of many cells, and replicas that lie: eight replicas of one model in cells of two. Engines are fakes with a
 * prefix cache, which report what of each prompt they had.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CachingEngine, cachingEngine } from '../fakes/caching-engine.ts';
import { layouts } from '../harness/cluster.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from './conversations.ts';

const replicas = 8;
const model = 'tiny';

describe.each(layouts)('eight replicas in cells of two, layout %s', (layout) => {
  let engines: readonly CachingEngine[] = [];
  const fixture = useCluster(() => ({ layout, regions: ['local'], cellReplicasMax: 2 }));
  beforeAll(async () => {
    engines = Array.from({ length: replicas }, () => cachingEngine(model));
    await Promise.all(engines.map(({ engine }) => engine.start()));
    const urls = engines.map(({ engine }) => engine.url);
    await fixture.cluster.startAgent({ name: 'rack', engines: urls });
    await until('every cache to be known', async () => {
      const known = await caches();
      return known.length === replicas && known.every(({ trust }) => trust === 'approximate');
    });
  });
  afterAll(() => Promise.all(engines.map(({ engine }) => engine.stop())));
  const caches = async () =>
    (await fixture.cluster.node('rack')).replicas.flatMap((replica) => replica.caches);

  test('a prompt’s cell is found again by its beginning, and in it the replica that has it', async () => {
    const { cluster } = fixture;
    const { regions } = await cluster.admin<PoliciesView>('GET', '/admin/policies');
    expect(regions[0]?.models[0]?.cells.map((cell) => cell.replicas)).toEqual([2, 2, 2, 2]);
    const followUps: Served[] = [];
    const homes = new Set<string>();
    for (let prefix = 0; prefix < 10; prefix += 1) {
      const system = words(prefix, 900);
      const first = await ask(cluster, { system, user: 'Begin.' });
      homes.add(first.replica);
      for (const user of ['One?', 'Two?', 'Three?']) {
        const next = await ask(cluster, { system, user });
        if (next.replica === first.replica) followUps.push(next);
      }
    }
    expect(followUps.length).toBeGreaterThanOrEqual(27);
    for (const { predictedTokens, cachedTokens } of followUps) {
      expect(predictedTokens).toBeGreaterThan(0.8 * cachedTokens);
      expect(predictedTokens).toBeLessThan(1.2 * cachedTokens);
    }
    // Ten beginnings over four cells: not all in one.
    expect(homes.size).toBeGreaterThan(2);
  });

  test('a replica that lies is demoted, for all to see', async () => {
    const { cluster } = fixture;
    const system = words(4_711, 900);
    const first = await ask(cluster, { system, user: 'Begin.' });
    const liar = engines[Number(first.replica.split('/r')[1])];
    if (liar === undefined) throw new Error(`there is no engine of ${first.replica}`);
    liar.lie = 0;
    const served: Served[] = [];
    for (let turn = 0; turn < 60; turn += 1) {
      served.push(await ask(cluster, { system: words(5_000 + (turn % 3), 900), user: `${turn}` }));
      served.push(await ask(cluster, { system, user: `${turn}` }));
    }
    const demoted = await until('the demotion', async () => {
      return (await caches()).find(({ trust, predictedTokens }) => trust === 'blind' && predictedTokens > 0);
    });
    expect(demoted.confirmedTokens).toBeLessThan(demoted.predictedTokens / 2);
    const page = await fetch(`${cluster.url}/metrics`, {
      headers: { authorization: `Bearer ${cluster.adminKey}` },
    });
    expect(await page.text()).toMatch(/cognitora_replica_trust\{[^}]*\} 0\n/);
    expect(served.findLast(({ replica }) => replica === first.replica)?.trust).toBe('blind');
    liar.lie = undefined;
  });
});

interface PoliciesView {
  readonly regions: readonly {
    readonly models: readonly { readonly cells: readonly { readonly replicas: number }[] }[];
  }[];
}
