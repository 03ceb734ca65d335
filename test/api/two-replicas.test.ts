/** Two replicas that have nothing cached: a burst spreads evenly, and so do requests that come one by one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FakeEngine, sendJson } from '../fakes/fake-engine.ts';
import { startVllm } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';

describe.each(layouts)('two replicas, layout %s', (layout) => {
  const engines: FakeEngine[] = [];
  /** Requests that wait until all of them are in, so that a hundred are live at once. */
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  beforeAll(async () => {
    engines.push(await startVllm({ models: ['shared'] }), await startVllm({ models: ['shared'] }));
  });
  afterAll(() => Promise.all(engines.map((engine) => engine.stop())));
  const fixture = useCluster(() => ({
    layout,
    agents: engines.map((engine, index) => ({ name: `gpu${index}`, engines: [engine.url] })),
  }));

  test('100 concurrent requests split within 10 % of even', async () => {
    const { cluster } = fixture;
    await cluster.admin('PUT', '/admin/limits/models/shared', { seatsPerReplica: 100 });
    const requests = Array.from({ length: 100 }, (_, index) => ({
      id: freshId(),
      prompt: `prompt ${100 + index}`,
    }));
    const answers = Promise.all(
      requests.map(({ id, prompt }) => {
        for (const engine of engines) {
          engine.script(id, async ({ response, received }) => {
            await released;
            sendJson(response, 200, received.body.toString());
          });
        }
        return send(cluster.url + chatPath, {
          body: JSON.stringify({ model: 'shared', messages: [{ role: 'user', content: prompt }] }),
          headers: { authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id },
        });
      }),
    );
    const counts = (): number[] => engines.map((engine) => engine.servedOn(chatPath));
    await until('all of them to be live', () => counts().reduce((sum, count) => sum + count) === 100);
    const live = (await cluster.regions()).flatMap(({ nodes }) => nodes.map((node) => node.live));
    expect(live.reduce((sum, count) => sum + count)).toBe(100);
    release();
    for (const [index, answer] of (await answers).entries()) {
      expect(answer.status).toBe(200);
      expect(answer.body.toString()).toContain(`"${requests[index]?.prompt}"`);
    }
    for (const count of counts()) {
      expect(count).toBeGreaterThanOrEqual(45);
      expect(count).toBeLessThanOrEqual(55);
    }
  });

  test('100 quick ones, one after the other, use both', async () => {
    const { cluster } = fixture;
    const before = engines.map((engine) => engine.servedOn(chatPath));
    for (let times = 0; times < 100; times += 1) {
      const body = JSON.stringify({ model: 'shared', messages: [] });
      await send(cluster.url + chatPath, { body, headers: { authorization: `Bearer ${cluster.apiKey}` } });
    }
    for (const [index, engine] of engines.entries()) {
      // A fair coin gives fewer than 25 of 100 once in ten million runs.
      expect(engine.servedOn(chatPath) - (before[index] ?? 0)).toBeGreaterThanOrEqual(25);
    }
  });
});
