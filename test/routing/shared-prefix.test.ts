/**
 * Requests land where their prefix is cached: four replicas of a real engine, prompts that share 3,000 tokens, and the
 * engine's own word for what it had in its cache.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, meanFirstByteMs, type Served, sharesOf, words } from './conversations.ts';
import { replicas, replicaViews, startReplicas } from './fleet.ts';

describe.each(layouts)('a shared prefix over four replicas, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  beforeAll(() => startReplicas(fixture.cluster).then(() => {}));

  test('follow-ups go to a holder, and the engine reports what was predicted', async () => {
    const system = words(11, 530);
    const first = await ask(fixture.cluster, { system, user: 'Begin.' });
    expect(first.promptTokens).toBeGreaterThan(3_000);
    const followUps: Served[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      followUps.push(await ask(fixture.cluster, { system, user: `Question ${turn}: ${words(turn, 5)}` }));
    }
    const onHolder = followUps.filter(({ cachedTokens }) => cachedTokens > 2_700);
    expect(onHolder.length).toBeGreaterThanOrEqual(18);
    // How many tokens a byte makes was learned meanwhile.
    for (const { predictedTokens, cachedTokens } of onHolder.slice(5)) {
      expect(predictedTokens).toBeGreaterThan(0.8 * cachedTokens);
      expect(predictedTokens).toBeLessThan(1.1 * cachedTokens);
    }
    const views = [...(await replicaViews(fixture.cluster)).values()];
    const confirmed = views.flatMap(({ caches }) => caches.map((cache) => cache.confirmedTokens));
    expect(Math.max(...confirmed)).toBeGreaterThan(20_000);
  });

  test('the decision of a request can be read, with what was considered and what the engine reported', async () => {
    const { requestId, replica } = await ask(fixture.cluster, { system: words(5, 50), user: 'Hi.' });
    const receipt = await until('the receipt to be closed', async () => {
      const path = `/admin/requests/${requestId}`;
      const { decisions } = await fixture.cluster.admin<DecisionsView>('GET', path);
      return decisions[0]?.ended === undefined ? undefined : decisions[0];
    });
    expect(`${receipt.node}/${receipt.replica}`).toBe(replica);
    expect(receipt).toMatchObject({ policy: 'predicted-latency', candidates: replicas, model: 'tiny' });
    expect(receipt.considered).toHaveLength(replicas);
    expect(receipt.ended).toMatchObject({ record: { usage: { promptTokens: expect.any(Number) } } });
  });

  test('a burst of siblings neither herds on one replica nor scatters over all', async () => {
    const system = words(1_000 + layouts.indexOf(layout), 250);
    // As many as the policy gives them: how few seats a cold engine has is not what this is about.
    await fixture.cluster.admin('PUT', '/admin/limits/models/tiny', { seatsPerReplica: 32 });
    const burst = await Promise.all(
      Array.from({ length: 32 }, (_, index) => ask(fixture.cluster, { system, user: words(index, 4) })),
    );
    await fixture.cluster.admin('DELETE', '/admin/limits/models/tiny');
    // Engines at rest: 16 or 17 on each of two (edge/src/directory/bursts.test.ts). Where hosts are busy a third helps.
    const shares = [...sharesOf(burst).values()];
    expect(Math.max(...shares)).toBeLessThanOrEqual(22);
    expect(shares.length).toBeLessThan(replicas);
    // But for the first on each replica, all went where the prefix was expected.
    const expected = burst.filter(({ predictedTokens }) => predictedTokens > 1_000);
    expect(expected.length).toBeGreaterThanOrEqual(32 - replicas);
  });

  test('a policy is changed without a restart, a shadow beside it, and the first token comes later', async () => {
    const { cluster } = fixture;
    // Computed anew each time by round robin.
    const prefixWords = 150;
    const rounds = async (seed: number): Promise<readonly Served[]> => {
      const followUps: Served[] = [];
      for (let turn = 0; turn < 3; turn += 1) {
        // Fewer than an engine keeps: on a busy machine one may look quicker than the others, and get all of them.
        for (let prefix = 0; prefix < 3; prefix += 1) {
          const system = words(seed + prefix, prefixWords);
          const served = await ask(cluster, { system, user: words(turn, 4) });
          if (turn > 0) followUps.push(served);
        }
      }
      return followUps;
    };
    const ours = await rounds(100);
    await cluster.admin('PUT', '/admin/policies/tiny', {
      policy: 'round-robin',
      shadow: 'predicted-latency',
    });
    const roundRobin = await rounds(200);
    const { regions } = await cluster.admin<PoliciesView>('GET', '/admin/policies');
    expect(regions[0]?.models[0]).toMatchObject({ model: 'tiny', policy: 'round-robin' });
    expect(regions[0]?.models[0]?.shadow?.decisions).toBe(9);
    expect(regions[0]?.models[0]?.shadow?.differences).toBeGreaterThanOrEqual(3);
    await cluster.admin('PUT', '/admin/policies/tiny', {});
    const cached = (served: readonly Served[]) =>
      served.filter(({ cachedTokens }) => cachedTokens > 4 * prefixWords);
    expect(cached(ours).length).toBeGreaterThanOrEqual(5);
    expect(cached(roundRobin).length).toBeLessThanOrEqual(1);
    const ratio = meanFirstByteMs(roundRobin) / meanFirstByteMs(ours);
    process.stdout.write(`mean TTFT of follow-ups, round robin against ours: ${ratio.toFixed(1)} x\n`);
    expect(ratio).toBeGreaterThan(1.5);
  }, 180_000);
});

interface DecisionsView {
  readonly decisions: readonly Readonly<Record<string, unknown>>[];
}

interface PoliciesView {
  readonly regions: readonly {
    readonly models: readonly {
      readonly model: string;
      readonly policy: string;
      readonly shadow?: { readonly decisions: number; readonly differences: number };
    }[];
  }[];
}
