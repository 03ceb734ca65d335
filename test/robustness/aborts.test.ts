/**
 * A client that leaves: the engine hears of it within a second, whenever it happens, and nothing is left behind, not
 * even after a thousand of them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { openFiles, workerdPid } from './processes.ts';
import { PuppetEngine, unreadPrefix } from './puppet-engine.ts';
import { type Ask, ask, bodyFor, openRequest } from './requests.ts';

/** The goal: from the client's hang-up to the end of the engine's connection. */
const abortMsMax = 1_000;
const aborts = 1_000;
const abortsAtOnce = 40;

describe.each(layouts)('a client that leaves, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  const untilIdle = (): Promise<unknown> =>
    until('the edge to carry nothing', async () => {
      const regions = await fixture.cluster.regions();
      return regions.every(({ streams, nodes }) => streams === 0 && nodes.every(({ live }) => live === 0));
    });

  /** Sends, waits until the engine has it and `isTime`, hangs up; resolves with the time until the engine knew. */
  const abortMs = async (
    id: string,
    body: string,
    isTime: (sent: ReturnType<typeof openRequest>) => Promise<unknown> = async () => {},
  ): Promise<number> => {
    const sent = openRequest(fixture.cluster, id, body);
    await until('the request at the engine', () => engine.of(id));
    await isTime(sent);
    const leftMs = performance.now();
    sent.hangUp();
    const endedMs = await until('the end at the engine', () => engine.of(id)?.endedMs, 5_000);
    expect(engine.of(id)?.isWhole).toBe(false);
    await untilIdle();
    return endedMs - leftMs;
  };

  const cases: readonly (readonly [string, Ask, boolean])[] = [
    ['during a stream', { act: 'drip', events: 10_000 }, true],
    ['before a stream began', { act: 'mute' }, false],
    ['before an answer in one piece', { act: 'mute', stream: false }, false],
  ];
  test.each(cases)('%s', async (when, what, isAnswered) => {
    const ms = await abortMs(freshId(), bodyFor(what), async ({ answered }) => {
      if (!isAnswered) return;
      const incoming = await answered;
      await new Promise((accept) => incoming.once('data', accept));
    });
    process.stdout.write(`[figure] ${layout}: abort ${when} reached the engine after ${ms.toFixed(1)} ms\n`);
    expect(ms).toBeLessThan(abortMsMax);
  });

  test('while a long body is still on its way to an engine that does not read', async () => {
    const body = bodyFor({ promptBytes: 12 * 1024 * 1024 });
    const ms = await abortMs(`${unreadPrefix}${freshId()}`, body);
    process.stdout.write(`[figure] ${layout}: abort during an upload after ${ms.toFixed(1)} ms\n`);
    expect(ms).toBeLessThan(abortMsMax);
  });

  test('halfway through its own upload: nothing reaches an engine', async () => {
    const { cluster } = fixture;
    const id = freshId();
    const sent = openRequest(cluster, id, '');
    sent.hangUp();
    const { request } = await import('node:http');
    const half = request(`${cluster.url}/v1/chat/completions`, {
      method: 'POST',
      agent: false,
      headers: {
        authorization: `Bearer ${cluster.apiKey}`,
        'x-request-id': id,
        'content-length': String(8 * 1024 * 1024),
      },
    });
    half.on('error', () => {});
    await new Promise((accept) => half.write(Buffer.alloc(4 * 1024 * 1024, 0x20), accept));
    half.destroy();
    await untilIdle();
    expect(engine.of(id)).toBeUndefined();
  });

  test(`${aborts} of them leave no stream, no socket and no file behind`, async () => {
    const { cluster } = fixture;
    const agentPid = cluster.program('gpu').pid;
    const edgePid = workerdPid(cluster.directory);
    await ask(cluster, freshId(), {});
    await untilIdle();
    const before = { agent: openFiles(agentPid), edge: openFiles(edgePid) };
    const kinds = cases.map(([, what]) => bodyFor(what));
    let next = 0;
    const one = async (): Promise<void> => {
      while (next < aborts) {
        const body = kinds[next % kinds.length] ?? '';
        next += 1;
        const id = freshId();
        const sent = openRequest(cluster, id, body);
        // Some leave at once, some when the engine is at work.
        if (next % 4 !== 0) await until('the request at the engine', () => engine.of(id));
        sent.hangUp();
      }
    };
    await Promise.all(Array.from({ length: abortsAtOnce }, one));
    await untilIdle();
    await until('the engine to be idle', () => engine.live === 0);
    const agentFiles = await until('the agent to close its files', () => {
      const files = openFiles(agentPid);
      return files <= before.agent && files;
    });
    const edgeFiles = await until('the edge to close its files', () => {
      const files = openFiles(edgePid);
      return files <= before.edge && files;
    });
    process.stdout.write(
      `[figure] ${layout}: files agent ${before.agent} -> ${agentFiles}, edge ${before.edge} -> ${edgeFiles}\n`,
    );
    expect((await ask(cluster, freshId(), {})).body.toString()).toContain('[DONE]');
    expect(cluster.log.text()).not.toMatch(/Error:|uncaught/i);
  });
});
