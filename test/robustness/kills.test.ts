/**
 * The engine, the agent and the edge are killed in turn while 200 streams are live. Whoever is still there to say so
 * tells each client why its stream ended; nobody keeps work, a reservation or a socket of those that are gone; and all
 * serves again within ten seconds, once what was killed is started again, as a service manager does.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { socketsOf, workerdPid } from './processes.ts';
import { PuppetProcess } from './puppet-process.ts';
import { ask, bodyFor, figure, openRequest } from './requests.ts';

const streams = 200;
const backMsMax = 10_000;

interface Ended {
  readonly text: string;
  /** HTTP says that the whole answer came. */
  readonly isWhole: boolean;
}

describe.each(layouts)('kills under load, layout %s', (layout) => {
  const engine = new PuppetProcess();
  beforeAll(() => engine.start());
  afterAll(() => engine.kill());
  const spec = () => ({ name: 'gpu', engines: [engine.url] });
  const fixture = useCluster(() => ({ layout, agents: [spec()] }));

  /** A stream under way; how it ended, once it did. */
  const stream = async (): Promise<{ readonly ended: Promise<Ended> }> => {
    const body = bodyFor({ act: 'drip', events: 100_000, everyMs: 200 });
    const incoming = await openRequest(fixture.cluster, freshId(), body).answered;
    const parts: Buffer[] = [];
    const ended = new Promise<Ended>((accept) => {
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.once('close', () =>
        accept({ text: Buffer.concat(parts).toString(), isWhole: incoming.complete }),
      );
    });
    await until('the first event', () => parts.length > 0);
    return { ended };
  };

  const engineIsIdle = async (): Promise<boolean> => (await engine.running()).live === 0;

  const edgeIsIdle = async (): Promise<boolean> => {
    const regions = await fixture.cluster.regions().catch(() => undefined);
    return (
      regions?.every(
        ({ streams: carried, nodes }) => carried === 0 && nodes.every(({ live }) => live === 0),
      ) ?? false
    );
  };

  const socketCounts = () => ({
    agent: socketsOf(fixture.cluster.program('gpu').pid).size,
    edge: socketsOf(workerdPid(fixture.cluster.directory)).size,
  });

  /** Requests that have ended leave a connection open for the next, and a look at the engine one of its own. */
  const keptSocketsMax = 8;

  /** Puts the streams on, lets `strike` kill and restart something, and looks at what is left. */
  const under200Streams = async (victim: string, strike: () => Promise<void>): Promise<readonly Ended[]> => {
    const before = socketCounts();
    const running = await Promise.all(Array.from({ length: streams }, stream));
    expect((await engine.running()).live).toBe(streams);
    expect(socketCounts().agent).toBeGreaterThanOrEqual(before.agent + streams - keptSocketsMax);
    const killedMs = performance.now();
    const over = Promise.all(running.map(({ ended }) => ended));
    const told = over.then(() => performance.now() - killedMs);
    await strike();
    const [ended, toldMs] = [await over, await told];
    const served = async () =>
      (await ask(fixture.cluster, freshId(), {}).catch(() => undefined))?.status === 200;
    await until('a request to be served', served, backMsMax);
    const servedMs = performance.now() - killedMs;
    expect(servedMs).toBeLessThan(backMsMax);
    await until('the engine to be idle', engineIsIdle);
    await until('the edge to carry nothing', edgeIsIdle);
    await until('the sockets to be gone', () => {
      const now = socketCounts();
      return now.agent <= before.agent + keptSocketsMax && now.edge <= before.edge + keptSocketsMax;
    });
    const restMs = performance.now() - killedMs;
    figure(
      `${layout}, ${victim} killed under ${streams} streams: all clients told after ${toldMs.toFixed(0)} ms, ` +
        `served again after ${servedMs.toFixed(0)} ms, nothing left after ${restMs.toFixed(0)} ms`,
    );
    return ended;
  };

  /** Each stream ended with an error event of that code and nothing that looks like an end. */
  const expectTold = (ended: readonly Ended[], code: string): void => {
    expect(ended).toHaveLength(streams);
    for (const { text } of ended) {
      expect(text).toMatch(new RegExp(`data: \\{"error":\\{.*"code":"${code}"\\}\\}\\n\\n$`));
      expect(text).not.toContain('[DONE]');
    }
  };

  test('the engine: each client gets an error event, and the agent finds the new engine by itself', async () => {
    const ended = await under200Streams('engine', async () => {
      await engine.kill();
      await engine.start();
    });
    expectTold(ended, 'engine_broke_off');
  });

  test('the agent: each client gets an error event, and the engine’s work ends', async () => {
    const { cluster } = fixture;
    const ended = await under200Streams('agent', async () => {
      await cluster.program('gpu').kill();
      await cluster.startAgent(spec());
    });
    expectTold(ended, 'link_lost');
  });

  test('the edge: each client’s answer breaks off, the engine’s work ends, and the agent links again', async () => {
    const agent = fixture.cluster.program('gpu');
    const ended = await under200Streams('edge', () => fixture.cluster.crashEdge());
    expect(ended).toHaveLength(streams);
    for (const { text, isWhole } of ended) {
      expect(isWhole).toBe(false);
      expect(text).not.toContain('[DONE]');
    }
    expect(agent.isGone).toBe(false);
  });
});
