/**
 * Conversations that go on: each turn holds the engine's own answer to the one before, and the edge expects that answer
 * in the cache, too. Two real engines, one whose events are followed and one whose cache the agent infers.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { chat, type Message, type Served, words } from './conversations.ts';
import { replicaViews } from './fleet.ts';

/** A guess of the edge's own lives on for a second after its request; what is known then the agent has told. */
const guessMs = 1_200;
const answerTokens = 400;

/** Each truth once: what agents tell does not depend on the layout, and other tests have each of them in both. */
const trials = [
  { trust: 'exact', layout: 'one-object' },
  { trust: 'approximate', layout: 'object-per-node' },
] as const;

describe.each(trials)('turns that are known by $trust truth, layout $layout', ({ trust, layout }) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  beforeAll(async () => {
    const { cluster } = fixture;
    const live = `tcp://127.0.0.1:${await freePort()}`;
    const replay = `tcp://127.0.0.1:${await freePort()}`;
    const isExact = trust === 'exact';
    const argv = isExact ? ['--kv-events', live, '--kv-events-replay', replay] : [];
    const { url } = await startEmbedded(cluster, 'engine', ['--sequences', '2', ...argv]);
    await cluster.startAgent({
      ...{ name: 'gpu', engines: [url] },
      ...(isExact ? { kvEvents: [{ live, replay }] } : {}),
    });
    await until('the cache to be known', async () => {
      const cache = (await replicaViews(cluster)).get('gpu')?.caches[0];
      return cache?.trust === trust;
    });
  });

  test('the answer of each turn is expected, and found, in the cache of the next', async () => {
    const messages: Message[] = [{ role: 'system', content: words(1, 10) }];
    let before: Served | undefined;
    for (const user of ['One?', 'Two?', 'Three?', 'Four?']) {
      messages.push({ role: 'user', content: user });
      const turn = await chat(fixture.cluster, messages, answerTokens);
      messages.push({ role: 'assistant', content: turn.text });
      if (before !== undefined) {
        expect(turn.trust).toBe(trust);
        // All that the engine has computed but the last token, which it never reads.
        expect(turn.cachedTokens).toBeGreaterThan(before.promptTokens + before.completionTokens - 16);
        // Without the answer it would be no more than the earlier prompt, give or take a tenth.
        expect(turn.predictedTokens).toBeGreaterThan(before.promptTokens + 0.7 * before.completionTokens);
        expect(turn.predictedTokens).toBeLessThan(1.2 * turn.cachedTokens);
      }
      before = turn;
      await pause(guessMs);
    }
    expect(before?.completionTokens).toBe(answerTokens);
  });
});
