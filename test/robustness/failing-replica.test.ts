/**
 * One of two engines fails at once: being idle all the time, it must not draw the requests. Where it answers 500, the
 * client is told so; where it says that it cannot serve now, the other one serves.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgn } from '../cli/run-cgn.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, type RawAnswer } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { PuppetEngine, puppetModel } from './puppet-engine.ts';
import { ask, bodyFor, figure, openRequest } from './requests.ts';

/** Lists its model, and fails whatever else is asked, with its statuses in turn. */
class BrokenEngine {
  /** By `x-request-id`, what each request was answered; the agent's own come without one. */
  readonly answered = new Map<string, number>();
  readonly #statuses: readonly [number, ...number[]];
  readonly #server: Server = createServer((incoming, response) => {
    incoming.resume();
    response.setHeader('content-type', 'application/json');
    if (incoming.method === 'GET') {
      response.end(
        JSON.stringify({ object: 'list', data: [{ id: puppetModel, object: 'model', created: 1 }] }),
      );
      return;
    }
    const id = incoming.headers['x-request-id'];
    // A 503 would tell the agent that the model still loads.
    response.statusCode = typeof id === 'string' ? this.#next(id) : 500;
    response.end('{"error":{"message":"CUDA error","type":"server_error"}}');
  });

  constructor(...statuses: readonly [number, ...number[]]) {
    this.#statuses = statuses;
  }

  #next(id: string): number {
    const status = this.#statuses[this.answered.size % this.#statuses.length] ?? this.#statuses[0];
    this.answered.set(id, status);
    return status;
  }

  async start(): Promise<void> {
    await new Promise<void>((accept) => this.#server.listen(0, '127.0.0.1', accept));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

describe.each(layouts)('a replica that fails at once, layout %s', (layout) => {
  const [sound, broken] = [new PuppetEngine(), new BrokenEngine(500)];
  beforeAll(() => Promise.all([sound.start(), broken.start()]));
  afterAll(() => Promise.all([sound.stop(), broken.stop()]));
  const fixture = useCluster(() => ({
    layout,
    agents: [
      { name: 'sound', engines: [sound.url] },
      { name: 'broken', engines: [broken.url] },
    ],
  }));

  test('gets few of the requests', async () => {
    const { cluster } = fixture;
    await cluster.node('sound');
    await cluster.node('broken');
    const statuses: number[] = [];
    const what = { act: 'drip', events: 6, everyMs: 20 } as const;
    for (let count = 0; count < 20; count += 1) {
      // The second while the first is answered: where that is the sound one, the broken one is idle.
      const id = freshId();
      const first = await openRequest(cluster, id, bodyFor(what)).answered;
      const second = await ask(cluster, freshId(), what);
      first.resume();
      await once(first, 'end');
      statuses.push(first.statusCode ?? 0, second.status);
    }
    const failed = statuses.filter((status) => status === 500).length;
    figure(`${failed} of 40 requests reached the replica that fails (${layout})`);
    expect(failed).toBeGreaterThanOrEqual(3);
    expect(failed).toBeLessThanOrEqual(6);
    expect(statuses.filter((status) => status === 200).length).toBe(40 - failed);
    expect((await cluster.node('broken')).replicas[0]).toMatchObject({ state: 'ready', failing: true });
    expect((await cluster.node('sound')).replicas[0]).toMatchObject({ state: 'ready', failing: false });
    const shown = await cgn(['nodes', '--edge', cluster.url], { COGNITORA_ADMIN_KEY: cluster.adminKey });
    expect(shown.out).toMatch(/ broken +n\w+ +r0 +ready,failing /);
    const headers = { authorization: `Bearer ${cluster.adminKey}` };
    const page = await (await fetch(`${cluster.url}/metrics`, { headers })).text();
    expect(page).toMatch(/^cognitora_replica_failing\{.*host="broken",replica="r0"\} 1$/m);
    expect(page).toMatch(/^cognitora_replica_failing\{.*host="sound",replica="r0"\} 0$/m);
  });

  test('that fails a request too large to be kept says that nobody else could be asked', async () => {
    const { cluster } = fixture;
    const { node } = await cluster.node('broken');
    await cluster.admin('PUT', `/admin/nodes/${node}/cordon`);
    const failing = async (promptBytes: number) => {
      const answer = await ask(cluster, freshId(), { status: 503, promptBytes });
      return [answer.status, answer.headers['x-cognitora-replay']];
    };
    expect(await failing(1_200_000)).toEqual([503, 'no']);
    expect(await failing(1_000)).toEqual([503, undefined]);
  });
});

interface Decision {
  readonly occasion: string;
  readonly node: string;
  readonly earlier: readonly { readonly node?: string; readonly code: string }[];
}

describe.each(layouts)('a replica that cannot serve now, layout %s', (layout) => {
  const sound = new PuppetEngine();
  beforeAll(() => sound.start());
  afterAll(() => sound.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'sound', engines: [sound.url] }] }));

  const decisionsOf = async (id: string): Promise<readonly Decision[]> => {
    const { decisions } = await fixture.cluster.admin<{ decisions: readonly Decision[] }>(
      'GET',
      `/admin/requests/${id}`,
    );
    return decisions.toReversed();
  };

  test.each([
    ['streams', true],
    ['answers in one piece', false],
  ])('costs no request: its 502, 503 and 504 are answered by another one, %s', async (_, stream) => {
    const { cluster } = fixture;
    const { node: serving } = await cluster.node('sound');
    // Before the other one is there: beside this, it is the idle one.
    const long = openRequest(cluster, freshId(), bodyFor({ act: 'drip', events: 10_000, everyMs: 20 }));
    (await long.answered).resume();
    const name = `unavailable-${stream}`;
    const unavailable = new BrokenEngine(503, 502, 504);
    await unavailable.start();
    const agent = await cluster.startAgent({ name, engines: [unavailable.url] });
    const { node } = await cluster.node(name);
    const answers = new Map<string, RawAnswer>();
    for (let count = 0; count < 20; count += 1) {
      const id = freshId();
      answers.set(id, await ask(cluster, id, { stream }));
    }
    long.hangUp();
    await agent.stop();
    unavailable.stop();
    for (const { status, isWhole, body, headers } of answers.values()) {
      expect([status, isWhole, headers['x-cognitora-node']]).toEqual([200, true, serving]);
      expect(body.toString()).toMatch(stream ? /"0 ".*data: \[DONE\]\n\n$/s : /"content":"ok"/);
      expect(body.toString()).not.toContain('CUDA');
    }
    figure(`${unavailable.answered.size} of 20 requests were tried at the replica that cannot (${layout})`);
    expect(new Set(unavailable.answered.values())).toEqual(new Set([502, 503, 504]));
    for (const id of unavailable.answered.keys()) {
      expect(await decisionsOf(id)).toMatchObject([
        { occasion: 'first', node },
        { occasion: 'retried', node: serving, earlier: [{ node, code: 'engine_unavailable' }] },
      ]);
    }
  });
});
