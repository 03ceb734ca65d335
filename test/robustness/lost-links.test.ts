/**
 * What happens when a part dies, hangs or comes back: streams end in words, loads return to zero, and the fleet finds
 * together again by itself. The slow ones (a lease is 10 s) run beside each other, each on a cluster of its own.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { drainMsMax, heartbeatMs, leaseMsMax, linklessMsMax, resumeMsMax } from '@cognitora/protocol/limits';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Cluster, type ClusterOptions, layouts, startCluster } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { pause, until } from '../harness/until.ts';
import { again, argvOf, crash, workerdPid } from './processes.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { ask, bodyFor, figure, openRequest } from './requests.ts';

/** Any of these says that nobody can serve now. */
const away = [502, 503, 504];
/** A lease, and the sweep that notices its end, while a request waits for the node's next link. */
const leaseEndMsMax = leaseMsMax + resumeMsMax + 7_000;
/** An agent waits for a lease, and then keeps its streams for the next link. */
const edgeSilentMsMax = leaseMsMax + linklessMsMax + 5_000;

const textOf = async (incoming: AsyncIterable<Buffer>): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part);
  return Buffer.concat(parts).toString();
};

describe.each(layouts)('parts that die or hang, layout %s', { concurrent: true }, (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());

  /** `more` is what the agents' files say of their engine. */
  const withCluster = async (
    act: (cluster: Cluster) => Promise<void>,
    agents = 1,
    more = '',
  ): Promise<void> => {
    const config = `[[engine]]\nprofile = "openai"\nurl = "${engine.url}"\n${more}`;
    const options: ClusterOptions = {
      layout,
      agents: Array.from({ length: agents }, (_, index) => ({ name: `gpu${index}`, engines: [], config })),
    };
    const cluster = await startCluster(options);
    try {
      await act(cluster);
    } catch (thrown) {
      throw new Error(`${String(thrown)}\n${cluster.log.text()}`, { cause: thrown });
    } finally {
      await cluster.stop();
    }
  };
  const epochOf = async (cluster: Cluster): Promise<number> => {
    const nodes = (await cluster.regions()).flatMap((region) => region.nodes) as readonly {
      epoch?: number;
    }[];
    return nodes[0]?.epoch ?? 0;
  };
  const untilServed = (cluster: Cluster, msMax = 20_000): Promise<true> =>
    until(
      'a request to be served',
      async () => {
        const answer = await ask(cluster, freshId(), {}).catch(() => undefined);
        return answer?.status === 200;
      },
      msMax,
    );
  /** A stream under way, and all of its text once it is over. */
  const stream = async (cluster: Cluster, events: number) => {
    const { answered } = openRequest(cluster, freshId(), bodyFor({ act: 'drip', events, everyMs: 20 }));
    const incoming = await answered;
    const text = textOf(incoming as AsyncIterable<Buffer>).catch(
      (thrown: unknown) => `broken: ${String(thrown)}`,
    );
    await until('the stream to be live', async () =>
      (await cluster.regions()).some(({ nodes }) => nodes.some(({ live }) => live > 0)),
    );
    return { text };
  };

  test('an agent that crashes: its stream ends with an error event, and it is leased again later', async () => {
    await withCluster(async (cluster) => {
      const over = await stream(cluster, 10_000);
      const agent = cluster.program('gpu0');
      const killedMs = performance.now();
      await agent.kill();
      const text = await over.text;
      figure(
        `${layout}: agent killed -> terminal event after ${(performance.now() - killedMs).toFixed(0)} ms`,
      );
      expect(text).toContain('"code":"link_lost"');
      expect(text).not.toContain('[DONE]');
      await until('the loads to be zero', async () =>
        (await cluster.regions()).every(({ streams, nodes }) => streams === 0 && nodes.length === 0),
      );
      const refused = await ask(cluster, freshId(), {});
      expect(refused.status).toBe(503);
      expect(refused.headers['retry-after']).toBeDefined();
      await cluster.startAgent({ name: 'gpu0', engines: [engine.url] });
      await untilServed(cluster);
    });
  });

  test('an agent that is asked to stop finishes its streams and takes no new ones', async () => {
    await withCluster(async (cluster) => {
      const over = await stream(cluster, 120);
      const stopped = cluster.program('gpu0').stop();
      await until('the node to have left', async () =>
        (await cluster.regions()).every(({ nodes }) => nodes.length === 0),
      );
      expect((await ask(cluster, freshId(), {})).status).toBe(503);
      const text = await over.text;
      expect(text).toContain('"119 "');
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
      await stopped;
    });
  });

  test('an edge that crashes and comes back: the agents link by themselves, in a new epoch', async () => {
    await withCluster(async (cluster) => {
      const before = await epochOf(cluster);
      const pid = workerdPid(cluster.directory);
      const start = again(pid);
      await crash(pid);
      const startedMs = performance.now();
      const edge = start();
      try {
        await untilServed(cluster);
        figure(
          `${layout}: edge killed -> served again after ${(performance.now() - startedMs).toFixed(0)} ms`,
        );
        expect(await epochOf(cluster)).toBeGreaterThan(before);
        await until('both nodes', async () => {
          const nodes = (await cluster.regions()).flatMap((region) => region.nodes);
          return nodes.length === 2;
        });
      } finally {
        edge.kill('SIGKILL');
        await until('the second edge to end', () => edge.signalCode !== null || edge.exitCode !== null);
      }
    }, 2);
  });

  test('an order to leave makes the agent dial again in a new epoch', async () => {
    await withCluster(async (cluster) => {
      const before = await epochOf(cluster);
      await cluster.admin('POST', '/admin/goaway');
      await until('a newer epoch', async () => (await epochOf(cluster)) > before);
      await untilServed(cluster);
    });
  });

  test('a second agent with the same key takes over, and the first ends with words', async () => {
    await withCluster(async (cluster) => {
      const first = cluster.program('gpu0');
      const argv = argvOf(first.pid).map((argument) => argument.replace(/(?<=^|\/agents\/)gpu0$/, 'twin'));
      const agents = join(cluster.directory, 'agents');
      const filter = (path: string): boolean => !path.endsWith('agent.lock');
      cpSync(join(agents, 'gpu0'), join(agents, 'twin'), { recursive: true, filter });
      const second = cluster.startProgram('twin', argv);
      await first.exited;
      await cluster.node('twin');
      expect(cluster.log.text()).toMatch(
        /gpu0: .*The edge ended this link for good: another agent with this host's key/,
      );
      expect(cluster.log.text()).toMatch(/gpu0: ended: 1/);
      await untilServed(cluster);
      expect(second.isGone).toBe(false);
    });
  });

  test('an agent that hangs: its streams end with an error, and it gets no work after its lease', async () => {
    await withCluster(async (cluster) => {
      const over = await stream(cluster, 10_000);
      const { pid } = cluster.program('gpu0');
      const stoppedMs = performance.now();
      const refused: string[] = [];
      process.kill(pid, 'SIGSTOP');
      try {
        // Within the lease a request may still be sent to it: it is given up when no acknowledgement comes.
        expect(away).toContain((await ask(cluster, freshId(), {})).status);
        await until(
          'the lease to end',
          async () => (await ask(cluster, freshId(), {})).status === 503,
          leaseEndMsMax,
        );
        figure(
          `${layout}: hung agent refused with 503 after ${(performance.now() - stoppedMs).toFixed(0)} ms`,
        );
        for (let count = 0; count < 10; count += 1) {
          const id = freshId();
          expect((await ask(cluster, id, {})).status).toBe(503);
          refused.push(id);
        }
        const text = await over.text;
        figure(
          `${layout}: hung agent -> terminal event after ${(performance.now() - stoppedMs).toFixed(0)} ms`,
        );
        expect(text).toContain('"code":"link_lost"');
        expect(text).not.toContain('[DONE]');
        expect((await cluster.regions()).every(({ nodes }) => nodes.length === 0)).toBe(true);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await untilServed(cluster);
      // What it finds on its link when it wakes was sent while it was leased, and nothing later.
      expect(refused.filter((id) => engine.of(id) !== undefined)).toEqual([]);
    });
  });

  test('an agent that hangs for half of its lease: it blames no engine, and its stream goes on', async () => {
    const events = 400;
    const act = async (cluster: Cluster): Promise<void> => {
      const over = await stream(cluster, events);
      const { pid } = cluster.program('gpu0');
      process.kill(pid, 'SIGSTOP');
      try {
        await pause(leaseMsMax / 2);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const text = await over.text;
      expect(text).not.toContain('"code"');
      expect([...text.matchAll(/"content":"(\d+) "/g)].map(([, index]) => Number(index))).toEqual([
        ...Array(events).keys(),
      ]);
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    };
    await withCluster(act, 1, 'inter_token_timeout = "3s"\n');
  });

  test('an edge that hangs: its agents notice, stop their engines’ work, and link again when it goes on', async () => {
    await withCluster(async (cluster) => {
      const id = freshId();
      const { answered } = openRequest(cluster, id, bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
      const text = textOf((await answered) as AsyncIterable<Buffer>).catch(String);
      const before = await epochOf(cluster);
      const edgePid = workerdPid(cluster.directory);
      const stoppedMs = performance.now();
      process.kill(edgePid, 'SIGSTOP');
      try {
        const endedMs = await until('the end at the engine', () => engine.of(id)?.endedMs, edgeSilentMsMax);
        figure(`${layout}: hung edge -> engine's work stopped after ${(endedMs - stoppedMs).toFixed(0)} ms`);
        expect(endedMs - stoppedMs).toBeGreaterThan(leaseMsMax - heartbeatMs);
        await until('its words', () => cluster.log.text().includes('the edge fell silent'));
      } finally {
        process.kill(edgePid, 'SIGCONT');
      }
      await untilServed(cluster);
      expect(await epochOf(cluster)).toBeGreaterThan(before);
      expect(await text).not.toContain('[DONE]');
    });
  });

  test('an agent that is asked to stop waits no longer than drainMsMax for a stream that goes on', async () => {
    await withCluster(async (cluster) => {
      const over = await stream(cluster, 10_000);
      const agent = cluster.program('gpu0');
      const askedMs = performance.now();
      process.kill(agent.pid, 'SIGTERM');
      const text = await over.text;
      const ms = performance.now() - askedMs;
      figure(`${layout}: agent asked to stop -> its endless stream cut after ${ms.toFixed(0)} ms`);
      expect(text).toContain('"code":"replica_gone"');
      expect(text).not.toContain('[DONE]');
      await agent.exited;
      expect(cluster.log.text()).toMatch(/gpu0: ended: 0/);
      expect(ms).toBeGreaterThan(drainMsMax - 100);
      expect(ms).toBeLessThan(drainMsMax + 5_000);
    });
  });
});
