/**
 * The edge is killed while engines are warm, and started again on its data: agents dial again, tell what their engines
 * hold, and each session's next turn goes to its holder.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CachingEngine, cachingEngine } from '../fakes/caching-engine.ts';
import { type Cluster, layouts } from '../harness/cluster.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from './conversations.ts';
import { replicas, startReplicas } from './fleet.ts';

/** Agents wait up to ten seconds between two dials. */
const redialMsMax = 20_000;

interface Session {
  readonly system: string;
  readonly last: Served;
}

/** Two turns of each session, each of which begins differently. */
const begin = async (cluster: Cluster, sessions: number, length: number): Promise<readonly Session[]> => {
  const begun: Session[] = [];
  for (let seed = 0; seed < sessions; seed += 1) {
    const system = words(9_000 + seed, length);
    await ask(cluster, { system, user: 'Begin.' });
    begun.push({ system, last: await ask(cluster, { system, user: 'Go on.' }) });
  }
  return begun;
};

/** In step with what the agent says: since a loss, that is a whole snapshot. */
const known = (cluster: Cluster, count: number) =>
  until(
    'every cache to be known',
    async () => {
      const nodes = (await cluster.regions()).flatMap((region) => region.nodes);
      const caches = nodes.flatMap((node) => node.replicas.flatMap((replica) => replica.caches));
      return caches.length === count && caches.every(({ trust }) => trust !== 'blind');
    },
    redialMsMax,
  );

const expectHolders = async (cluster: Cluster, sessions: readonly Session[]): Promise<void> => {
  for (const { system, last } of sessions) {
    const next = await ask(cluster, { system, user: 'And then?' });
    expect(next.replica).toBe(last.replica);
    // In tokens as the new edge counts them: it has to learn again how many a byte makes.
    expect(next.predictedTokens).toBeGreaterThan(200);
    expect(next.cachedTokens).toBeGreaterThan(1_000);
  }
};

describe.each(layouts)('an edge that is lost, layout %s', (layout) => {
  describe('before real engines', () => {
    const fixture = useCluster(() => ({ layout, regions: ['local'] }));
    beforeAll(() => startReplicas(fixture.cluster));

    test('knows their caches again, and sends each next turn to its holder', async () => {
      const { cluster } = fixture;
      const sessions = await begin(cluster, replicas, 300);
      await cluster.crashEdge();
      await known(cluster, replicas);
      await expectHolders(cluster, sessions);
    });
  });

  describe('before four hosts, their eight engines in cells of three', () => {
    const engines: readonly CachingEngine[] = Array.from({ length: 8 }, () => cachingEngine('tiny'));
    const fixture = useCluster(() => ({ layout, regions: ['local'], cellReplicasMax: 3 }));
    beforeAll(async () => {
      const { cluster } = fixture;
      await Promise.all(engines.map(({ engine }) => engine.start()));
      const urls = engines.map(({ engine }) => engine.url);
      for (const at of [0, 2, 4, 6]) {
        await cluster.startAgent({ name: `gpu${at}`, engines: urls.slice(at, at + 2) });
      }
      await known(cluster, engines.length);
    });
    afterAll(() => Promise.all(engines.map(({ engine }) => engine.stop())));

    test('finds each prompt in the cell where it was, whoever dials first', async () => {
      const { cluster } = fixture;
      // Long enough that no engine is nearer than what it would compute.
      const sessions = await begin(cluster, 12, 3_000);
      await cluster.crashEdge();
      await known(cluster, engines.length);
      await expectHolders(cluster, sessions);
    });
  });
});
