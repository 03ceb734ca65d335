/**
 * Two hosts with a vLLM each, as a fake writes it: its events and its token strings make what the edge knows exact, and
 * what happens in a cache behind the edge's back is known all the same.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CachingVllm } from '../fakes/caching-vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from './conversations.ts';
import { replicaViews } from './fleet.ts';

const blocksMax = 64;

describe.each(layouts)('engines that publish events in maps, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  const engines: CachingVllm[] = [];
  const cacheOf = async (host: number) => (await replicaViews(fixture.cluster)).get(`gpu${host}`)?.caches[0];
  const heldAt = (host: number, isAsAsked: (blocks: number) => boolean) =>
    until(`the map to hold so much of gpu${host}`, async () => {
      const { heldBlocks = 0 } = (await cacheOf(host)) ?? {};
      return isAsAsked(heldBlocks) ? { heldBlocks } : undefined;
    });
  const hostOf = ({ requestId }: Served): number =>
    engines.findIndex(({ engine }) =>
      engine.received.some(({ headers }) => headers['x-request-id'] === requestId),
    );
  /** A chat that only the engine hears of. */
  const askBehind = async (engine: CachingVllm | undefined, content: string): Promise<void> => {
    const body = JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content }] });
    await (await fetch(`${engine?.engine.url}/v1/chat/completions`, { method: 'POST', body })).text();
  };

  beforeAll(async () => {
    for (const host of [0, 1]) {
      const engine = await new CachingVllm('tiny', blocksMax).start();
      engines.push(engine);
      const { url } = engine.engine;
      await fixture.cluster.startAgent({ name: `gpu${host}`, engines: [url], kvEvents: [engine.events] });
    }
    await until('exact trust', async () =>
      (await Promise.all([cacheOf(0), cacheOf(1)])).every((cache) => cache?.trust === 'exact'),
    );
  });
  afterAll(async () => {
    for (const engine of engines.splice(0)) await engine[Symbol.asyncDispose]();
  });

  test('follow-ups land where the prefix is, and no more is expected than there is', async () => {
    const system = words(1, 300);
    const first = await ask(fixture.cluster, { system, user: 'One.' });
    const host = hostOf(first);
    await heldAt(host, (blocks) => blocks > 2);
    // Longer than a guess of the edge's own lives.
    await pause(1_500);
    for (const user of ['One, again?', 'Two.', 'Three.', 'Four.']) {
      const next = await ask(fixture.cluster, { system, user });
      expect(next.replica).toBe(first.replica);
      expect(next.trust).toBe('exact');
      expect(next.cachedTokens).toBeGreaterThan(200);
      // The edge counts text, in tokens of a usual length: right to a block.
      expect(next.predictedTokens).toBeLessThanOrEqual(next.cachedTokens + 16);
      expect(next.predictedTokens).toBeGreaterThan(0.5 * next.cachedTokens);
    }
  });

  test('what an engine evicts or clears, whoever made it, is believed', async () => {
    const system = words(2, 300);
    const first = await ask(fixture.cluster, { system, user: 'One.' });
    const host = hostOf(first);
    await heldAt(host, (blocks) => blocks > 2);
    await pause(1_500);
    await askBehind(engines[host], words(3, blocksMax * 16));
    await heldAt(host, (blocks) => blocks === 0);
    const again = await ask(fixture.cluster, { system, user: 'One.' });
    expect(again.predictedTokens).toBe(0);

    const holder = hostOf(again);
    await heldAt(holder, (blocks) => blocks > 2);
    await fetch(`${engines[holder]?.engine.url}/reset_prefix_cache`, { method: 'POST' });
    await heldAt(holder, (blocks) => blocks === 0);
  });
});
