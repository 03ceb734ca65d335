/**
 * Exact truth, end to end: the engine's own events say what its cache holds, the agent turns them into digests, and the
 * edge knows a turn's prefix before the turn comes, evictions included.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { layouts } from '../harness/cluster.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, words } from './conversations.ts';
import { replicaViews } from './fleet.ts';

describe.each(layouts)('an engine that publishes events, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  let restart: () => Promise<unknown> = async () => {};
  beforeAll(async () => {
    const { cluster } = fixture;
    const live = `tcp://127.0.0.1:${await freePort()}`;
    const replay = `tcp://127.0.0.1:${await freePort()}`;
    const argv = ['--sequences', '2', '--kv-events', live, '--kv-events-replay', replay];
    const { url, program } = await startEmbedded(cluster, 'engine', argv);
    restart = async () => {
      await program.kill();
      await cluster.node('gpu', (node) => node.replicas.every(({ state }) => state === 'failed'));
      await startEmbedded(cluster, 'engine again', [...argv, '--port', new URL(url).port]);
      await cluster.node('gpu', (node) => node.replicas.every(({ state }) => state === 'ready'));
    };
    await cluster.startAgent({ name: 'gpu', engines: [url], kvEvents: [{ live, replay }] });
    await until('exact trust', async () => (await cache())?.trust === 'exact');
  });
  const cache = async () => (await replicaViews(fixture.cluster)).get('gpu')?.caches[0];
  const heldOnce = (isAsAsked: (blocks: number) => boolean) =>
    until('the map to hold as much', async () => {
      const { heldBlocks = 0 } = (await cache()) ?? {};
      return isAsAsked(heldBlocks) ? { heldBlocks } : undefined;
    });

  test('the next turn is expected as far as the engine then has it', async () => {
    const { cluster } = fixture;
    const system = words(1, 200);
    await ask(cluster, { system, user: 'One.' });
    const { heldBlocks } = await heldOnce((blocks) => blocks > 0);
    expect(heldBlocks).toBeGreaterThanOrEqual(4);
    for (const user of ['One, again?', 'Two.', 'Three.']) {
      const next = await ask(cluster, { system, user });
      expect(next.trust).toBe('exact');
      // Never more than there is; less by the block that a digest and the token block cut differently.
      expect(next.predictedTokens).toBeLessThanOrEqual(1.02 * next.cachedTokens);
      expect(next.predictedTokens).toBeGreaterThan(0.5 * next.cachedTokens);
    }
  });

  test('what the engine evicts is gone from the map', async () => {
    const { cluster } = fixture;
    const system = words(2, 200);
    await ask(cluster, { system, user: 'One.' });
    await heldOnce((blocks) => blocks >= 4);
    // Two sequences: two other prompts, too short for a digest, take the places of all that was there.
    for (const seed of [3, 4]) await ask(cluster, { system: words(seed, 20), user: 'Short.' });
    await heldOnce((blocks) => blocks === 0);
    // A guess lives on for a second after its request.
    await pause(1_200);
    const again = await ask(cluster, { system, user: 'One.' });
    expect([again.predictedTokens, again.cachedTokens < 64]).toEqual([0, true]);
  });

  test('an engine that restarts is known to be empty, and exactly again what it then holds', async () => {
    const { cluster } = fixture;
    const system = words(7, 200);
    await ask(cluster, { system, user: 'One.' });
    await heldOnce((blocks) => blocks >= 4);
    await restart();
    expect(await cache()).toMatchObject({ trust: 'exact', heldBlocks: 0 });
    const cold = await ask(cluster, { system, user: 'Two.' });
    expect([cold.predictedTokens, cold.cachedTokens < 64]).toEqual([0, true]);
    await heldOnce((blocks) => blocks >= 4);
    const warm = await ask(cluster, { system, user: 'Three.' });
    expect(warm.trust).toBe('exact');
    expect(warm.predictedTokens).toBeLessThanOrEqual(1.02 * warm.cachedTokens);
    expect(warm.predictedTokens).toBeGreaterThan(0.5 * warm.cachedTokens);
  });
});
