/**
 * Clients that stop reading while their engines flood them: memory stays bounded everywhere, and the others on the same
 * link are served.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { residentBytes } from '../../bench/machine/process-figures.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { workerdPid } from './processes.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { ask, bodyFor, figure, type OpenRequest, openRequest } from './requests.ts';

const MiB = 1024 * 1024;
const floodBytes = 64 * MiB;
const eventBytes = 4096;
/** The bound: what four stalled clients may add to the edge, and to the agent, while 256 MiB wait for them. */
const growthBytesMax = 64 * MiB;
/** Two hundred of them: the windows alone hold 12.5 MiB, each hop of the platform's streams as much again. */
const crowdGrowthBytesMax = 384 * MiB;
/** `crowdedStallMsMax` and the sweeps around it, twice: until then the crowd holds the link's credit. */
const healthyMsMax = 20_000;

describe.each(layouts)('clients that stop reading, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  /** Opens floods that nobody reads; resolves once their engines have to wait. */
  const stall = async (clients: number): Promise<OpenRequest[]> => {
    const flood = bodyFor({ act: 'flood', events: floodBytes / eventBytes, eventBytes });
    const ids = Array.from({ length: clients }, freshId);
    const stalled = ids.map((id) => openRequest(fixture.cluster, id, flood));
    await until('every flood to have begun', () => ids.every((id) => engine.of(id) !== undefined), 60_000);
    let before = -1;
    await until(
      'the floods to stand still',
      async () => {
        const sent = ids.reduce((sum, id) => sum + (engine.of(id)?.sentBytes ?? 0), 0);
        const isStill = sent === before;
        before = sent;
        // Long enough for a flow that goes on to show.
        await new Promise((accept) => setTimeout(accept, 300));
        return isStill && sent > 0;
      },
      30_000,
    );
    return stalled;
  };

  const untilIdle = (): Promise<unknown> =>
    until('the edge to carry nothing', async () => {
      const regions = await fixture.cluster.regions();
      return regions.every(({ streams, nodes }) => streams === 0 && nodes.every(({ live }) => live === 0));
    });

  test('four of them with a flood each: memory is bounded, a fifth client streams', async () => {
    const { cluster } = fixture;
    const pids = { edge: workerdPid(cluster.directory), agent: cluster.program('gpu').pid };
    await ask(cluster, freshId(), { act: 'flood', events: 1024, eventBytes });
    const before = { edge: residentBytes(pids.edge), agent: residentBytes(pids.agent) };
    const stalled = await stall(4);
    const healthy = await ask(cluster, freshId(), { act: 'drip', events: 50, everyMs: 10 });
    expect(healthy.body.toString()).toContain('"49 "');
    expect(healthy.isWhole).toBe(true);
    const growth = {
      edge: residentBytes(pids.edge) - before.edge,
      agent: residentBytes(pids.agent) - before.agent,
    };
    figure(`${layout}: 4 stalled floods grew edge ${mib(growth.edge)}, agent ${mib(growth.agent)} MiB`);
    expect(growth.edge).toBeLessThan(growthBytesMax);
    expect(growth.agent).toBeLessThan(growthBytesMax);
    for (const client of stalled) client.hangUp();
    await untilIdle();
  });

  test('200 of them, more than the link has credit for: a healthy client is served all the same', async () => {
    const { cluster } = fixture;
    const pids = { edge: workerdPid(cluster.directory), agent: cluster.program('gpu').pid };
    const before = { edge: residentBytes(pids.edge), agent: residentBytes(pids.agent) };
    const flood = bodyFor({ act: 'flood', events: floodBytes / eventBytes, eventBytes });
    const ids = Array.from({ length: 200 }, freshId);
    const stalled = ids.map((id) => openRequest(cluster, id, flood));
    await until('every flood to have begun', () => ids.every((id) => engine.of(id) !== undefined), 60_000);
    const sent = (): number => ids.reduce((sum, id) => sum + (engine.of(id)?.sentBytes ?? 0), 0);
    let slowestMs = 0;
    let served = 0;
    // Until the floods stand still for a while: the kernel's buffers are full then, and so are the link's windows.
    for (let rounds = 0, before = -1; rounds < 12; served += 1) {
      rounds = sent() === before ? rounds + 1 : 0;
      before = sent();
      const startedMs = performance.now();
      const late = pause(healthyMsMax).then(() => undefined);
      const healthy = await Promise.race([
        ask(cluster, freshId(), { act: 'drip', events: 20, everyMs: 10 }),
        late,
      ]);
      if (healthy === undefined) throw new Error(`a healthy client waited ${healthyMsMax} ms in vain`);
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      expect(healthy.body.toString()).toContain('[DONE]');
    }
    const growth = {
      edge: residentBytes(pids.edge) - before.edge,
      agent: residentBytes(pids.agent) - before.agent,
    };
    figure(`${layout}: 200 stalled floods grew edge ${mib(growth.edge)}, agent ${mib(growth.agent)} MiB`);
    figure(
      `${layout}: the slowest of ${served} healthy requests beside them took ${slowestMs.toFixed(0)} ms`,
    );
    expect(growth.edge).toBeLessThan(crowdGrowthBytesMax);
    expect(growth.agent).toBeLessThan(crowdGrowthBytesMax);
    for (const client of stalled) client.hangUp();
    await untilIdle();
  });
});

const mib = (bytes: number): string => (bytes / MiB).toFixed(1);
