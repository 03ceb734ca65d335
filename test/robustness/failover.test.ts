/**
 * What a client sees when something fails under its request, step by step: another replica before the first byte, the
 * same stream over a new link, another replica behind what was sent, or the truth. Engines' answers are known.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, fakeModel, startFleet } from '../../bench/chaos/fleet.ts';
import type { Host } from '../../bench/chaos/host.ts';
import { answerTo, promptOf } from '../../bench/chaos/spoken-text.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { until } from '../harness/until.ts';

interface Decision {
  readonly occasion: string;
  readonly node: string;
  readonly earlier: readonly { readonly node?: string; readonly code: string }[];
}

interface Answered {
  readonly id: string;
  readonly status: number;
  readonly headers: Headers;
  readonly raw: string;
  readonly text: string;
  readonly expected: string;
}

interface Asking {
  readonly words: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fields?: object;
  readonly padding?: number;
  /** Called once, when so many words have come. */
  readonly afterWords?: number;
  readonly harm?: (host: Host) => void | Promise<void>;
}

describe.each(layouts)('failover, layout %s', (layout) => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet({
      layout,
      hosts: 2,
      wordMs: 50,
      hasReal: false,
      hasNetworks: false,
      logs: undefined,
    });
  });
  afterAll(() => fleet?.stop());

  const nodeOf = async (name: string): Promise<string> => {
    const { regions } = await fleet.edge.admin('GET', '/admin/nodes');
    const nodes = (regions as readonly { nodes: readonly { name: string; node: string }[] }[]).flatMap(
      (region) => region.nodes,
    );
    return nodes.find((node) => node.name === name)?.node ?? '';
  };

  const hostOf = async (headers: Headers): Promise<Host> => {
    for (const host of fleet.hosts) {
      if ((await nodeOf(host.name)) === headers.get('x-cognitora-node')) return host;
    }
    throw new Error('no host serves it');
  };

  /** One streamed chat from its request to its end. */
  const ask = async ({
    words,
    headers,
    fields,
    padding = 0,
    afterWords,
    harm,
  }: Asking): Promise<Answered> => {
    const id = freshId();
    const content = `${'x'.repeat(padding)} Say ${words} words to ${id}.`;
    const messages = [{ role: 'user', content }];
    const { apiKey, url } = fleet.edge;
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'x-request-id': id,
        ...headers,
      },
      body: JSON.stringify({ model: fakeModel, stream: true, messages, ...fields }),
    });
    let raw = '';
    let harmed: Promise<void> | undefined;
    let isHarmed = false;
    for await (const bytes of response.body ?? []) {
      raw += Buffer.from(bytes).toString();
      if (isHarmed || afterWords === undefined || raw.split('"content":" ').length <= afterWords) continue;
      isHarmed = true;
      harmed = Promise.resolve(harm?.(await hostOf(response.headers)));
    }
    await harmed;
    const expected = answerTo(promptOf(messages)).text;
    return { id, status: response.status, headers: response.headers, raw, text: textOf(raw), expected };
  };

  const decisionsOf = async (id: string): Promise<readonly Decision[]> => {
    const { decisions } = await fleet.edge.admin('GET', `/admin/requests/${id}`);
    return (decisions as readonly Decision[]).toReversed();
  };

  const allReady = (): Promise<void> => fleet.ready();

  const expectWhole = ({ status, text, expected, raw }: Answered): void => {
    expect([status, text]).toEqual([200, expected]);
    expect(raw.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(raw.split('data: [DONE]\n')).toHaveLength(2);
  };

  test('before the first byte: an engine that is down, and an agent that says nothing, cost no request', async () => {
    const [host] = fleet.hosts;
    if (host === undefined) throw new Error('no host');
    const down = await nodeOf(host.name);
    const askAll = (): Promise<readonly Answered[]> =>
      Promise.all(Array.from({ length: 6 }, () => ask({ words: 3 })));
    // Its agent may know of it before a request comes.
    await host.killEngines();
    for (const answer of await askAll()) expectWhole(answer);
    await host.restartEngines();
    await allReady();
    const retriedOfAll = async (): Promise<Awaited<ReturnType<typeof decisionsOf>>> => {
      host.signalAgent('SIGSTOP');
      const answers = await askAll();
      host.signalAgent('SIGCONT');
      for (const answer of answers) expectWhole(answer);
      await allReady();
      const decisions = (await Promise.all(answers.map(({ id }) => decisionsOf(id)))).flat();
      return decisions.filter(({ occasion }) => occasion === 'retried');
    };
    let retried = await retriedOfAll();
    // Of an engine that began anew nobody knows how quick it is: a busy machine may keep all from it for a while.
    for (let round = 1; round < 5 && retried.length === 0; round += 1) retried = await retriedOfAll();
    expect(retried.length).toBeGreaterThan(0);
    for (const { earlier, node } of retried) {
      expect(earlier).toMatchObject([{ node: down, code: 'ack_timeout' }]);
      expect(node).not.toBe(down);
    }
  });

  test('a link that is cut: the same stream goes on over the next one, and not a byte differs', async () => {
    const answer = await ask({ words: 30, afterWords: 8, harm: ({ relay }) => void relay.cut() });
    expectWhole(answer);
    const [first, next, ...more] = await decisionsOf(answer.id);
    expect([first?.occasion, next?.occasion, more]).toEqual(['first', 'resumed', []]);
    expect(next).toMatchObject({ node: first?.node, earlier: [{ code: 'link_lost' }] });
    await allReady();
  });

  test('an engine that dies: another one goes on, as one answer with one usage', async () => {
    let host: Host | undefined;
    const answer = await ask({
      ...{ words: 30, afterWords: 8, fields: { stream_options: { include_usage: true } } },
      harm: (serving) => {
        host = serving;
        return serving.killEngines();
      },
    });
    await host?.restartEngines();
    expectWhole(answer);
    expect(new Set([...answer.raw.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id)).size).toBe(1);
    expect(answer.raw).toMatch(/"completion_tokens":30\b/);
    const decisions = await decisionsOf(answer.id);
    expect(decisions.map(({ occasion }) => occasion)).toEqual(['first', 'continued']);
    expect(decisions[1]?.earlier).toMatchObject([{ node: decisions[0]?.node, code: 'engine_broke_off' }]);
    await allReady();
  });

  test.each([
    ['the client wants none', { headers: { 'x-cognitora-continue': 'never' } }, 'the request says so'],
    ['its request is large', { padding: 1_200_000 }, 'too large to be kept'],
    ['it has a form', { fields: { response_format: { type: 'json_object' } } }, 'prescribed form'],
  ])(
    'where %s, the client is told that its answer broke off',
    async (_, asking: Partial<Asking>, because) => {
      let host: Host | undefined;
      const answer = await ask({
        ...{ words: 30, afterWords: 5, ...asking },
        harm: (serving) => {
          host = serving;
          return serving.killEngines();
        },
      });
      await host?.restartEngines();
      expect(answer.headers.get('x-cognitora-replay')).toBe(asking.padding === undefined ? null : 'no');
      expect(answer.raw).toMatch(/data: \{"error":\{.*"code":"engine_broke_off"\}\}\n\n$/);
      expect(answer.raw).toContain(because);
      expect(answer.raw).not.toContain('data: [DONE]\n');
      expect(answer.expected.startsWith(answer.text)).toBe(true);
      await allReady();
    },
  );

  test.each([
    ['in one piece', { words: 3, fields: { stream: false } }, 200],
    ['by a short stream', { words: 1 }, 200],
    ['by a long one', { words: 10 }, 200],
    ['by a refusal', { words: 1, fields: { model: 'nobody' } }, 404],
  ])(
    'a large request that is answered %s is told that nobody else could be asked',
    async (_, asking, status) => {
      for (const [padding, replay] of [
        [1_200_000, 'no'],
        [1000, null],
      ] as const) {
        const answer = await ask({ ...asking, padding });
        expect([answer.status, answer.headers.get('x-cognitora-replay')]).toEqual([status, replay]);
      }
    },
  );

  test('a deadline ends a stream with the truth, and the engine’s work with it', async () => {
    const answer = await ask({ words: 200, headers: { 'x-request-timeout-ms': '800' } });
    expect(answer.raw).toMatch(/"code":"total_timeout"\}\}\n\n$/);
    await until('the engines to be idle', async () => (await fleet.liveInEngines()) === 0);
    const refused = await ask({ words: 1, headers: { 'x-request-timeout-ms': 'soon' } });
    expect([refused.status, refused.raw.includes('x-request-timeout-ms')]).toEqual([400, true]);
  });
});

/** The text of a stream's events. */
const textOf = (raw: string): string =>
  [...raw.matchAll(/^data: (\{.*\})$/gm)]
    .map(([, json = '{}']) => JSON.parse(json) as { choices?: readonly { delta?: { content?: string } }[] })
    .map(({ choices }) => choices?.[0]?.delta?.content ?? '')
    .join('');
