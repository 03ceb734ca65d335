/**
 * Engines that neither render nor tokenise a chat, as fakes write them: the agent does it with the model's own files,
 * checked against what the engine counts and tells, and then the edge knows exactly what such an engine holds.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CachingSglang } from '../fakes/caching-sglang.ts';
import { CachingTrtllm } from '../fakes/caching-trtllm.ts';
import { chatmlFolder } from '../fakes/chatml.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from './conversations.ts';
import { replicaViews } from './fleet.ts';

const blocksMax = 200;
const systemWords = 120;

interface Kind {
  readonly name: string;
  readonly start: () => Promise<CachingSglang | CachingTrtllm>;
  /** Beside profile and url. */
  readonly keys: (engine: CachingSglang | CachingTrtllm) => string;
  readonly blockTokens: number;
}

const kinds: readonly Kind[] = [
  {
    name: 'sglang',
    start: () => new CachingSglang('tiny', blocksMax).start(),
    // It says itself where its tokenizer is.
    keys: (engine) => (engine instanceof CachingSglang ? `kv_events = "${engine.events}"` : ''),
    blockTokens: 16,
  },
  {
    name: 'trtllm',
    start: () => new CachingTrtllm('tiny', blocksMax / 2).start(),
    keys: () => `tokenizer = "${chatmlFolder}"`,
    blockTokens: 32,
  },
];

const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'Tells the weather of a city, as far as anybody knows. '.repeat(12),
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

describe.each(kinds)('engines of the kind $name', ({ name, start, keys, blockTokens }) => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
  const engines: (CachingSglang | CachingTrtllm)[] = [];
  const cacheOf = async (host: string) => (await replicaViews(fixture.cluster)).get(host)?.caches[0];
  const heldAt = (host: number, isAsAsked: (blocks: number) => boolean) =>
    until(`the map to hold so much of gpu${host}`, async () =>
      isAsAsked((await cacheOf(`gpu${host}`))?.heldBlocks ?? 0),
    );
  const hostOf = ({ requestId }: Served): number =>
    engines.findIndex(({ engine }) =>
      engine.received.some(({ headers }) => headers['x-request-id'] === requestId),
    );
  const attachHost = (host: string, engine: CachingSglang | CachingTrtllm) => {
    const config = `[[engine]]\nprofile = "${name}"\nurl = "${engine.engine.url}"\n${keys(engine)}\n`;
    return fixture.cluster.startAgent({ name: host, engines: [], config });
  };
  const startHost = async (host: string): Promise<CachingSglang | CachingTrtllm> => {
    const engine = await start();
    engines.push(engine);
    await attachHost(host, engine);
    return engine;
  };
  /** Lines of hosts come a moment later than what they tell the edge. */
  const told = (words: RegExp) =>
    until('a host to say why', () => fixture.cluster.log.text().match(words) ?? undefined);
  const trusted = (host: string, trust: string) =>
    until(`${trust} trust of ${host}`, async () => (await cacheOf(host))?.trust === trust, 30_000);

  beforeAll(async () => {
    for (const host of ['gpu0', 'gpu1']) await startHost(host);
    await Promise.all(['gpu0', 'gpu1'].map((host) => trusted(host, 'exact')));
  });
  afterAll(async () => {
    for (const engine of engines.splice(0)) await engine[Symbol.asyncDispose]();
  });

  test.each([
    ['of texts', {}],
    ['with tools', { tools: [weather] }],
  ])('follow-ups %s land where the prefix is, and no more is expected than there is', async (what, more) => {
    const system = words(what.length, systemWords);
    const before = await Promise.all(['gpu0', 'gpu1'].map(cacheOf));
    const first = await ask(fixture.cluster, { system, user: 'One.', more });
    const host = hostOf(first);
    await heldAt(host, (blocks) => blocks > (before[host]?.heldBlocks ?? 0) + 1);
    // Longer than a guess of the edge's own lives.
    await pause(1_500);
    for (const user of ['One, again?', 'Two.', 'Three.']) {
      const next = await ask(fixture.cluster, { system, user, more });
      expect(next.replica).toBe(first.replica);
      expect(next.trust).toBe('exact');
      expect(next.cachedTokens).toBeGreaterThan(200);
      // The edge counts text, in tokens of a usual length: right to a block.
      expect(next.predictedTokens).toBeLessThanOrEqual(next.cachedTokens + blockTokens);
      expect(next.predictedTokens).toBeGreaterThan(0.4 * next.cachedTokens);
    }
  });

  test('what an engine evicts, whoever made it, is believed', async () => {
    const system = words(3, systemWords);
    const first = await ask(fixture.cluster, { system, user: 'One.' });
    const host = hostOf(first);
    await heldAt(host, (blocks) => blocks > 1);
    await pause(1_500);
    const behind = { model: 'tiny', messages: [{ role: 'user', content: words(4, blocksMax * 8) }] };
    const body = JSON.stringify(behind);
    await (await fetch(`${engines[host]?.engine.url}/v1/chat/completions`, { method: 'POST', body })).text();
    await heldAt(host, (blocks) => blocks === 0);
    expect((await ask(fixture.cluster, { system, user: 'One.' })).predictedTokens).toBe(0);
  });

  test.runIf(name === 'sglang')('an engine that tokenises otherwise is known approximately', async () => {
    const engine = await start();
    engines.push(engine);
    if (engine instanceof CachingSglang) engine.tokenises = () => [1, 2, 3];
    await attachHost('gpu3', engine);
    await trusted('gpu3', 'approximate');
    await told(/\/tokenize gives 3 tokens where ours are \d+/g);
  });

  test('an engine that counts otherwise is known approximately, and its host says both numbers', async () => {
    const engine = await startHost('gpu2');
    await trusted('gpu2', 'exact');
    engine.chat.countsMore = 3;
    for (let at = 0; (await cacheOf('gpu2'))?.trust === 'exact'; at += 1) {
      await ask(fixture.cluster, { system: words(100 + at, systemWords), user: 'One.' });
      expect(at).toBeLessThan(50);
      await pause(100);
    }
    await trusted('gpu2', 'approximate');
    const said = await told(/the engine counts (\d+) tokens in a prompt in which we count (\d+)/g);
    expect(said).toHaveLength(1);
    const [engines = 0, ours = 0] = (said[0]?.match(/\d+/g) ?? []).map(Number);
    expect(engines - ours).toBe(3);
  });
});
