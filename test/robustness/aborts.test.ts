/**
 * A client that leaves: the engine hears of it within a second, whenever it happens, and nothing is left behind, not
 * even after a thousand of them.
 */
import { spawn, spawnSync } from 'node:child_process';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { reportsResources } from '../harness/program.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { openFiles, workerdPid } from './processes.ts';
import { PuppetEngine, type Strings, unreadPrefix } from './puppet-engine.ts';
import { ask, bodyFor, figure, type OpenRequest, openRequest } from './requests.ts';

/** The goal: from the client's hang-up to the end of the engine's connection. */
const abortMsMax = 1_000;
const aborts = 1_000;
const abortsAtOnce = 40;

interface Abort {
  readonly id?: string;
  readonly body: string;
  readonly how?: 'reset' | 'close';
  /** Resolves when it is time to hang up. */
  readonly isTime?: (sent: OpenRequest) => Promise<unknown>;
}

/** What people use, as it hangs up; each asks for an answer that is no stream. */
const clients: readonly {
  readonly name: string;
  /** Sends a request and returns how to abort it. */
  readonly start: (baseUrl: string, apiKey: string, puppet: Strings) => () => void;
}[] = [
  {
    name: 'the OpenAI SDK',
    start: (baseURL, apiKey, puppet) => {
      const controller = new AbortController();
      const body = { ...JSON.parse(bodyFor({ ...puppet, stream: false })) };
      const sdk = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
      sdk.chat.completions.create(body, { signal: controller.signal }).catch(() => {});
      return () => controller.abort();
    },
  },
  {
    name: 'curl',
    start: (baseUrl, apiKey, puppet) => {
      const body = bodyFor({ ...puppet, stream: false });
      const headers = [`authorization: Bearer ${apiKey}`, 'content-type: application/json'];
      const child = spawn('curl', [
        '-sN',
        ...headers.flatMap((header) => ['-H', header]),
        ...['-d', body, `${baseUrl}/chat/completions`],
      ]);
      return () => child.kill('SIGINT');
    },
  },
];

const hasCurl = spawnSync('curl', ['--version']).error === undefined;

const untilStreaming = async ({ answered }: OpenRequest): Promise<void> => {
  const incoming = await answered;
  await new Promise((accept) => incoming.once('data', accept));
};

describe.each(layouts)('a client that leaves, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({
    layout,
    agents: [{ name: 'gpu', engines: [engine.url], environment: { NODE_OPTIONS: reportsResources } }],
  }));

  const untilIdle = (): Promise<unknown> =>
    until('the edge to carry nothing', async () => {
      const regions = await fixture.cluster.regions();
      return regions.every(({ streams, nodes }) => streams === 0 && nodes.every(({ live }) => live === 0));
    });

  /** Sends, waits until the engine has it and `isTime`, hangs up; resolves with the time until the engine knew. */
  const abortMs = async (abort: Abort): Promise<number> => {
    const { id = freshId(), body, how = 'reset', isTime = async () => {} } = abort;
    const sent = openRequest(fixture.cluster, id, body);
    await until('the request at the engine', () => engine.of(id));
    await isTime(sent);
    const leftMs = performance.now();
    sent.hangUp(how);
    // An engine that reads nothing would not see the end behind the bytes.
    if (id.startsWith(unreadPrefix)) engine.of(id)?.readOn();
    const endedMs = await until('the end at the engine', () => engine.of(id)?.endedMs, 5_000);
    expect(engine.of(id)?.isWhole).toBe(false);
    await untilIdle();
    return endedMs - leftMs;
  };

  test.each(['reset', 'close'] as const)('during a stream, by %s', async (how) => {
    const ms = await abortMs({ body: bodyFor({ act: 'drip', events: 10_000 }), how, isTime: untilStreaming });
    figure(`${layout}: abort during a stream (${how}) reached the engine after ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(abortMsMax);
  });

  test.each(
    [true, false].flatMap((stream) => (['reset', 'close'] as const).map((how) => [stream, how] as const)),
  )('before the headers, stream %s, by %s', async (stream, how) => {
    const ms = await abortMs({ body: bodyFor({ act: 'mute', stream }), how });
    figure(`${layout}: abort before headers (stream ${stream}, ${how}) after ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(abortMsMax);
  });

  test('by an orderly close at any moment before the first byte', async () => {
    const moments = Array.from({ length: 12 }, (_, index) => index * 60);
    const body = bodyFor({ act: 'mute' });
    const all: number[] = [];
    for (const ms of moments) all.push(await abortMs({ body, how: 'close', isTime: () => pause(ms) }));
    figure(`${layout}: orderly closes before headers after ${all.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    expect(Math.max(...all)).toBeLessThan(abortMsMax);
  });

  test.each(['reset', 'close'] as const)('between two tokens that are far apart, by %s', async (how) => {
    const slow = bodyFor({ act: 'drip', events: 2, everyMs: 8_000 });
    const ms = await abortMs({ body: slow, how, isTime: untilStreaming });
    figure(`${layout}: abort in a silent stream (${how}) after ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(abortMsMax);
  });

  test.each(clients.filter(({ name }) => name !== 'curl' || hasCurl))(
    '$name, before the first byte',
    async ({ name, start }) => {
      const before = new Set(engine.performances.keys());
      const { url, apiKey } = fixture.cluster;
      const stop = start(`${url}/v1`, apiKey, { act: 'mute' });
      const id = await until(
        'the request at the engine',
        () =>
          [...engine.performances].find(
            ([known, { endedMs }]) => !before.has(known) && endedMs === undefined,
          )?.[0],
      );
      await pause(300);
      const leftMs = performance.now();
      stop();
      const endedMs = await until('the end at the engine', () => engine.of(id)?.endedMs, 5_000);
      figure(`${layout}: abort by ${name} reached the engine after ${(endedMs - leftMs).toFixed(1)} ms`);
      expect(endedMs - leftMs).toBeLessThan(abortMsMax);
      await untilIdle();
    },
  );

  test('by an orderly close while others wait: they are served', async () => {
    const id = freshId();
    const waiting = ask(fixture.cluster, id, { act: 'drip', events: 3, delayMs: 3_000 });
    await until('the other request at the engine', () => engine.of(id));
    const left = openRequest(fixture.cluster, freshId(), bodyFor({ act: 'mute' }));
    await pause(500);
    left.hangUp('close');
    expect((await waiting).body.toString()).toContain('[DONE]');
    await untilIdle();
  });

  test('while a long body is still on its way to an engine that does not read', async () => {
    const body = bodyFor({ promptBytes: 12 * 1024 * 1024 });
    const ms = await abortMs({ id: `${unreadPrefix}${freshId()}`, body });
    figure(`${layout}: abort during an upload after ${ms.toFixed(1)} ms`);
    expect(ms).toBeLessThan(abortMsMax);
  });

  test.each(['reset', 'close'] as const)('halfway through its own upload, by %s', async (how) => {
    const id = freshId();
    const body = Buffer.alloc(4 * 1024 * 1024, 0x20);
    const half = openRequest(fixture.cluster, id, body, { announcedBytes: 2 * body.length, isEnded: false });
    await until('half of the body to be sent', () => half.outgoing.writableLength === 0);
    half.hangUp(how);
    await untilIdle();
    expect(engine.of(id)).toBeUndefined();
  });

  test('a client that leaves gives back what its body held of the budget', async () => {
    const { cluster } = fixture;
    const body = bodyFor({ act: 'mute', promptBytes: 4 * 1024 * 1024 });
    await abortMs({ body });
    const half = Buffer.alloc(64 * 1024, 0x20);
    const broken = openRequest(cluster, freshId(), half, { announcedBytes: body.length, isEnded: false });
    await until('half of the body to be sent', () => broken.outgoing.writableLength === 0);
    broken.hangUp();
    // Two of these take all but 2 MiB of `bodyBytesInFlightMaxSelfHosted`: what one abort kept would be missed.
    const largest = { promptBytes: 31 * 1024 * 1024 };
    const answer = await until('room for two of the largest bodies', async () => {
      const both = await Promise.all([freshId(), freshId()].map((id) => ask(cluster, id, largest)));
      return both.every(({ status }) => status === 200) && both;
    });
    expect(answer).toHaveLength(2);
  });

  // The edge's one timer is shown in `edge/src/link/link-host.test.ts`: nobody can ask workerd for its own.
  test(`${aborts} of them leave no stream, no socket and no timer behind`, async () => {
    const { cluster } = fixture;
    const agentPid = cluster.program('gpu').pid;
    const edgePid = workerdPid(cluster.directory);
    await ask(cluster, freshId(), {});
    await untilIdle();
    const before = {
      agent: openFiles(agentPid),
      edge: openFiles(edgePid),
      resources: await cluster.program('gpu').resources(),
    };
    expect(before.resources.Timeout).toBeGreaterThan(0);
    const kinds = [{ act: 'drip', events: 10_000 } as const, { act: 'mute' } as const].flatMap((what) =>
      [true, false].map((stream) => bodyFor({ ...what, stream })),
    );
    let next = 0;
    const one = async (): Promise<void> => {
      while (next < aborts) {
        const body = kinds[next % kinds.length] ?? '';
        next += 1;
        const id = freshId();
        const sent = openRequest(cluster, id, body);
        // Some leave at once, some when the engine is at work.
        if (next % 4 !== 0) await until('the request at the engine', () => engine.of(id));
        sent.hangUp(next % 2 === 0 ? 'reset' : 'close');
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
    const resources = await until('the agent’s timers and sockets to be those of before', async () => {
      const now = await cluster.program('gpu').resources();
      return Object.entries(now).every(([kind, count]) => count <= (before.resources[kind] ?? 0)) && now;
    });
    figure(`${layout}: files agent ${before.agent} -> ${agentFiles}, edge ${before.edge} -> ${edgeFiles}`);
    const told = [before.resources, resources].map((one) => JSON.stringify(one));
    figure(`${layout}: resources of the agent ${told.join(' -> ')}`);
    expect((await ask(cluster, freshId(), {})).body.toString()).toContain('[DONE]');
    expect(cluster.log.text()).not.toMatch(/Error:|uncaught/i);
  });
});
